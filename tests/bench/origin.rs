//! An origin that costs next to nothing: it answers every request head with the same bytes.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 46\r\n\r\n{\"origin\": \"o1\", \"method\": \"GET\", \"path\": \"/\"}";

/// Serves on a thread of its own, for as long as the program runs.
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let at = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("origin".into()).spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (socket, _) = listener.accept().await?;
                tokio::spawn(answer(socket));
            }
            #[expect(unreachable_code, reason = "names the error type")]
            Ok::<(), std::io::Error>(())
        })
    })?;
    Ok(at)
}

async fn answer(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            bytes.drain(..end + 4);
            socket.write_all(ANSWER).await?;
        }
    }
}
