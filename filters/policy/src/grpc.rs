//! gRPC's statuses, and HTTP's beside them as Envoy pairs them.

/// In order of their numbers.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A status by its name or its number.
pub fn status(text: &str) -> Option<u8> {
    let by_name = NAMES.iter().position(|name| *name == text).and_then(|place| u8::try_from(place).ok());
    by_name.or_else(|| text.parse().ok().filter(|code| *code <= 16))
}

/// What a caller that does not speak gRPC gets: `grpcToHttpStatus` in Envoy's `grpc/status.cc`.
pub fn http_status(grpc: u8) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
        fn a_status_has_a_name_and_a_number() {
            assert_eq!(status("UNAVAILABLE"), Some(14));
            assert_eq!(status("0"), Some(0));
            assert_eq!(status("16"), Some(16));
            for text in ["17", "unavailable", "", "-1"] {
                assert_eq!(status(text), None, "{text}");
            }
        }
    }
}
