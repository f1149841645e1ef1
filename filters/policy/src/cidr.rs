//! Address ranges, for the client's address as the proxy saw it: never for a header.

use std::net::IpAddr;

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// Why a range was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCidr {
    /// Not an address
    #[error("\"{0}\" is not an address range; write 10.0.0.0/8, 2001:db8::/32 or a single address")]
    Address(String),
    /// `10.0.0.0/33`
    #[error("a prefix of {bits} bits does not fit an address of {width}")]
    Bits {
        /// As written.
        bits: String,
        /// 32 or 128.
        width: u8,
    },
}

impl Cidr {
    /// Reads a range; bits beyond the prefix are ignored, as in Envoy.
    pub fn parse(text: &str) -> Result<Cidr, InvalidCidr> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let base: IpAddr = address.parse().map_err(|_| InvalidCidr::Address(text.into()))?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|&n| n <= width)
                .ok_or_else(|| InvalidCidr::Bits { bits: bits.into(), width })?,
        };
        Ok(Cidr { base: mask(base, bits), bits })
    }

    /// Is the address in the range? An IPv4 address written as IPv6 is the IPv4 address it means.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && mask(address, self.bits) == self.base
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

/// The address with everything behind its first `bits` bits cleared.
pub fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let keep = u32::MAX.checked_shl(32u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & keep).into())
        }
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(128u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & keep).into())
        }
    }
}

/// The address in Envoy's `source.address`: `1.2.3.4:5678`, `[::1]:5678`, or without a port.
pub fn parse_peer(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let address = bare
        .and_then(|address| address.parse().ok())
        .or_else(|| text.parse().ok())
        .or_else(|| text.rsplit_once(':').and_then(|(address, _)| address.parse().ok()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(range: &str, inside: &[&str], outside: &[&str]) {
        let range = Cidr::parse(range).unwrap();
        for address in inside {
            assert!(range.contains(address.parse().unwrap()), "{address} in {range}");
        }
        for address in outside {
            assert!(!range.contains(address.parse().unwrap()), "{address} not in {range}");
        }
    }

    sentences! {
        fn a_range_holds_its_addresses() {
            check("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["11.0.0.0", "9.255.255.255", "::a00:0"]);
            check("2001:db8::/32", &["2001:db8::1", "2001:db8:ffff::"], &["2001:db9::", "10.0.0.1"]);
        }

        fn bits_behind_the_prefix_do_not_matter() {
            check("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]);
        }

        fn the_edges_of_a_prefix_hold() {
            check("0.0.0.0/0", &["1.2.3.4"], &["::1"]);
            check("::/0", &["::1"], &["1.2.3.4"]);
            check("1.2.3.4", &["1.2.3.4"], &["1.2.3.5"]);
            check("::1/128", &["::1"], &["::2"]);
        }

        fn a_mapped_address_is_the_ipv4_address_it_means() {
            check("10.0.0.0/8", &["::ffff:10.1.2.3"], &["::ffff:11.1.2.3"]);
        }

        fn faults_are_named() {
            assert!(Cidr::parse("10.0.0/8").unwrap_err().to_string().contains("\"10.0.0/8\" is not an address range"));
            assert!(Cidr::parse("10.0.0.0/33").unwrap_err().to_string().contains("33 bits does not fit an address of 32"));
            assert!(Cidr::parse("10.0.0.0/x").is_err());
        }

        fn a_peer_is_read_with_and_without_its_port() {
            let peer = |text: &str| parse_peer(text.as_bytes()).map(|address| address.to_string());
            assert_eq!(peer("1.2.3.4:80").as_deref(), Some("1.2.3.4"));
            assert_eq!(peer("1.2.3.4").as_deref(), Some("1.2.3.4"));
            assert_eq!(peer("[2001:db8::1]:80").as_deref(), Some("2001:db8::1"));
            assert_eq!(peer("2001:db8::1").as_deref(), Some("2001:db8::1"));
            assert_eq!(peer("[::ffff:1.2.3.4]:80").as_deref(), Some("1.2.3.4"));
            assert_eq!(peer("@unix"), None);
        }
    }
}
