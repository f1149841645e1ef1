//! The dashboard: one page at the admin's `/`, with what it asks for. Everything is in the program; nothing is fetched from
//! anywhere else.

mod data;
mod explainer;
mod limits;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use proxy::Gateway;

pub(crate) use explainer::{Explainer, Known};

const PAGE: &str = include_str!("index.html");
const SCRIPT: &str = include_str!("app.js");
const STYLE: &str = include_str!("style.css");

/// A request to be explained is not larger.
const LARGEST: usize = 256 * 1024;
/// Nothing from elsewhere, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Answers the dashboard's paths; hands back what is not its own.
pub(crate) async fn answer(
    gateway: &Gateway,
    explainer: &Explainer,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Request<Incoming>> {
    let posts = request.method() == Method::POST;
    match request.uri().path() {
        "/" => Ok(response(StatusCode::OK, "text/html; charset=utf-8", PAGE.into())),
        "/dashboard/app.js" => Ok(response(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT.into())),
        "/dashboard/style.css" => Ok(response(StatusCode::OK, "text/css; charset=utf-8", STYLE.into())),
        "/dashboard/data" => Ok(json(&data::now(gateway, explainer))),
        "/dashboard/tables" => Ok(json(&data::tables(explainer))),
        // JSON, so that no form of another page can ask.
        "/dashboard/explain" if posts && is_json(&request) => Ok(explain(explainer, request).await),
        "/dashboard/explain" => {
            let text = "use POST with content-type: application/json\n";
            Ok(response(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", text.into()))
        }
        _ => Err(request),
    }
}

fn is_json(request: &Request<Incoming>) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

async fn explain(explainer: &Explainer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let refused = |why: String| json(&serde_json::json!({ "error": why }));
    let body = match Limited::new(request.into_body(), LARGEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refused(error.to_string()),
    };
    match serde_json::from_slice::<explainer::Question>(&body) {
        Ok(question) => match explainer.ask(question).await {
            Ok(answer) => json(&answer),
            Err(why) => refused(why),
        },
        Err(error) => refused(error.to_string()),
    }
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    response(StatusCode::OK, "application/json", value.to_string().into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in
        [("content-security-policy", POLICY), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
