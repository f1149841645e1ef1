//! An answer given here instead of by an origin.

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Beside those the proxy adds itself.
    pub headers: Vec<(String, Vec<u8>)>,
    /// May be empty.
    pub body: Vec<u8>,
    /// For the access log's `%RESPONSE_CODE_DETAILS%`.
    pub details: &'static str,
    /// The status a gRPC caller gets; `None` leaves it to the proxy, which derives it from `status`.
    pub grpc_status: Option<u8>,
}

impl Reply {
    /// A reply without headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>, details: &'static str) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), details, grpc_status: None }
    }
}

/// Is the caller a gRPC client, by its content type?
pub fn is_grpc(content_type: Option<&[u8]>) -> bool {
    content_type
        .and_then(|value| value.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
