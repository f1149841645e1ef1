//! Answers to heads that never become a request, and to bodies that break: they still go up the filter chain, and into the log.

use crate::http1::{Refusal, RefusalKind, reason};
use crate::local_reply::{Author, Flag, LocalReply};
use crate::stats::HttpStats;

/// The answer.
pub(crate) fn refused(refusal: Refusal) -> LocalReply {
    let reply = LocalReply::new(refusal.status, refusal.details);
    match refusal.kind {
        RefusalKind::Protocol => {
            reply.by(Author::Parser).body(reason(refusal.status)).flag(Flag::DownstreamProtocolError)
        }
        RefusalKind::Late(text) => reply.by(Author::Manager).body(text),
    }
}

/// Counts it.
pub(super) fn count(refusal: Refusal, stats: &HttpStats) {
    match refusal {
        Refusal::TOO_LARGE => stats.downstream_rq_too_large.inc(),
        Refusal::HEAD_LATE => stats.downstream_rq_header_timeout.inc(),
        Refusal::REQUEST_LATE => stats.downstream_rq_timeout.inc(),
        _ if refusal.kind == RefusalKind::Protocol => stats.downstream_cx_protocol_error.inc(),
        _ => {}
    }
}
