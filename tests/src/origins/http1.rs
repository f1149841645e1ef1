//! An origin's HTTP/1.1 side, read by hand: header lines are kept as bytes, in order, in any spelling.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, Origin, Request};
use crate::case::Headers;
use crate::latin1;

/// Answers requests until the peer goes, or one asks for a reset.
pub(super) async fn serve(mut socket: TcpStream, origin: Arc<Origin>) -> Result<()> {
    let mut bytes = Vec::new();
    while let Some(request) = read(&mut socket, &mut bytes).await? {
        let bodiless = request.method == "HEAD";
        let Some(answer) = origin.answer(request).await else { return Ok(()) };
        socket.write_all(&wire(&answer, bodiless)?).await?;
    }
    Ok(())
}

fn wire(answer: &Answer, bodiless: bool) -> Result<Vec<u8>> {
    let lines: String = answer.headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
    let body = if bodiless { "" } else { &answer.body };
    latin1::encode(&format!("HTTP/1.1 {} X\r\n{lines}\r\n{body}", answer.status))
}

/// The next request, or `None` when the peer has gone between two.
async fn read(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Option<Request>> {
    let Some(head) = until(socket, bytes, b"\r\n\r\n").await? else { return Ok(None) };
    let head = latin1::decode(&head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    let (method, path) = (words.next().context("no method")?.to_owned(), words.next().context("no target")?.to_owned());
    let headers: Headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), latin1::trim(value).to_owned())))
        .collect::<Option<_>>()
        .context("a header line without a colon")?;
    let body = body(socket, bytes, &headers).await?;
    Ok(Some(Request { method, path, headers, body, proto: None }))
}

async fn body(socket: &mut TcpStream, bytes: &mut Vec<u8>, headers: &Headers) -> Result<Vec<u8>> {
    let last = |name: &str| headers.iter().rev().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
    if let Some(length) = last("content-length") {
        return exactly(socket, bytes, length.parse().context("content-length")?).await;
    }
    let mut body = Vec::new();
    if !last("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return Ok(body);
    }
    loop {
        let line = latin1::decode(&until(socket, bytes, b"\r\n").await?.context("the body ends early")?);
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).context("chunk size")?;
        body.extend(exactly(socket, bytes, size).await?);
        exactly(socket, bytes, 2).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Everything before `mark`, which is dropped; `None` at the end of the connection.
async fn until(socket: &mut TcpStream, bytes: &mut Vec<u8>, mark: &[u8]) -> Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = bytes.windows(mark.len()).position(|w| w == mark) {
            let rest = bytes.split_off(at + mark.len());
            let mut before = std::mem::replace(bytes, rest);
            before.truncate(at);
            return Ok(Some(before));
        }
        if socket.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

async fn exactly(socket: &mut TcpStream, bytes: &mut Vec<u8>, length: usize) -> Result<Vec<u8>> {
    while bytes.len() < length {
        if socket.read_buf(bytes).await? == 0 {
            bail!("the body ends early");
        }
    }
    let rest = bytes.split_off(length);
    Ok(std::mem::replace(bytes, rest))
}
