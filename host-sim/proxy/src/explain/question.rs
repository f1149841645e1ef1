//! The request to be explained.

use std::net::IpAddr;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;

/// One request, as a client would send it.
#[derive(Debug, Clone)]
pub struct Question {
    /// Name of the listener it goes to.
    pub listener: String,
    /// The client speaks TLS.
    pub tls: bool,
    /// The name it asks for in its ClientHello.
    pub server_name: Option<String>,
    /// The certificates the client has, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Where it comes from.
    pub client: IpAddr,
    /// `GET`
    pub method: String,
    /// Path and query, as on the wire.
    pub target: String,
    /// Headers as on the wire, `host` among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Question {
    /// The request on the wire. A body without a `content-length` or `transfer-encoding` gets the former.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        let framed =
            |name: &str| name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding");
        if !self.body.is_empty() && !self.headers.iter().any(|(name, _)| framed(name)) {
            out.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}
