//! gRPC-Web, as browsers speak it, translated into gRPC and back: trailers travel as a last frame of the body, and either body may be base64.
//!
//! Source: the gRPC-Web protocol (`PROTOCOL-WEB.md`) and Envoy's filter `grpc_web`, of which this keeps the odd corners: each block of a text request
//! may be padded at its end alone, a call that is answered with anything but gRPC has that answer's body as `grpc-message`, and what a text answer has
//! behind its last whole frame is lost.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use crate::headers::{self, HeaderList};
use crate::local_reply::{LocalReply, grpc_status_of, has_grpc_content_type, percent_encode};

/// `grpc-message` made of an origin's body is cut here; one of our own answers is taken whole.
pub(crate) const LONGEST_MESSAGE: usize = 16 * 1024;

const BINARY: [&str; 2] = ["application/grpc-web", "application/grpc-web+proto"];
const TEXT: [&str; 2] = ["application/grpc-web-text", "application/grpc-web-text+proto"];

/// Marks the frame that holds the trailers.
const TRAILERS: u8 = 0x80;
/// The only flag of a gRPC frame: its message is compressed.
const COMPRESSED: u8 = 1;
/// Flags and length.
const FRAME_HEAD: usize = 5;

/// One call under translation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GrpcWeb {
    text_request: bool,
    text_response: bool,
    /// Up to three characters of a block of base64.
    undecoded: Vec<u8>,
    /// A frame that is not whole yet.
    unframed: Vec<u8>,
    /// The answer's body is in its head.
    gathered: bool,
}

impl GrpcWeb {
    /// Turns the head of a gRPC-Web call into gRPC's; `None` for any other request, which stays as it is.
    pub(crate) fn request(head: &mut HeaderList) -> Option<GrpcWeb> {
        let one_of = |types: [&str; 2], name: &str| {
            headers::get(head, name).is_some_and(|value| types.iter().any(|known| known.as_bytes() == value))
        };
        let text_request = one_of(TEXT, "content-type");
        if !text_request && !one_of(BINARY, "content-type") || !headers::has(head, ":path") {
            return None;
        }
        let text_response = one_of(TEXT, "accept");
        headers::remove(head, b"content-length");
        headers::set_slot(head, "content-type", Bytes::from_static(b"application/grpc"));
        headers::set_slot(head, "te", Bytes::from_static(b"trailers"));
        if headers::get(head, "grpc-accept-encoding").is_none_or(Bytes::is_empty) {
            headers::set_slot(head, "grpc-accept-encoding", Bytes::from_static(b"identity"));
        }
        Some(GrpcWeb { text_request, text_response, ..GrpcWeb::default() })
    }

    /// A piece of the request's body as gRPC has it; nothing while a block of base64 is not whole. `end`: it is the last.
    ///
    /// # Errors
    /// What Envoy answers to base64 that is none.
    pub(crate) fn request_body(&mut self, data: Bytes, end: bool) -> Result<Bytes, LocalReply> {
        if !self.text_request {
            return Ok(data);
        }
        self.undecoded.extend_from_slice(&data);
        let whole = self.undecoded.len() / 4 * 4;
        if end && whole != self.undecoded.len() {
            return Err(refused("grpc_base_64_decode_failed_bad_size"));
        }
        let blocks: Vec<u8> = self.undecoded.drain(..whole).collect();
        let decoded = BASE64_STANDARD.decode(blocks).map_err(|_| refused("grpc_base_64_decode_failed"))?;
        Ok(Bytes::from(decoded))
    }

    /// Is this answer with a body none of gRPC's, so that its body becomes `grpc-message`?
    pub(crate) fn gathers(head: &[(Bytes, Bytes)]) -> bool {
        let ok = headers::status(head) == Some(200);
        let value = headers::get(head, "content-type").map(AsRef::as_ref).unwrap_or_default();
        let media_type = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
        let is_web = BINARY.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(media_type));
        !ok || !is_web && !has_grpc_content_type(head)
    }

    /// Says the body of such an answer in its head.
    pub(crate) fn gathered(&mut self, head: &mut HeaderList, body: &[u8]) {
        self.gathered = true;
        let status = headers::status(head);
        headers::set_slot(head, "grpc-message", Bytes::from(percent_encode(body)));
        headers::set_slot(head, "grpc-status", Bytes::from(grpc_status_of(status.unwrap_or_default()).to_string()));
        headers::set_slot(head, "content-length", Bytes::from_static(b"0"));
    }

    /// Turns an answer's head into gRPC-Web's. The length of a body that is in the head is known.
    pub(crate) fn response(&self, head: &mut HeaderList) {
        if !self.gathered {
            headers::remove(head, b"content-length");
        }
        let [_, content_type] = if self.text_response { TEXT } else { BINARY };
        headers::set_slot(head, "content-type", Bytes::from_static(content_type.as_bytes()));
    }

    /// A piece of the answer's body as gRPC-Web has it: in text, whole frames only, each encoded by itself.
    pub(crate) fn response_body(&mut self, data: Bytes) -> Bytes {
        if !self.text_response {
            return data;
        }
        self.unframed.extend_from_slice(&data);
        let mut text = String::new();
        while let Some(frame) = self.next_frame() {
            BASE64_STANDARD.encode_string(frame, &mut text);
        }
        Bytes::from(text)
    }

    /// What begins with flags that no frame has is lost with all that was read behind it.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let flags = *self.unframed.first()?;
        if flags & !COMPRESSED != 0 {
            self.unframed.clear();
            return None;
        }
        let length = self.unframed.get(1..FRAME_HEAD)?.try_into().map(u32::from_be_bytes).ok()?;
        let whole = usize::try_from(length).ok()?.checked_add(FRAME_HEAD)?;
        (self.unframed.len() >= whole).then(|| self.unframed.drain(..whole).collect())
    }

    /// The frame that trailers travel in.
    pub(crate) fn trailers(&self, trailers: &[(Bytes, Bytes)]) -> Bytes {
        let lines: Vec<u8> =
            trailers.iter().flat_map(|(name, value)| [&name[..], b":", value, b"\r\n"].concat()).collect();
        let length = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let frame = [&[TRAILERS][..], &length.to_be_bytes(), &lines].concat();
        if self.text_response { Bytes::from(BASE64_STANDARD.encode(frame)) } else { Bytes::from(frame) }
    }
}

fn refused(details: &'static str) -> LocalReply {
    LocalReply::new(400, details).body("Bad gRPC-web request, invalid base64 data.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn list(pairs: &[(&'static str, &'static str)]) -> HeaderList {
        pairs.iter().map(|(name, value)| (Bytes::from(*name), Bytes::from(*value))).collect()
    }

    fn call(content_type: &'static str, accept: &'static str) -> Option<GrpcWeb> {
        GrpcWeb::request(&mut list(&[(":path", "/a.B/C"), ("content-type", content_type), ("accept", accept)]))
    }

    #[test]
    fn a_call_is_told_by_its_content_type_to_the_letter() {
        for (content_type, accept, text) in [
            ("application/grpc-web", "", Some((false, false))),
            ("application/grpc-web+proto", "application/grpc-web-text", Some((false, true))),
            ("application/grpc-web-text", "*/*", Some((true, false))),
            ("application/grpc-web-text+proto", "application/grpc-web-text+proto", Some((true, true))),
            ("application/grpc-web+json", "", None),
            ("application/grpc-web; charset=utf-8", "", None),
            ("application/grpc", "application/grpc-web-text", None),
        ] {
            let got = call(content_type, accept).map(|call| (call.text_request, call.text_response));
            assert_eq!(got, text, "{content_type} {accept}");
        }
        let mut head = list(&[
            (":path", "/a"),
            ("content-length", "9"),
            ("content-type", "application/grpc-web"),
            ("grpc-accept-encoding", "gzip"),
        ]);
        assert!(GrpcWeb::request(&mut head).is_some());
        let expected = [
            (":path", "/a"),
            ("content-type", "application/grpc"),
            ("grpc-accept-encoding", "gzip"),
            ("te", "trailers"),
        ];
        assert_eq!(head, list(&expected));
    }

    #[test]
    fn text_is_decoded_block_by_block() {
        let bad_size = Some("grpc_base_64_decode_failed_bad_size");
        let bad = Some("grpc_base_64_decode_failed");
        for (pieces, decoded, details) in [
            (&["AAAA", "AAEA"][..], &b"\0\0\0\0\x01\0"[..], None),
            (&["AAA", "AAAE", "A"], b"\0\0\0\0\x01\0", None),
            (&["AA==", "AAEA"], b"\0\0\x01\0", None),
            (&["AA==AAEA"], b"", bad),
            (&["AAAA", "AA"], b"\0\0\0", bad_size),
            (&["A A="], b"", bad),
            (&["AB=="], b"", bad),
            (&[""], b"", None),
        ] {
            let mut call = call("application/grpc-web-text", "").unwrap();
            let (mut got, mut refused) = (Vec::new(), None);
            for (at, piece) in pieces.iter().enumerate() {
                match call.request_body(Bytes::from(*piece), at + 1 == pieces.len()) {
                    Ok(data) => got.extend_from_slice(&data),
                    Err(reply) => refused = Some(reply.details.into_owned()),
                }
            }
            assert_eq!((&got[..], refused.as_deref()), (decoded, details), "{pieces:?}");
        }
        let mut binary = call("application/grpc-web", "").unwrap();
        assert_eq!(binary.request_body(Bytes::from_static(b"A"), true).unwrap(), "A");
    }

    #[test]
    fn an_answer_that_is_not_grpc_is_told_in_its_head() {
        for (status, content_type, gathers) in [
            ("200", "application/grpc", false),
            ("200", "application/grpc+proto", false),
            ("200", "Application/GRPC-Web+proto ; a=b", false),
            ("200", "application/grpc-web-text", true),
            ("200", "text/plain", true),
            ("503", "application/grpc", true),
        ] {
            let head = list(&[(":status", status), ("content-type", content_type)]);
            assert_eq!(GrpcWeb::gathers(&head), gathers, "{status} {content_type}");
        }
        let mut head = list(&[(":status", "503"), ("content-length", "7"), ("content-type", "text/plain")]);
        let mut call = call("application/grpc-web", "").unwrap();
        call.gathered(&mut head, b"no\tway%");
        call.response(&mut head);
        let expected = [
            (":status", "503"),
            ("content-length", "0"),
            ("content-type", "application/grpc-web+proto"),
            ("grpc-message", "no%09way%25"),
            ("grpc-status", "14"),
        ];
        assert_eq!(head, list(&expected));
    }

    #[test]
    fn a_text_answer_goes_frame_by_frame_and_its_trailers_are_the_last() {
        let mut text = call("application/grpc-web", "application/grpc-web-text").unwrap();
        assert_eq!(text.response_body(Bytes::from_static(b"\0\0\0\0\x02h")), "");
        assert_eq!(text.response_body(Bytes::from_static(b"i\x01\0\0\0\0\0")), "AAAAAAJoaQ==AQAAAAA=");
        assert_eq!(text.response_body(Bytes::from_static(b"\0\0\0")), "");
        assert_eq!(text.response_body(Bytes::from_static(b"\x01a\x02ab")), "AAAAAAFh", "no frame has such flags");
        let trailers = list(&[("grpc-status", "0"), ("x", "y")]);
        let frame = b"\x80\0\0\0\x14grpc-status:0\r\nx:y\r\n";
        assert_eq!(text.trailers(&trailers), BASE64_STANDARD.encode(frame));
        let mut binary = call("application/grpc-web", "").unwrap();
        assert_eq!(binary.response_body(Bytes::from_static(b"\0\0")), &b"\0\0"[..]);
        assert_eq!(binary.trailers(&trailers), &frame[..]);
    }
}
