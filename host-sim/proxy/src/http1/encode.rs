//! Heads and chunks as Envoy's codec writes them.

use bytes::Bytes;

use crate::headers;

/// How the body behind a head is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none, whatever its source yields: HEAD.
    Forbidden,
    /// As it comes: its length is in the head, or it is another protocol's.
    Raw,
    /// In chunks.
    Chunked,
}

/// What the form of an answer depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerTo {
    /// The request's method is HEAD.
    pub head: bool,
    /// It was no HTTP/1.1, which has no chunks.
    pub http10: bool,
}

/// Writes a response's head. `end`: no body follows.
pub fn encode_response(list: &[(Bytes, Bytes)], end: bool, to: AnswerTo, out: &mut Vec<u8>) -> Framing {
    let head_request = to.head;
    let status = headers::get(list, ":status").map_or(&b"200"[..], |status| status.as_ref());
    let code = headers::status(list).unwrap_or(200);
    out.extend_from_slice(if to.http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status);
    out.push(b' ');
    out.extend_from_slice(reason(code).as_bytes());
    out.extend_from_slice(b"\r\n");
    let has_length = encode_fields(list, |_, _| false, out);
    let bodiless = code < 200 || code == 204 || code == 304;
    let framing = if code == 101 {
        Framing::Raw
    } else if has_length {
        if head_request { Framing::Forbidden } else { Framing::Raw }
    } else if bodiless {
        // Whoever answers with a body where there is none has it written behind the head, as it is.
        if head_request || (100..200).contains(&code) { Framing::Forbidden } else { Framing::Raw }
    } else if end && !head_request {
        out.extend_from_slice(b"content-length: 0\r\n");
        Framing::Forbidden
    } else if to.http10 {
        if head_request { Framing::Forbidden } else { Framing::Raw }
    } else {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        if head_request { Framing::Forbidden } else { Framing::Chunked }
    };
    out.extend_from_slice(b"\r\n");
    framing
}

/// Writes a request's head. `end`: no body follows.
pub fn encode_request(list: &[(Bytes, Bytes)], end: bool, out: &mut Vec<u8>) -> Framing {
    let method = headers::get(list, ":method").map_or(&b"GET"[..], |method| method.as_ref());
    let connect = method == b"CONNECT";
    let target = headers::get(list, if connect { ":authority" } else { ":path" });
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target.map_or(&b"/"[..], |target| target.as_ref()));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let upgrade = headers::has(list, "upgrade");
    // The connection manager notes that an upgrade has no body; the origin is not told.
    let unsaid = |name: &[u8], value: &[u8]| upgrade && name == b"content-length" && value == b"0";
    let has_length = encode_fields(list, unsaid, out);
    let framing = if has_length || connect || upgrade {
        Framing::Raw
    } else if end {
        if !matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"TRACE") {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Framing::Forbidden
    } else {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        Framing::Chunked
    };
    out.extend_from_slice(b"\r\n");
    framing
}

/// Writes one chunk; an empty one writes nothing.
pub fn encode_chunk(data: &[u8], out: &mut Vec<u8>) {
    if !data.is_empty() {
        let size = format!("{:x}\r\n", data.len());
        out.reserve(size.len() + data.len() + 2);
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes the end of a body in chunks, and what follows it.
pub fn encode_last_chunk(trailers: &[(Bytes, Bytes)], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    encode_fields(trailers, |_, _| false, out);
    out.extend_from_slice(b"\r\n");
}

/// Says whether `content-length` was among them.
fn encode_fields(list: &[(Bytes, Bytes)], unsaid: impl Fn(&[u8], &[u8]) -> bool, out: &mut Vec<u8>) -> bool {
    let length: usize = list.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    out.reserve(length + 64);
    let mut has_length = false;
    for (name, value) in list {
        let name: &[u8] = match name.as_ref() {
            b":authority" => b"host",
            [b':', ..] => continue,
            name if unsaid(name, value) => continue,
            name => name,
        };
        has_length |= name == b"content-length";
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    has_length
}

/// The reason phrase Envoy writes.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        599 => "Last Unassigned Server Error Code",
        _ => "Unknown",
    }
}
