//! One raw HTTP/1.1 request over a connection of its own, plain or TLS: the bytes of the case go out as they are.

mod answer;
mod http2;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::case::{Headers, Send, Version};
use crate::{latin1, record};

/// Longer than any recorded answer took.
const PATIENCE: Duration = Duration::from_secs(12);

/// A head, byte by byte: what follows it stays in the socket.
///
/// # Errors
/// The connection ends within it, or it is not whole in time, or no UTF-8.
pub async fn read_head(socket: &mut TcpStream, patience: Duration) -> Result<String> {
    let mut bytes = Vec::new();
    let reading = async {
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(socket.read_u8().await.context("a whole head")?);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(patience, reading).await.context("no head in time")??;
    Ok(String::from_utf8(bytes)?)
}

/// How one request ended, before anything is masked.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An answer.
    Response(Response),
    /// The connection was closed, or reset, before the head of an answer was complete.
    Closed,
    /// The handshake failed, or an alert came.
    TlsError,
    /// Nothing complete within twelve seconds.
    Timeout,
    /// The connection was refused.
    NoListener,
    /// Bytes that are no HTTP answer.
    Unreadable(String),
}

/// An answer as it came over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines in order, names in lower case.
    pub headers: Headers,
    /// The body, taken out of its chunks.
    pub body: String,
}

/// The request's bytes. What the sender left out is added as the recorder did: `host`, the key, a `content-length` where a body could be.
///
/// # Errors
/// A character that stands for no byte.
pub fn wire(send: &Send, key: Option<&str>) -> Result<Vec<u8>> {
    let has = |name: &str| send.headers.iter().any(|(k, _)| k.eq_ignore_ascii_case(name));
    let mut lines: Vec<(&str, &str)> = send.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    if !has("host") {
        lines.insert(0, ("host", "shop.example"));
    }
    lines.extend(key.map(|key| (record::KEY, key)));
    let length = latin1::encode(&send.body)?.len().to_string();
    let may_have_body = !send.body.is_empty() || matches!(send.method.as_str(), "POST" | "PUT" | "PATCH");
    if may_have_body && !has("content-length") && !has("transfer-encoding") {
        lines.push(("content-length", &length));
    }
    let lines: String = lines.into_iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
    let minor = if send.version == Version::Http10 { 0 } else { 1 };
    latin1::encode(&format!("{} {} HTTP/1.{minor}\r\n{lines}\r\n{}", send.method, send.path, send.body))
}

/// Sends one request over its own connection; with `tls`, inside TLS. Waits as long as the recorder did.
///
/// # Errors
/// A case that cannot be sent at all: a character that stands for no byte, a server name that is none.
pub async fn exchange(to: SocketAddr, send: &Send, key: Option<&str>, tls: Option<Arc<ClientConfig>>) -> Result<Reply> {
    exchange_within(PATIENCE, to, send, key, tls).await
}

/// The same with another patience.
///
/// # Errors
/// As for [`exchange`].
pub async fn exchange_within(
    patience: Duration,
    to: SocketAddr,
    send: &Send,
    key: Option<&str>,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Reply> {
    let bytes = wire(send, key)?;
    let name = send.tls.as_ref().and_then(|tls| tls.sni.clone()).unwrap_or_else(|| "nobody.invalid".into());
    let Ok(name) = ServerName::try_from(name) else { return Ok(Reply::Unreadable("no server name of TLS".into())) };
    let talk = async {
        let socket = match TcpStream::connect(to).await {
            Ok(socket) => socket,
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => return Reply::NoListener,
            Err(e) => return Reply::Unreadable(e.to_string()),
        };
        match tls {
            None => speak(socket, send, key, &bytes).await,
            Some(config) => match TlsConnector::from(config).connect(name, socket).await {
                Ok(socket) => speak(socket, send, key, &bytes).await,
                Err(e) if is_reset(e.kind()) => Reply::Closed,
                Err(_) => Reply::TlsError,
            },
        }
    };
    Ok(tokio::time::timeout(patience, talk).await.unwrap_or(Reply::Timeout))
}

async fn speak<S>(socket: S, send: &Send, key: Option<&str>, bytes: &[u8]) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin + std::marker::Send + 'static,
{
    match send.version {
        Version::Http2 => http2::exchange(socket, send, key).await,
        Version::Http10 | Version::Http11 => converse(socket, bytes, &send.method).await,
    }
}

async fn converse(mut socket: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8], method: &str) -> Reply {
    let sent = async {
        socket.write_all(bytes).await?;
        socket.flush().await
    };
    if let Err(e) = sent.await {
        return ended(&e);
    }
    answer::read(&mut socket, method == "HEAD").await.unwrap_or_else(|e| ended(&e))
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// What an error of the socket says about the exchange; rustls reports alerts as invalid data.
fn ended(error: &std::io::Error) -> Reply {
    match error.kind() {
        ErrorKind::UnexpectedEof => Reply::Closed,
        kind if is_reset(kind) => Reply::Closed,
        ErrorKind::InvalidData => Reply::TlsError,
        _ => Reply::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)], body: &str) -> Send {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Send {
            method: method.into(),
            path: "/a".into(),
            headers,
            body: body.into(),
            port: 80,
            version: Version::Http11,
            tls: None,
            repeat: None,
            settle_ms: 0,
        }
    }

    #[test]
    fn only_what_http_needs_is_added_to_a_request() {
        let rows = [
            (
                request("GET", &[("Host", "a"), ("b", "\u{ff}")], ""),
                "GET /a HTTP/1.1\r\nHost: a\r\nb: \u{ff}\r\nx-origin-key: k\r\n\r\n",
            ),
            (request("GET", &[], ""), "GET /a HTTP/1.1\r\nhost: shop.example\r\nx-origin-key: k\r\n\r\n"),
            (
                request("POST", &[("host", "a")], ""),
                "POST /a HTTP/1.1\r\nhost: a\r\nx-origin-key: k\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                request("GET", &[("host", "a")], "xy"),
                "GET /a HTTP/1.1\r\nhost: a\r\nx-origin-key: k\r\ncontent-length: 2\r\n\r\nxy",
            ),
            (
                request("POST", &[("host", "a"), ("Transfer-Encoding", "chunked")], "0\r\n\r\n"),
                "POST /a HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nx-origin-key: k\r\n\r\n0\r\n\r\n",
            ),
        ];
        for (send, bytes) in rows {
            assert_eq!(latin1::decode(&wire(&send, Some("k")).unwrap()), bytes);
        }
    }
}
