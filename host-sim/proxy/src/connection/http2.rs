//! Between hyper's HTTP/2 messages and the gateway's header lists.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::headers::{self, HeaderList, Side};

/// The list has something in it that HTTP/2 messages cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the head cannot be written as HTTP/2")]
pub(crate) struct Unspeakable;

/// Headers and trailers of a message, in order.
pub(crate) fn list_of(map: &HeaderMap) -> HeaderList {
    map.iter().map(|(name, value)| (name_bytes(name), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

fn name_bytes(name: &HeaderName) -> Bytes {
    Bytes::copy_from_slice(name.as_str().as_bytes())
}

/// A request's head: pseudo-headers in Envoy's order, copies of one-value headers joined, crumbs of a cookie put together.
pub(crate) fn request_list(parts: &http::request::Parts) -> HeaderList {
    let mut list = HeaderList::with_capacity(parts.headers.len() + 12);
    let uri = &parts.uri;
    let mut push = |name: &'static str, value: &[u8]| {
        list.push((Bytes::from_static(name.as_bytes()), Bytes::copy_from_slice(value)));
    };
    push(":method", parts.method.as_str().as_bytes());
    if let Some(path) = uri.path_and_query() {
        push(":path", path.as_str().as_bytes());
    }
    if let Some(scheme) = uri.scheme_str() {
        push(":scheme", scheme.as_bytes());
    }
    let host = parts.headers.get(http::header::HOST);
    if let Some(authority) = uri.authority() {
        push(":authority", authority.as_str().as_bytes());
    } else if let Some(host) = host {
        push(":authority", host.as_bytes());
    }
    let mut cookie: Vec<u8> = Vec::new();
    for (name, value) in &parts.headers {
        match name.as_str() {
            "host" => {}
            "cookie" => {
                if !cookie.is_empty() {
                    cookie.extend_from_slice(b"; ");
                }
                cookie.extend_from_slice(value.as_bytes());
            }
            _ => list.push((name_bytes(name), Bytes::copy_from_slice(value.as_bytes()))),
        }
    }
    // One without a crumb in it is none.
    if !cookie.is_empty() {
        list.push((Bytes::from_static(b"cookie"), Bytes::from(cookie)));
    }
    headers::join_slots(&mut list, Side::Request);
    list
}

/// A response's head, `:status` first.
pub(crate) fn response_list(parts: &http::response::Parts) -> HeaderList {
    let mut list = HeaderList::with_capacity(parts.headers.len() + 6);
    list.push((Bytes::from_static(b":status"), Bytes::copy_from_slice(parts.status.as_str().as_bytes())));
    list.extend(parts.headers.iter().map(|(name, value)| (name_bytes(name), Bytes::copy_from_slice(value.as_bytes()))));
    headers::join_slots(&mut list, Side::Response);
    list
}

/// A request to send.
///
/// # Errors
/// The method, target or a header is one that HTTP/2 messages cannot hold.
pub(crate) fn request_of<B>(list: &[(Bytes, Bytes)], body: B) -> Result<Request<B>, Unspeakable> {
    let mut request = Request::new(body);
    *request.version_mut() = Version::HTTP_2;
    let mut uri = http::uri::Parts::default();
    let mut scheme = Scheme::HTTP;
    for (name, value) in list {
        match name.as_ref() {
            b":method" => *request.method_mut() = Method::from_bytes(value).map_err(|_| Unspeakable)?,
            b":path" => {
                uri.path_and_query = Some(PathAndQuery::from_maybe_shared(value.clone()).map_err(|_| Unspeakable)?);
            }
            b":scheme" => scheme = Scheme::try_from(value.as_ref()).map_err(|_| Unspeakable)?,
            b":authority" if value.is_empty() => {}
            b":authority" => {
                uri.authority = Some(Authority::from_maybe_shared(value.clone()).map_err(|_| Unspeakable)?)
            }
            _ => drop(append(request.headers_mut(), name, value)?),
        }
    }
    if uri.authority.is_some() {
        uri.scheme = Some(scheme);
        uri.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Unspeakable)?;
    Ok(request)
}

/// A response to send.
///
/// # Errors
/// The status or a header is one that HTTP/2 messages cannot hold.
pub(crate) fn response_of<B>(list: &[(Bytes, Bytes)], body: B) -> Result<Response<B>, Unspeakable> {
    let mut response = Response::new(body);
    for (name, value) in list {
        match name.as_ref() {
            b":status" => *response.status_mut() = StatusCode::from_bytes(value).map_err(|_| Unspeakable)?,
            _ => drop(append(response.headers_mut(), name, value)?),
        }
    }
    Ok(response)
}

fn append(map: &mut HeaderMap, name: &Bytes, value: &Bytes) -> Result<bool, Unspeakable> {
    let name = HeaderName::from_lowercase(name).map_err(|_| Unspeakable)?;
    let value = HeaderValue::from_maybe_shared(value.clone()).map_err(|_| Unspeakable)?;
    map.try_append(name, value).map_err(|_| Unspeakable)
}

/// Trailers as hyper wants them; what cannot be one is left out.
pub(crate) fn trailers_of(list: &[(Bytes, Bytes)]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(list.len());
    for (name, value) in list {
        // Only what some filter or peer made up can fail here; a trailer is not worth the stream.
        let _ = append(&mut map, name, value);
    }
    map
}

/// What goes into an [`Outgoing`] body.
pub(crate) type Outlet = mpsc::Sender<Result<Frame<Bytes>, Reset>>;

/// The stream is to be reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("reset")]
pub(crate) struct Reset;

/// A body whose frames come through a channel with room for one, so that the writer goes no faster than the peer reads.
pub(crate) enum Outgoing {
    /// None at all.
    Empty,
    /// Bit by bit.
    Channel(mpsc::Receiver<Result<Frame<Bytes>, Reset>>),
}

impl Outgoing {
    /// A body and its writer's end.
    pub(crate) fn channel() -> (Outlet, Outgoing) {
        let (outlet, frames) = mpsc::channel(1);
        (outlet, Outgoing::Channel(frames))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        match self.get_mut() {
            Outgoing::Empty => Poll::Ready(None),
            Outgoing::Channel(frames) => frames.poll_recv(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // hyper would make `content-length: 0` of a known 0, and Envoy writes none.
            Outgoing::Empty => SizeHint::default(),
            Outgoing::Channel(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[(&'static str, &'static str)]) -> HeaderList {
        lines.iter().map(|(k, v)| (Bytes::from_static(k.as_bytes()), Bytes::from_static(v.as_bytes()))).collect()
    }

    #[test]
    fn a_request_goes_there_and_back() {
        let sent = list(&[
            (":method", "POST"),
            (":path", "/a?b"),
            (":scheme", "https"),
            (":authority", "a.example:80"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("cookie", "a=1; b=2"),
        ]);
        let (parts, ()) = request_of(&sent, ()).unwrap().into_parts();
        assert_eq!(request_list(&parts), sent);
    }

    #[test]
    fn crumbs_of_a_cookie_are_put_together() {
        let (parts, ()) = request_of(&list(&[(":path", "/"), ("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2")]), ())
            .unwrap()
            .into_parts();
        assert_eq!(headers::get(&request_list(&parts), "cookie").unwrap(), "a=1; b=2");
    }

    #[test]
    fn what_cannot_be_said_is_an_error() {
        assert_eq!(request_of(&list(&[(":path", "/a b")]), ()).err(), Some(Unspeakable));
        assert_eq!(response_of(&list(&[(":status", "99999")]), ()).err(), Some(Unspeakable));
    }
}
