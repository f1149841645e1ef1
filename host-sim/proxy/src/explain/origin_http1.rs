//! The HTTP/1 half of an origin in memory. It takes whatever it is sent: a rewrite that leaves a path without its slash is to
//! be seen, not to be refused on the way.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::origin::{Answer, Origins, Seen};
use crate::http1::{AnswerTo, BodyDecoder, BodyKind, BodyRules, Decoded, HeadReader, encode_response};

/// The connection is over.
pub(super) struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

/// A head is not larger than this.
const LARGEST: usize = 1024 * 1024;

/// Answers request after request, until the gateway goes or an answer is to break off.
pub(super) async fn serve(
    mut io: DuplexStream,
    origins: &Origins,
    cluster: &str,
    endpoint: SocketAddr,
) -> Result<(), Over> {
    let (mut input, mut reader) = (BytesMut::new(), HeadReader::default());
    loop {
        let head = match reader.take(&mut input, LARGEST) {
            Ok(Some(head)) => head,
            Ok(None) => {
                fill(&mut io, &mut input).await?;
                continue;
            }
            Err(_) => return Err(Over),
        };
        let mut request = parse(&head);
        let mut decoder = BodyDecoder::new(framing(request.headers()), BodyRules::default());
        let mut body = BytesMut::new();
        loop {
            match decoder.decode(&mut input) {
                Ok(Decoded::Data(data)) => body.extend_from_slice(&data),
                Ok(Decoded::NeedMore) => fill(&mut io, &mut input).await?,
                Ok(Decoded::Trailers(_)) => {}
                Ok(Decoded::End) => break,
                Err(_) => return Err(Over),
            }
        }
        *request.body_mut() = body.freeze();
        let to_head = request.method() == hyper::Method::HEAD;
        match origins(Seen { cluster: cluster.to_owned(), endpoint, request }) {
            Answer::Reset => return Err(Over),
            Answer::Response(after, response) => {
                tokio::time::sleep(after).await;
                io.write_all(&written(&response, to_head)).await?;
            }
        }
    }
}

async fn fill(io: &mut DuplexStream, input: &mut BytesMut) -> Result<(), Over> {
    if io.read_buf(input).await? == 0 { Err(Over) } else { Ok(()) }
}

/// The request as far as it can be told in hyper's words.
fn parse(head: &Bytes) -> Request<Bytes> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = first.split(' ');
    let mut request = Request::new(Bytes::new());
    if let Some(method) = words.next().and_then(|word| word.parse().ok()) {
        *request.method_mut() = method;
    }
    if let Some(target) = words.next().and_then(|word| word.parse().ok()) {
        *request.uri_mut() = target;
    }
    let pair = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        Some((name, HeaderValue::from_bytes(line.get(colon + 1..)?.trim_ascii()).ok()?))
    };
    for (name, value) in lines.filter_map(pair) {
        request.headers_mut().append(name, value);
    }
    request
}

/// The gateway has written it: it is chunked or it has a length.
fn framing(headers: &HeaderMap) -> BodyKind {
    if headers.contains_key("transfer-encoding") {
        return BodyKind::Chunked;
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    length.map_or(BodyKind::None, BodyKind::Length)
}

fn written(response: &Response<Bytes>, to_head: bool) -> Vec<u8> {
    let status = response.status();
    let own = response.headers().iter().filter(|(name, _)| *name != "content-length");
    let mut list = vec![(Bytes::from_static(b":status"), Bytes::from(status.as_str().to_owned()))];
    list.extend(own.map(|(name, value)| (Bytes::from(name.to_string()), Bytes::copy_from_slice(value.as_bytes()))));
    let bodiless = status.is_informational() || status == 204 || status == 304;
    if !bodiless {
        list.push((Bytes::from_static(b"content-length"), Bytes::from(response.body().len().to_string())));
    }
    let mut out = Vec::new();
    let to = AnswerTo { head: to_head, http10: false };
    encode_response(&list, bodiless || response.body().is_empty(), to, &mut out);
    if !bodiless && !to_head {
        out.extend_from_slice(response.body());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_sent_is_seen() {
        let head =
            Bytes::from_static(b"PUT __x?y=1 HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 3\r\n\r\n");
        let request = parse(&head);
        assert_eq!((request.method().as_str(), request.headers().get_all("x-a").iter().count()), ("PUT", 2));
        assert_eq!(framing(request.headers()), BodyKind::Length(3));
    }

    #[test]
    fn an_answer_has_a_length_unless_it_may_not() {
        let answer = |status: u16| {
            let mut response = Response::new(Bytes::from_static(b"abc"));
            *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
            String::from_utf8(written(&response, false).to_vec()).unwrap()
        };
        assert!(answer(200).ends_with("content-length: 3\r\n\r\nabc"), "{}", answer(200));
        assert!(answer(204).ends_with("\r\n\r\n") && !answer(204).contains("content-length"), "{}", answer(204));
    }
}
