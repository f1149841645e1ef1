//! The PROXY protocol: what a load balancer in front says, before anything else, of the client it speaks for.
//!
//! Sources: the protocol's own text (haproxy.org, `proxy-protocol.txt`) and Envoy's `listener/proxy_protocol/proxy_protocol.cc`, where they
//! differ: words of a line are parted by one space each, LOCAL and UNKNOWN leave the connection's own addresses, UNIX sockets are refused.
//!
//! Absent: TLVs are measured, and not read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a listener asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyProtocol {
    /// Connections without it are taken, too.
    pub(crate) optional: bool,
    /// Version 1, a line of text, is taken for what it is.
    pub(crate) text: bool,
    /// So is version 2, in binary.
    pub(crate) binary: bool,
}

/// Between whom the connection is, in the sender's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) client: SocketAddr,
    /// Where the client connected to.
    pub(crate) server: SocketAddr,
}

/// As far as the bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It goes on.
    More,
    /// The connection begins without it.
    Nothing,
    Header {
        /// Bytes it takes.
        length: usize,
        /// Absent where the connection's own are meant.
        endpoints: Option<Endpoints>,
    },
}

/// No header, or one of another making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no PROXY protocol header")]
pub(crate) struct Malformed;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
const WORD: &[u8] = b"PROXY";
/// A line is not longer, its end included.
const LONGEST_LINE: usize = 108;
const LINE_END: &[u8] = b"\r\n";

impl ProxyProtocol {
    /// Reads the header, if there is one; what is read behind it stands in `taken`. As long as the client is silent this waits: the caller has
    /// the deadline.
    ///
    /// # Errors
    /// The stream's own; one that ends before its header does is `UnexpectedEof`, what is no header is `InvalidData`.
    pub(crate) async fn read<S: AsyncRead + Unpin>(
        self,
        taken: &mut BytesMut,
        stream: &mut S,
    ) -> io::Result<Option<Endpoints>> {
        loop {
            match self.look(taken).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))? {
                Look::More => {}
                Look::Nothing => return Ok(None),
                Look::Header { length, endpoints } => {
                    taken.advance(length);
                    return Ok(endpoints);
                }
            }
            if stream.read_buf(taken).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn look(self, bytes: &[u8]) -> Result<Look, Malformed> {
        if bytes.is_empty() {
            return Ok(Look::More);
        }
        let may_be = |begin: &[u8]| bytes.iter().zip(begin).all(|(byte, begin)| byte == begin);
        if self.optional && !(self.binary && may_be(SIGNATURE)) && !(self.text && may_be(WORD)) {
            return Ok(Look::Nothing);
        }
        if bytes.len() < FIXED || !bytes.starts_with(SIGNATURE) {
            if bytes.len() >= FIXED && !bytes.starts_with(WORD) {
                return Err(Malformed);
            }
            return if self.text { line(bytes) } else { not_a_line(bytes) };
        }
        if self.binary { binary(bytes) } else { Err(Malformed) }
    }
}

/// Where a line ends, with its end. One that begins with its end may be a signature yet.
fn line_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(LINE_END.len()).position(|two| two == LINE_END)?;
    (end > 0).then_some(end.saturating_add(LINE_END.len()))
}

/// Of a version that is not taken: refused as soon as it is whole.
fn not_a_line(bytes: &[u8]) -> Result<Look, Malformed> {
    if line_length(bytes).is_some() || bytes.len() > LONGEST_LINE { Err(Malformed) } else { Ok(Look::More) }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 1024 443`
fn line(bytes: &[u8]) -> Result<Look, Malformed> {
    let Some(length) = line_length(bytes) else {
        return if bytes.len() > LONGEST_LINE { Err(Malformed) } else { Ok(Look::More) };
    };
    if length > LONGEST_LINE {
        return Err(Malformed);
    }
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    let words: Vec<&str> = text.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b').split(' ').collect();
    let endpoints = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family @ ("TCP4" | "TCP6"), client, server, from, to] => {
            let address = |text: &str| match *family {
                "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4),
                _ => text.parse::<Ipv6Addr>().map(IpAddr::V6),
            };
            let endpoint = |text: &str, port: &str| Some(SocketAddr::new(address(text).ok()?, port.parse().ok()?));
            let (client, server) = endpoint(client, from).zip(endpoint(server, to)).ok_or(Malformed)?;
            Some(Endpoints { client, server }.checked()?)
        }
        _ => return Err(Malformed),
    };
    Ok(Look::Header { length, endpoints })
}

/// The binary form, whose signature is there.
fn binary(bytes: &[u8]) -> Result<Look, Malformed> {
    const VERSION: u8 = 2;
    const LOCAL: u8 = 0;
    const PROXY: u8 = 1;
    const TRANSPORTS: [u8; 2] = [1, 2];
    let &[version_command, family_transport, ..] = bytes.get(SIGNATURE.len()..FIXED).ok_or(Malformed)? else {
        return Err(Malformed);
    };
    let said = bytes.get(FIXED.saturating_sub(2)..FIXED).and_then(|two| two.try_into().ok()).map(u16::from_be_bytes);
    let said = usize::from(said.ok_or(Malformed)?);
    let length = FIXED.saturating_add(said);
    let (command, family) = (version_command & 0xf, family_transport >> 4);
    if version_command >> 4 != VERSION {
        return Err(Malformed);
    }
    if command == LOCAL {
        let header = Look::Header { length, endpoints: None };
        return Ok(if bytes.len() < length { Look::More } else { header });
    }
    let size = match family {
        1 => 12,
        2 => 36,
        _ => return Err(Malformed),
    };
    if said < size {
        return Err(Malformed);
    }
    let Some(addresses) = bytes.get(FIXED..FIXED.saturating_add(size)) else { return Ok(Look::More) };
    if command != PROXY || !TRANSPORTS.contains(&(family_transport & 0xf)) {
        return Err(Malformed);
    }
    let Some(extensions) = bytes.get(FIXED.saturating_add(size)..length) else { return Ok(Look::More) };
    if !are_tlvs(extensions) {
        return Err(Malformed);
    }
    let endpoints = if family == 1 { Endpoints::of::<4>(addresses) } else { Endpoints::of::<16>(addresses) };
    let endpoints = endpoints.ok_or(Malformed)?.checked()?;
    Ok(Look::Header { length, endpoints: Some(endpoints) })
}

/// Type, length and value, as often as there are bytes.
fn are_tlvs(mut bytes: &[u8]) -> bool {
    while let Some((head, rest)) = bytes.split_first_chunk::<3>() {
        let [_, high, low] = *head;
        let Some(rest) = rest.get(usize::from(u16::from_be_bytes([high, low]))..) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

impl Endpoints {
    /// Two addresses of `N` bytes, then their ports.
    fn of<const N: usize>(bytes: &[u8]) -> Option<Endpoints>
    where
        IpAddr: From<[u8; N]>,
    {
        let (client, rest) = bytes.split_first_chunk::<N>()?;
        let (server, ports) = rest.split_first_chunk::<N>()?;
        let &[a, b, c, d] = ports else { return None };
        Some(Endpoints {
            client: SocketAddr::new((*client).into(), u16::from_be_bytes([a, b])),
            server: SocketAddr::new((*server).into(), u16::from_be_bytes([c, d])),
        })
    }

    /// One client and one server.
    fn checked(self) -> Result<Endpoints, Malformed> {
        let is_one = |address: IpAddr| {
            !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
        };
        if is_one(self.client.ip()) && is_one(self.server.ip()) { Ok(self) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: ProxyProtocol = ProxyProtocol { optional: false, text: true, binary: true };

    fn header(length: usize, client: &str, server: &str) -> Result<Look, Malformed> {
        let endpoints = client.parse().ok().zip(server.parse().ok());
        Ok(Look::Header { length, endpoints: endpoints.map(|(client, server)| Endpoints { client, server }) })
    }

    /// Version and command, family and transport, a length of its own, what follows.
    fn packet(head: [u8; 4], rest: &[u8]) -> Vec<u8> {
        [SIGNATURE, &head, rest].concat()
    }

    #[test]
    fn a_line_names_two_endpoints_or_none() {
        for (text, expected) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.9 1024 443\r\nGET", header(40, "192.0.2.1:1024", "10.0.0.9:443")),
            ("PROXY TCP6 2001:db8::1 ::2 1 80\r\n", header(33, "[2001:db8::1]:1", "[::2]:80")),
            ("PROXY TCP4 192.0.2.1 10.0.0.9 1024 443 \t\r\n", header(42, "192.0.2.1:1024", "10.0.0.9:443")),
            ("PROXY UNKNOWN what ever\r\n", header(25, "", "")),
            ("PROXY TCP4 192.0.2.1 10.0.0.9 1024 44", Ok(Look::More)),
            ("PROXY TCP4 192.0.2.1  10.0.0.9 1024 443\r\n", Err(Malformed)),
            ("PROXY TCP4 192.0.2.1 10.0.0.9 1024 65536\r\n", Err(Malformed)),
            ("PROXY TCP4 ::1 ::2 1 80\r\n", Err(Malformed)),
            ("PROXY TCP4 0.0.0.0 10.0.0.9 1024 443\r\n", Err(Malformed)),
            ("PROXY TCP4 224.0.0.1 10.0.0.9 1024 443\r\n", Err(Malformed)),
            ("PROXY TCP4 255.255.255.255 10.0.0.9 1024 443\r\n", Err(Malformed)),
            ("PROXY\r\n", Err(Malformed)),
            ("GET / HTTP/1.1\r\n", Err(Malformed)),
            ("GET /", Ok(Look::More)),
            ("\r\nGET / HTTP/1.1", Err(Malformed)),
        ] {
            assert_eq!(ASKED.look(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_has_108_bytes_at_most() {
        let of = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length.saturating_sub(16)));
        assert_eq!(ASKED.look(of(108).as_bytes()), header(108, "", ""));
        assert_eq!(ASKED.look(of(109).as_bytes()), Err(Malformed));
        assert_eq!(ASKED.look("PROXY UNKNOWN ".repeat(8).as_bytes()), Err(Malformed));
    }

    #[test]
    fn a_packet_has_its_length() {
        let ipv4 = [192, 0, 2, 1, 10, 0, 0, 9, 4, 0, 1, 187];
        let with = |more: &[u8]| [&ipv4, more].concat();
        let named = |length| header(length, "192.0.2.1:1024", "10.0.0.9:443");
        for (bytes, expected) in [
            (packet([0x21, 0x11, 0, 12], &with(b"GET")), named(28)),
            (packet([0x21, 0x12, 0, 12], &ipv4), named(28)),
            (packet([0x21, 0x11, 0, 18], &with(b"\x05\0\x03abc")), named(34)),
            (packet([0x21, 0x11, 0, 15], &with(b"\x05\0\0")), named(31)),
            (packet([0x21, 0x11, 0, 18], &with(b"\x05\0\x03ab")), Ok(Look::More)),
            (packet([0x21, 0x11, 0, 18], &with(b"\x05\0\x04abc")), Err(Malformed)),
            (packet([0x21, 0x11, 0, 14], &with(b"\x05\0")), Err(Malformed)),
            (packet([0x21, 0x11, 0, 12], &[192, 0]), Ok(Look::More)),
            (packet([0x20, 0x00, 0, 3], b"abc"), header(19, "", "")),
            (packet([0x20, 0x00, 0, 3], b"ab"), Ok(Look::More)),
            (packet([0x21, 0x11, 0, 11], &ipv4), Err(Malformed)),
            (packet([0x21, 0x31, 0, 12], &ipv4), Err(Malformed)),
            (packet([0x21, 0x10, 0, 12], &ipv4), Err(Malformed)),
            (packet([0x22, 0x11, 0, 12], &ipv4), Err(Malformed)),
            (packet([0x11, 0x11, 0, 12], &ipv4), Err(Malformed)),
            (SIGNATURE.to_vec(), Ok(Look::More)),
        ] {
            assert_eq!(ASKED.look(&bytes), expected, "{bytes:?}");
        }
        let mut ipv6 = [0; 36];
        (ipv6[15], ipv6[31], ipv6[33], ipv6[35]) = (1, 2, 80, 81);
        assert_eq!(ASKED.look(&packet([0x21, 0x21, 0, 36], &ipv6)), header(52, "[::1]:80", "[::2]:81"));
    }

    #[test]
    fn what_is_no_header_may_be_allowed() {
        let optional = ProxyProtocol { optional: true, ..ASKED };
        assert_eq!(optional.look(b"GET /"), Ok(Look::Nothing));
        assert_eq!(optional.look(b"\r\nGET /"), Ok(Look::Nothing));
        assert_eq!(optional.look(b"P"), Ok(Look::More));
        assert_eq!(optional.look(b"POST"), Ok(Look::Nothing));
        assert_eq!(optional.look(b"PROXY /x HTTP/1.1\r\n"), Err(Malformed));
    }

    #[test]
    fn a_version_may_be_forbidden() {
        let line = b"PROXY UNKNOWN\r\nGET".as_slice();
        let packet = packet([0x20, 0, 0, 0], b"");
        let text = ProxyProtocol { binary: false, ..ASKED };
        let binary = ProxyProtocol { text: false, ..ASKED };
        assert_eq!((text.look(&packet), binary.look(line)), (Err(Malformed), Err(Malformed)));
        assert_eq!((text.look(line), binary.look(&packet)), (header(15, "", ""), header(16, "", "")));
        let optional = |one: ProxyProtocol| ProxyProtocol { optional: true, ..one };
        assert_eq!((optional(text).look(&packet), optional(binary).look(line)), (Ok(Look::Nothing), Ok(Look::Nothing)));
    }
}
