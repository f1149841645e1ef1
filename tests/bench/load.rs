//! Load: a number of connections, each sending its next request when the answer to the last has come.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// In the table.
    pub(crate) name: &'static str,
    /// The request target.
    pub(crate) path: &'static str,
    /// Whether the request has the headers that the filter looks at.
    pub(crate) filtered: bool,
}

/// One run of load against one gateway.
pub(crate) struct Load<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) workload: &'a Target,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
}

/// What came of it.
pub(crate) struct Done {
    /// How long each answer took.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) took: Duration,
}

impl Target {
    fn request(&self) -> Vec<u8> {
        let headers = if self.filtered { "cookie: theme=dark; beta=0\r\nx-user: ann@example.org\r\n" } else { "" };
        let usual = "accept: */*\r\naccept-encoding: gzip\r\nuser-agent: bench\r\n";
        format!("GET {} HTTP/1.1\r\nhost: shop.example.com\r\n{usual}{headers}\r\n", self.path).into_bytes()
    }
}

impl Load<'_> {
    /// Drives the load from a thread of its own.
    ///
    /// # Errors
    /// An answer that is not 200, or a connection that ends.
    pub(crate) fn run(&self) -> Result<Done> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let start = Instant::now();
        let until = start + self.duration;
        let latencies = runtime.block_on(async {
            let clients: Vec<_> =
                (0..self.connections).map(|_| tokio::spawn(client(self.to, self.workload.request(), until))).collect();
            let mut latencies = Vec::new();
            for client in clients {
                latencies.extend(client.await??);
            }
            anyhow::Ok(latencies)
        })?;
        Ok(Done { latencies, took: start.elapsed() })
    }
}

/// One request, answered with 200.
///
/// # Errors
/// Any other answer.
pub(crate) async fn one(to: SocketAddr, target: &Target) -> Result<()> {
    client(to, target.request(), Instant::now()).await.map(drop)
}

/// Makes sure that the filter works: a beta user's answer carries the header that only his route sets.
///
/// # Errors
/// It does not, so figures of this gateway would be figures of another chain.
pub(crate) async fn filtered(to: SocketAddr) -> Result<()> {
    let mut socket = TcpStream::connect(to).await?;
    socket
        .write_all(b"GET /products HTTP/1.1\r\nhost: shop.example.com\r\ncookie: beta=1\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.contains("x-shop-release: v2"), "the filter does not mark beta users:\n{answer}");
    Ok(())
}

async fn client(to: SocketAddr, request: Vec<u8>, until: Instant) -> Result<Vec<Duration>> {
    let mut socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    let mut latencies = Vec::with_capacity(1 << 16);
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let start = Instant::now();
        socket.write_all(&request).await?;
        answer(&mut socket, &mut bytes).await?;
        let end = Instant::now();
        latencies.push(end - start);
        if end >= until {
            return Ok(latencies);
        }
    }
}

/// Reads one answer, which must be 200 and have a length.
async fn answer(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.clear();
    let head = loop {
        ensure!(socket.read_buf(bytes).await? > 0, "closed without an answer");
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).to_ascii_lowercase();
    ensure!(text.starts_with("http/1.1 200"), "{text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let Some(length) = length else { anyhow::bail!("an answer without a length: {text}") };
    while bytes.len() < head + length {
        ensure!(socket.read_buf(bytes).await? > 0, "the body ends early");
    }
    Ok(())
}
