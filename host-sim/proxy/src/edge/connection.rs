//! What is known of the client's connection: addresses, protocol, TLS.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The version of HTTP spoken with one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Protocol {
    /// As the access log writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The connection a request came in on.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Counts connections, for `%CONNECTION_ID%`.
    pub id: u64,
    /// The direct peer, or the client that it speaks for by the PROXY protocol.
    pub remote: SocketAddr,
    /// Where that connected to.
    pub local: SocketAddr,
    /// The socket's own ends, where the PROXY protocol names others.
    pub relay: Option<Relay>,
    /// The gateway's own address, which Envoy writes into `x-forwarded-for` when the peer is on loopback.
    pub node_address: IpAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// Absent on a plaintext connection.
    pub tls: Option<Arc<TlsInfo>>,
}

/// A connection whose peer speaks for somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    /// Who speaks.
    pub peer: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
}

/// What a TLS handshake established.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// The name the client asked for; empty if it named none.
    pub server_name: String,
    /// `TLSv1.3`
    pub version: String,
    /// The cipher suite under its OpenSSL name.
    pub cipher: String,
    /// URI names in our own certificate.
    pub local_uri_sans: Vec<String>,
    /// DNS names in our own certificate.
    pub local_dns_sans: Vec<String>,
    /// The subject of our own certificate, as RFC 2253 writes it.
    pub local_subject: String,
    /// Hex of the session id; empty if there is none.
    pub session_id: String,
    /// The client's certificate.
    pub peer: Option<PeerCertificate>,
    /// The client's certificate was presented and its chain verified.
    pub peer_validated: bool,
}

/// A client certificate, already in the forms headers and logs need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 over the DER, lower-case hex.
    pub sha256: String,
    /// SHA-1 over the DER, lower-case hex.
    pub sha1: String,
    /// The subject, as RFC 2253 writes it.
    pub subject: String,
    /// The issuer, likewise.
    pub issuer: String,
    /// Lower-case hex.
    pub serial: String,
    /// The PEM text, percent-encoded for a header.
    pub url_encoded_pem: String,
    /// Every certificate the client sent, leaf first, likewise.
    pub url_encoded_chain: String,
    /// URI names.
    pub uri_sans: Vec<String>,
    /// DNS names.
    pub dns_sans: Vec<String>,
    /// IP names.
    pub ip_sans: Vec<String>,
    /// E-mail names.
    pub email_sans: Vec<String>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}
