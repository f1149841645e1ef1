//! An origin that costs next to nothing: it answers every request head with the same bytes. It lives on the thread of the load, which never
//! sleeps while there is load: waking it is nothing that a gateway should pay for.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 46\r\n\r\n{\"origin\": \"o1\", \"method\": \"GET\", \"path\": \"/\"}";

/// Serves whenever the runtime runs.
pub(crate) fn start(runtime: &Runtime) -> Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let at = listener.local_addr()?;
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
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
