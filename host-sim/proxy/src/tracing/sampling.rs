//! Whether a request is traced, and how its `x-request-id` says so.
//!
//! Source: `http/conn_manager_utility.cc` (`mutateTracingRequestHeader`) and `request_id/uuid`: the fourteenth character after
//! the dashes' positions, which is the version digit of a UUID, holds the reason.

use bytes::{Bytes, BytesMut};

use crate::headers::{self, HeaderList};

/// Why a request is traced, or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    NotTraceable,
    /// By `random_sampling`.
    Sampling,
    /// By `x-envoy-force-trace` from inside.
    ServiceForced,
    /// By `x-client-trace-id`.
    ClientForced,
}

/// How many requests are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sampling {
    /// Of a hundred with `x-client-trace-id`.
    pub(super) client: u64,
    /// Of ten thousand others.
    pub(super) random: u64,
    /// Of a hundred that would be.
    pub(super) overall: u64,
}

/// Where a UUID's version digit is.
const AT: usize = 14;

impl Reason {
    pub(crate) fn is_traced(self) -> bool {
        self != Reason::NotTraceable
    }

    fn digit(self) -> u8 {
        match self {
            Reason::NotTraceable => b'4',
            Reason::Sampling => b'9',
            Reason::ServiceForced => b'a',
            Reason::ClientForced => b'b',
        }
    }

    fn of(id: &[u8]) -> Reason {
        let all = [Reason::Sampling, Reason::ServiceForced, Reason::ClientForced];
        let digit = id.get(AT).copied();
        all.into_iter().find(|reason| Some(reason.digit()) == digit).unwrap_or(Reason::NotTraceable)
    }
}

/// Decides, and writes the decision into `x-request-id`; a decision made before us is kept.
pub(super) fn decide(sampling: Sampling, request: &mut HeaderList, dice: u64) -> Reason {
    let Some(id) = headers::get(request, "x-request-id").cloned() else { return Reason::NotTraceable };
    let Some(number) = number(&id) else { return Reason::NotTraceable };
    let mut reason = Reason::of(&id);
    if reason == Reason::NotTraceable {
        reason = if headers::has(request, "x-client-trace-id") && dice % 100 < sampling.client {
            Reason::ClientForced
        } else if headers::has(request, "x-envoy-force-trace") {
            Reason::ServiceForced
        } else if number % 10_000 < sampling.random {
            Reason::Sampling
        } else {
            Reason::NotTraceable
        };
    }
    if reason.is_traced() && number % 100 >= sampling.overall {
        reason = Reason::NotTraceable;
    }
    if Reason::of(&id) != reason {
        headers::set_slot(request, "x-request-id", marked(&id, reason));
    }
    reason
}

/// A UUID's first four bytes, which are as good as dice, and the same for everybody the request meets.
fn number(id: &[u8]) -> Option<u64> {
    let digits = (id.len() == 36).then(|| id.get(..8)).flatten()?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(|number| number % 10_000)
}

fn marked(id: &Bytes, reason: Reason) -> Bytes {
    let mut id = BytesMut::from(id.as_ref());
    if let Some(digit) = id.get_mut(AT) {
        *digit = reason.digit();
    }
    id.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Sampling = Sampling { client: 100, random: 10_000, overall: 100 };
    const NONE: Sampling = Sampling { client: 100, random: 0, overall: 100 };

    fn check(sampling: Sampling, id: &'static str, header: Option<&'static str>, reason: Reason, digit: u8) {
        let mut request = vec![(Bytes::from_static(b"x-request-id"), Bytes::from_static(id.as_bytes()))];
        request.extend(header.map(|name| (Bytes::from_static(name.as_bytes()), Bytes::from_static(b"1"))));
        assert_eq!(decide(sampling, &mut request, 50), reason, "{id} {header:?}");
        let after = headers::get(&request, "x-request-id").and_then(|id| id.get(AT).copied());
        assert_eq!(after.unwrap_or(digit), digit, "{id} {header:?}");
    }

    #[test]
    fn the_reason_is_written_into_the_request_id_and_read_from_it() {
        let id = "58e74746-995c-4f53-a2ab-cf6b08280032";
        check(ALL, id, None, Reason::Sampling, b'9');
        check(NONE, id, None, Reason::NotTraceable, b'4');
        check(NONE, id, Some("x-client-trace-id"), Reason::ClientForced, b'b');
        check(Sampling { client: 0, ..NONE }, id, Some("x-client-trace-id"), Reason::NotTraceable, b'4');
        check(NONE, id, Some("x-envoy-force-trace"), Reason::ServiceForced, b'a');
        check(NONE, "58e74746-995c-9f53-a2ab-cf6b08280032", None, Reason::Sampling, b'9');
        check(Sampling { overall: 0, ..ALL }, id, None, Reason::NotTraceable, b'4');
        check(ALL, "mine", None, Reason::NotTraceable, b'4');
    }

    #[test]
    fn the_same_id_is_sampled_by_everybody_alike() {
        let id = "58e74746-995c-4f53-a2ab-cf6b08280032";
        let number = u64::from_str_radix("58e74746", 16).unwrap() % 10_000;
        check(Sampling { random: number + 1, ..NONE }, id, None, Reason::Sampling, b'9');
        check(Sampling { random: number, ..NONE }, id, None, Reason::NotTraceable, b'4');
    }
}
