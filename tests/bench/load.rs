//! Load: a number of connections, each sending its next request when the answer to the last has come.
//!
//! Its thread does not sleep when there is nothing to do. Waking a thread on another processor costs whoever wakes it some 2 us on a virtual machine, as
//! much as a third of a request: a gateway that is slower than its client would pay that for each answer, and one that is faster for none.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

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
    /// Drives the load on this thread, and the origin with it.
    ///
    /// # Errors
    /// An answer that is not 200, or a connection that ends.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<Done> {
        let start = Instant::now();
        let until = start + self.duration;
        let latencies = runtime.block_on(async {
            let awake = tokio::spawn(async {
                loop {
                    tokio::task::yield_now().await;
                }
            });
            let clients: Vec<_> =
                (0..self.connections).map(|_| tokio::spawn(client(self.to, self.workload.request(), until))).collect();
            let mut latencies = Vec::new();
            for client in clients {
                latencies.extend(client.await??);
            }
            awake.abort();
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
    let lines = bytes.get(..head).unwrap_or_default();
    ensure!(lines.starts_with(b"HTTP/1.1 200"), "{}", lines.escape_ascii());
    let length = lines.split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        let value = name.eq_ignore_ascii_case(b"content-length:").then_some(value)?;
        std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok()
    });
    let Some(length) = length else { anyhow::bail!("an answer without a length: {}", lines.escape_ascii()) };
    while bytes.len() < head + length {
        ensure!(socket.read_buf(bytes).await? > 0, "the body ends early");
    }
    Ok(())
}
