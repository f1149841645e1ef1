//! An IP address as headers carry it. Written for every request, so not by way of the formatting machinery.

use std::net::IpAddr;

use bytes::Bytes;

/// `10.0.0.1`, `2001:db8::1`
pub(super) fn address_bytes(address: IpAddr) -> Bytes {
    let IpAddr::V4(v4) = address else { return Bytes::from(address.to_string()) };
    let mut out = Vec::with_capacity(15);
    for (at, octet) in v4.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_standard_library_writes_it() {
        for text in ["0.0.0.0", "1.10.100.255", "127.0.0.1", "99.9.109.200", "::1", "2001:db8::1"] {
            assert_eq!(address_bytes(text.parse().unwrap()), text);
        }
    }
}
