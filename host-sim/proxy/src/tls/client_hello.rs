//! What a client says before anything is decided: the name it asks for and the protocols it offers.

use std::io;

use bytes::{Bytes, BytesMut};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::prefixed::Prefixed;

/// More than any ClientHello that is meant seriously; Envoy's inspector stops at 16 KiB, too.
const LIMIT: usize = 16 * 1024;
/// The first byte of a TLS handshake record.
const HANDSHAKE: u8 = 0x16;

/// The part of a ClientHello that filter chains are matched by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name, in lower case.
    pub server_name: Option<String>,
    /// The protocols offered, best first.
    pub alpn: Vec<Vec<u8>>,
}

/// A stream after a first look; nothing is lost of it.
#[derive(Debug)]
pub struct Peeked<S> {
    /// None: the client does not speak TLS.
    pub hello: Option<ClientHello>,
    /// Begins with what was looked at.
    pub stream: Prefixed<S>,
}

/// Reads until the client's first words are complete or clearly no TLS. As long as the client is silent this waits: the caller has the deadline.
///
/// # Errors
/// The stream's own; a client that closes without a word is `UnexpectedEof`.
pub async fn peek_client_hello<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<Peeked<S>> {
    let mut taken = BytesMut::with_capacity(2048);
    let mut acceptor = Acceptor::default();
    let hello = loop {
        let seen = taken.len();
        if stream.read_buf(&mut taken).await? == 0 {
            if taken.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            break None;
        }
        if taken.first() != Some(&HANDSHAKE) || taken.len() > LIMIT {
            break None;
        }
        let mut fresh = taken.get(seen..).unwrap_or_default();
        while !fresh.is_empty() && acceptor.read_tls(&mut fresh)? > 0 {}
        match acceptor.accept() {
            Ok(Some(accepted)) => break Some(words(&accepted.client_hello())),
            Ok(None) => {}
            Err(_) => break None,
        }
    };
    Ok(Peeked { hello, stream: Prefixed::new(Bytes::from(taken), stream) })
}

fn words(hello: &rustls::server::ClientHello<'_>) -> ClientHello {
    ClientHello {
        server_name: hello.server_name().map(str::to_ascii_lowercase),
        alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
    }
}
