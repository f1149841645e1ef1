//! The conditions under which a try is repeated.

/// A set of retry conditions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

const NAMES: [(&str, RetryOn); 17] = [
    ("5xx", RetryOn::SERVER_ERROR),
    ("gateway-error", RetryOn::GATEWAY_ERROR),
    ("reset", RetryOn::RESET),
    ("reset-before-request", RetryOn::RESET_BEFORE_REQUEST),
    ("connect-failure", RetryOn::CONNECT_FAILURE),
    ("envoy-ratelimited", RetryOn::RATE_LIMITED),
    ("retriable-4xx", RetryOn::CONFLICT),
    ("refused-stream", RetryOn::REFUSED_STREAM),
    ("retriable-status-codes", RetryOn::STATUS_CODES),
    ("retriable-headers", RetryOn::HEADERS),
    ("http3-post-connect-failure", RetryOn::NONE),
    ("cancelled", RetryOn::GRPC_CANCELLED),
    ("deadline-exceeded", RetryOn::GRPC_DEADLINE_EXCEEDED),
    ("internal", RetryOn::GRPC_INTERNAL),
    ("resource-exhausted", RetryOn::GRPC_RESOURCE_EXHAUSTED),
    ("unavailable", RetryOn::GRPC_UNAVAILABLE),
    ("", RetryOn::NONE),
];

const ALL_GRPC: RetryOn = RetryOn::GRPC_CANCELLED
    .or(RetryOn::GRPC_DEADLINE_EXCEEDED)
    .or(RetryOn::GRPC_INTERNAL)
    .or(RetryOn::GRPC_RESOURCE_EXHAUSTED)
    .or(RetryOn::GRPC_UNAVAILABLE);

impl RetryOn {
    /// The conditions under Envoy's names.
    pub fn names(self) -> Vec<&'static str> {
        let set = |on: RetryOn| on.0 != 0 && self.0 & on.0 == on.0;
        NAMES.iter().filter(|(_, on)| set(*on)).map(|(name, _)| *name).collect()
    }

    /// Nothing.
    pub const NONE: RetryOn = RetryOn(0);
    /// Any 5xx, and any reset.
    pub const SERVER_ERROR: RetryOn = RetryOn(1);
    /// 502, 503, 504, and any reset.
    pub const GATEWAY_ERROR: RetryOn = RetryOn(1 << 1);
    /// Any reset.
    pub const RESET: RetryOn = RetryOn(1 << 2);
    /// A reset before the request's head was sent.
    pub const RESET_BEFORE_REQUEST: RetryOn = RetryOn(1 << 3);
    /// No connection.
    pub const CONNECT_FAILURE: RetryOn = RetryOn(1 << 4);
    /// `x-envoy-ratelimited` in the answer.
    pub const RATE_LIMITED: RetryOn = RetryOn(1 << 5);
    /// 409
    pub const CONFLICT: RetryOn = RetryOn(1 << 6);
    /// REFUSED_STREAM
    pub const REFUSED_STREAM: RetryOn = RetryOn(1 << 7);
    /// One of the listed statuses.
    pub const STATUS_CODES: RetryOn = RetryOn(1 << 8);
    /// One of the listed headers in the answer.
    pub const HEADERS: RetryOn = RetryOn(1 << 9);
    /// gRPC status 1.
    pub const GRPC_CANCELLED: RetryOn = RetryOn(1 << 10);
    /// gRPC status 4.
    pub const GRPC_DEADLINE_EXCEEDED: RetryOn = RetryOn(1 << 11);
    /// gRPC status 13.
    pub const GRPC_INTERNAL: RetryOn = RetryOn(1 << 12);
    /// gRPC status 8.
    pub const GRPC_RESOURCE_EXHAUSTED: RetryOn = RetryOn(1 << 13);
    /// gRPC status 14.
    pub const GRPC_UNAVAILABLE: RetryOn = RetryOn(1 << 14);

    /// Reads a comma-separated list; words Envoy does not know are ignored, as there.
    pub fn parse(text: &str) -> RetryOn {
        let words = text.split(',').map(str::trim);
        words
            .filter_map(|word| NAMES.iter().find(|(name, _)| *name == word))
            .fold(RetryOn::NONE, |all, (_, on)| all.or(*on))
    }

    /// Those that a gRPC status meets.
    pub(super) fn of_grpc(self) -> RetryOn {
        RetryOn(self.0 & ALL_GRPC.0)
    }

    /// The others.
    pub(super) fn of_http(self) -> RetryOn {
        RetryOn(self.0 & !ALL_GRPC.0)
    }

    /// Both sets.
    pub const fn or(self, other: RetryOn) -> RetryOn {
        RetryOn(self.0 | other.0)
    }

    /// Is one of `other` in it?
    pub fn any(self, other: RetryOn) -> bool {
        self.0 & other.0 != 0
    }

    /// Nothing in it?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The condition on this gRPC status.
    pub(super) fn grpc(status: i64) -> RetryOn {
        match status {
            1 => RetryOn::GRPC_CANCELLED,
            4 => RetryOn::GRPC_DEADLINE_EXCEEDED,
            8 => RetryOn::GRPC_RESOURCE_EXHAUSTED,
            13 => RetryOn::GRPC_INTERNAL,
            14 => RetryOn::GRPC_UNAVAILABLE,
            _ => RetryOn::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_of_http_or_of_grpc() {
        let all = RetryOn::parse("5xx, retriable-4xx,unavailable");
        assert_eq!(all.of_http().names(), ["5xx", "retriable-4xx"]);
        assert_eq!(all.of_grpc().names(), ["unavailable"]);
    }
}
