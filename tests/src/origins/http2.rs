//! An origin's HTTP/2 side, prior knowledge.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{Origin, Request};
use crate::case::Headers;
use crate::latin1;

/// Answers requests until the peer goes. A request that asks for a reset gets its stream reset.
pub(super) async fn serve(socket: TcpStream, origin: Arc<Origin>) -> Result<()> {
    let service = service_fn(move |request| {
        let origin = Arc::clone(&origin);
        async move { answer(&origin, request).await }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), service)
        .await
        .context("connection")
}

async fn answer(origin: &Origin, request: http::Request<Incoming>) -> Result<http::Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut headers: Headers = vec![("host".into(), authority)];
    headers
        .extend(head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), latin1::decode(value.as_bytes()))));
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = body.collect().await?.to_bytes().to_vec();
    let is_head = head.method == http::Method::HEAD;
    let request = Request { method: head.method.to_string(), path, headers, body, proto: Some("h2".into()) };
    let Some(answer) = origin.answer(request).await else { bail!("the request asked for a reset") };
    let bodiless = is_head || matches!(answer.status, 204 | 304);
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, latin1::encode(value)?);
    }
    Ok(response.body(Full::new(if bodiless { Bytes::new() } else { Bytes::from(answer.body) }))?)
}
