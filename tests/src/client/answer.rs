//! Reads one HTTP/1.1 answer off a connection.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Reply, Response};
use crate::case::Headers;
use crate::latin1;

/// Bytes read so far and not used yet.
struct Buffered<'a, S> {
    socket: &'a mut S,
    bytes: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Buffered<'_, S> {
    /// Reads more; `false` at the end.
    async fn more(&mut self) -> Result<bool> {
        Ok(self.socket.read_buf(&mut self.bytes).await? > 0)
    }

    /// Everything before `mark`, which is dropped. At the end of the connection: an error.
    async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(mark.len()).position(|w| w == mark) {
                let rest = self.bytes.split_off(at + mark.len());
                let mut before = std::mem::replace(&mut self.bytes, rest);
                before.truncate(at);
                return Ok(before);
            }
            if !self.more().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// As many bytes as there are, up to `length`.
    async fn up_to(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.bytes.len() < length && self.more().await? {}
        let rest = self.bytes.split_off(length.min(self.bytes.len()));
        Ok(std::mem::replace(&mut self.bytes, rest))
    }

    async fn until_closed(mut self) -> Result<Vec<u8>> {
        loop {
            match self.more().await {
                Ok(true) => {}
                // TLS without close_notify ends here too.
                Ok(false) => return Ok(self.bytes),
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(self.bytes),
                Err(e) => return Err(e),
            }
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = latin1::decode(&self.until(b"\r\n").await?);
            let size =
                usize::from_str_radix(size.trim(), 16).map_err(|_| Error::other(format!("chunk size {size:?}")))?;
            let chunk = self.up_to(size).await?;
            if chunk.len() < size {
                return Err(Error::other("the body ends inside a chunk"));
            }
            body.extend(chunk);
            if size == 0 {
                return Ok(body); // trailers are not part of any record
            }
            self.until(b"\r\n").await?;
        }
    }
}

/// Reads an answer to its end. `bodiless` for HEAD, whose answer has a length but no body.
pub(super) async fn read<S: AsyncRead + Unpin>(socket: &mut S, bodiless: bool) -> Result<Reply> {
    let mut input = Buffered { socket, bytes: Vec::new() };
    let head = latin1::decode(&input.until(b"\r\n\r\n").await?);
    let Some((status, headers)) = parse(&head) else {
        return Ok(Reply::Unreadable(head.chars().take(80).collect()));
    };
    let last = |name: &str| headers.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    let body = if bodiless || matches!(status, 204 | 304) {
        Ok(Vec::new())
    } else if let Some(length) = last("content-length") {
        match length.parse() {
            Ok(length) => input.up_to(length).await,
            Err(_) => return Ok(Reply::Unreadable(format!("content-length {length:?}"))),
        }
    } else if last("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        input.chunks().await
    } else {
        input.until_closed().await
    };
    // A head has been seen, so whatever ends the body is no silent close.
    Ok(match body {
        Ok(body) => Reply::Response(Response { status, headers, body: latin1::decode(&body) }),
        Err(e) => Reply::Unreadable(format!("status {status}, then {e}")),
    })
}

fn parse(head: &str) -> Option<(u16, Headers)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), latin1::trim(value).to_owned())))
        .collect::<Option<_>>()?;
    Some((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(mut bytes: &[u8], bodiless: bool) -> Result<Reply> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(read(&mut bytes, bodiless))
    }

    fn body(bytes: &str, bodiless: bool) -> String {
        match answer(bytes.as_bytes(), bodiless).unwrap() {
            Reply::Response(response) => response.body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc", false), "ab");
        assert_eq!(
            body("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", false),
            "abc"
        );
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nabc", false), "abc");
        assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", true), "");
        assert_eq!(body("HTTP/1.1 304 X\r\ncontent-length: 2\r\n\r\n", false), "");
    }

    #[test]
    fn header_names_come_in_lower_case_and_values_as_bytes() {
        let Reply::Response(got) = answer(b"HTTP/1.1 200 \r\nX-A:  \xff \r\nx-a:\r\n\r\n", false).unwrap() else {
            panic!()
        };
        assert_eq!(got.headers, [("x-a".to_owned(), "\u{ff}".to_owned()), ("x-a".to_owned(), String::new())]);
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n", false).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        for bytes in [
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        ] {
            assert!(matches!(answer(bytes.as_bytes(), false).unwrap(), Reply::Unreadable(_)), "{bytes}");
        }
    }
}
