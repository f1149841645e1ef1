//! HTTP/1.1 as Envoy speaks it: heads read and refused as Envoy's parser does, bodies framed, heads written.
//!
//! Nothing here touches a socket: bytes come in, values come out, so that any split of the bytes gives the same result.
//! It is not hyper's because hyper decides differently on one head in six (obs-fold, bare CR, duplicate `content-length`,
//! `transfer-encoding` other than chunked, methods, `HTTP/1.0`, missing host), and has lost the evidence (fragment, order
//! of repeated headers) by the time a service sees the request. What is accepted is written again from its parsed parts.
//!
//! Source: Envoy's `http/http1/balsa_parser.cc` and `codec_impl.cc`; every table was measured on Envoy 1.40.

mod body;
mod bytes_allowed;
mod encode;
mod fields;
mod hardened;
mod nominated;
mod request;
mod response;
mod sendable;
mod target;

pub use body::{BodyDecoder, BodyRules, Decoded, InvalidBody};
pub use encode::{AnswerTo, Framing, encode_chunk, encode_last_chunk, encode_request, encode_response, reason};
pub use fields::{HeadLimits, HeadReader, HeadTooLong, Underscores};
pub use request::{BodyKind, Refusal, RefusalKind, RequestHead, early_refusal, parse_request};
pub use response::{InvalidResponse, ResponseBody, ResponseHead, begins_badly, parse_response};
pub use sendable::unsendable;
