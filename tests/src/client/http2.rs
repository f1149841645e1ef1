//! One HTTP/2 request over a connection of its own.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Reply, Response};
use crate::case::{self, Headers};
use crate::{latin1, record};

/// Sends the request; `host` becomes `:authority`. What HTTP/2 has no words for is unreadable: the request never left.
pub(super) async fn exchange<S>(socket: S, send: &case::Send, key: Option<&str>) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(request) = request(send, key) else { return Reply::Unreadable("no request of HTTP/2".into()) };
    let Ok((mut sender, connection)) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await else {
        return Reply::Closed;
    };
    let driver = tokio::spawn(connection);
    let reply = match sender.send_request(request).await {
        Ok(response) => read(response).await,
        Err(_) => Reply::Closed, // a reset stream and a closed connection are one to a client
    };
    driver.abort();
    reply
}

fn request(send: &case::Send, key: Option<&str>) -> Option<http::Request<Full<Bytes>>> {
    let host = send.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map_or("shop.example", |(_, value)| value);
    let scheme = if send.tls.is_some() { "https" } else { "http" };
    let path = http::uri::PathAndQuery::try_from(latin1::encode(&send.path).ok()?).ok()?;
    let uri = http::Uri::builder().scheme(scheme).authority(host).path_and_query(path).build().ok()?;
    let mut request = http::Request::builder().method(send.method.as_bytes()).uri(uri).version(http::Version::HTTP_2);
    for (name, value) in send.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        request = request.header(name, latin1::encode(value).ok()?);
    }
    if let Some(key) = key {
        request = request.header(record::KEY, key);
    }
    request.body(Full::new(Bytes::from(latin1::encode(&send.body).ok()?))).ok()
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Reply {
    let status = response.status().as_u16();
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), latin1::trim(&latin1::decode(value.as_bytes())).to_owned())
    };
    let headers: Headers = response.headers().iter().map(line).collect();
    match response.into_body().collect().await {
        Ok(body) => Reply::Response(Response { status, headers, body: latin1::decode(&body.to_bytes()) }),
        Err(e) => Reply::Unreadable(format!("status {status}, then {e}")),
    }
}
