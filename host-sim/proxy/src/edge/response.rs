//! An answer's head, from what filters made of it to what the client gets.
//!
//! Source: Envoy's `http/conn_manager_impl.cc` (`encodeHeaders`) and `mutateResponseHeaders`.

use bytes::Bytes;

use super::config::{EdgeConfig, ServerHeader};
use super::hop;
use super::request::append_via;
use crate::headers::{self, HeaderList, Side};

/// What Envoy's codec does to an upstream's head before the router sees it.
pub fn from_upstream(response: &mut HeaderList) {
    headers::join_slots(response, Side::Response);
}

/// Finishes an answer's head; the framing headers (`connection`, `transfer-encoding`) are the codec's.
///
/// `date` is the value for an answer without one. `request` is absent for an answer to a head that could not be read.
pub fn response(response: &mut HeaderList, request: Option<&[(Bytes, Bytes)]>, config: &EdgeConfig, date: &Bytes) {
    if !headers::has(response, "date") {
        headers::set_slot(response, "date", date.clone());
    }
    let server = match config.server_header {
        ServerHeader::Overwrite => true,
        ServerHeader::AppendIfAbsent => !headers::has(response, "server"),
        ServerHeader::PassThrough => false,
    };
    if server {
        headers::set_slot(response, "server", config.server_name.clone());
    }
    let upgraded = request.is_some_and(|request| hop::upgrade(request).is_some()) && hop::upgrade(response).is_some();
    if upgraded {
        let informational = headers::get(response, ":status").is_some_and(|status| status.starts_with(b"1"));
        let framed = headers::has(response, "transfer-encoding") || headers::has(response, "content-length");
        if !framed && !informational {
            headers::set_slot(response, "content-length", Bytes::from_static(b"0"));
        }
    }
    hop_by_hop(response, upgraded);
    if let Some(request) = request {
        request_id(response, request, config);
    }
    if !config.via.is_empty() {
        append_via(response, config);
    }
}

/// Finishes the head of an interim answer (100, 103), which says nothing of this gateway.
pub fn interim(response: &mut HeaderList, request: &[(Bytes, Bytes)], config: &EdgeConfig) {
    hop_by_hop(response, hop::upgrade(request).is_some() && hop::upgrade(response).is_some());
    request_id(response, request, config);
}

fn hop_by_hop(response: &mut HeaderList, upgraded: bool) {
    response.retain(|(name, _)| match name.as_ref() {
        b"transfer-encoding" | b"proxy-connection" => false,
        b"connection" | b"upgrade" => upgraded,
        _ => true,
    });
}

fn request_id(response: &mut HeaderList, request: &[(Bytes, Bytes)], config: &EdgeConfig) {
    let asked = config.always_set_request_id_in_response || headers::has(request, "x-envoy-force-trace");
    if let Some(id) = headers::get(request, "x-request-id").filter(|_| asked) {
        headers::set_slot(response, "x-request-id", id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interim_answer_says_nothing_of_its_connection() {
        let bytes = Bytes::from_static;
        let mut head = vec![
            (bytes(b":status"), bytes(b"103")),
            (bytes(b"connection"), bytes(b"close")),
            (bytes(b"link"), bytes(b"</a>")),
        ];
        interim(&mut head, &[(bytes(b"x-request-id"), bytes(b"1"))], &EdgeConfig::default());
        assert_eq!(head, [(bytes(b":status"), bytes(b"103")), (bytes(b"link"), bytes(b"</a>"))]);
    }
}
