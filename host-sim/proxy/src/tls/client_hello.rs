//! What a client says before anything is decided: the name it asks for and the protocols it offers.

use std::io;

use bytes::BytesMut;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

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

/// Reads until the client's first words are complete or clearly no TLS (`None`); whatever is read stands in `taken`, behind what stood there. As
/// long as the client is silent this waits: the caller has the deadline.
///
/// # Errors
/// The stream's own; a client that closes without a word is `UnexpectedEof`.
pub async fn peek_client_hello<S: AsyncRead + Unpin>(
    taken: &mut BytesMut,
    stream: &mut S,
) -> io::Result<Option<ClientHello>> {
    let mut acceptor = Acceptor::default();
    let mut seen = 0;
    loop {
        if taken.len() == seen && stream.read_buf(taken).await? == 0 {
            return if taken.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
        }
        if taken.first() != Some(&HANDSHAKE) || taken.len() > LIMIT {
            return Ok(None);
        }
        let mut fresh = taken.get(seen..).unwrap_or_default();
        while !fresh.is_empty() && acceptor.read_tls(&mut fresh)? > 0 {}
        seen = taken.len();
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Some(words(&accepted.client_hello()))),
            Ok(None) => {}
            Err(_) => return Ok(None),
        }
    }
}

fn words(hello: &rustls::server::ClientHello<'_>) -> ClientHello {
    ClientHello {
        server_name: hello.server_name().map(str::to_ascii_lowercase),
        alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
    }
}
