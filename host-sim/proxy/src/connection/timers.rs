//! How long a stream may last, how long it may be silent, and how long its request may take to come.

use std::task::{Context, Poll};
use std::time::Duration;

use super::alarm::{Alarm, IdleTimer};
use crate::local_reply::{Author, LocalReply};
use crate::snapshot::Timeouts;
use crate::stats::HttpStats;

/// One stream's timers; an HTTP/1 connection has one set for all of its streams.
#[derive(Default)]
pub(crate) struct Timers {
    idle: IdleTimer,
    request: Alarm,
    stream: Alarm,
    /// The route's timeout: from the end of the request to the end of the answer.
    pub(crate) route: Alarm,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Nothing moved: `stream_idle_timeout`, or the route's `idle_timeout`.
    Silent,
    /// The request is not complete: `request_timeout`.
    Request,
    /// The stream is not over: `max_stream_duration`.
    Stream,
}

impl Timers {
    /// A stream begins.
    pub(crate) fn begin(&self, timeouts: &Timeouts) {
        self.idle.restart(timeouts.stream_idle);
        self.request.set(timeouts.request);
        self.stream.set(timeouts.max_stream_duration);
        self.route.unset();
    }

    /// The route has its own ideas. `Some(ZERO)` switches a timer off; `elapsed` is the stream's age.
    pub(crate) fn routed(&self, idle: Option<Duration>, duration: Option<Duration>, elapsed: Duration) {
        if let Some(idle) = idle {
            self.idle.restart(Some(idle).filter(|idle| !idle.is_zero()));
        }
        if let Some(duration) = duration {
            let whole = Some(duration).filter(|duration| !duration.is_zero());
            self.stream.set(whole.map(|whole| whole.saturating_sub(elapsed)));
        }
    }

    /// Something moved.
    pub(crate) fn touch(&self) {
        self.idle.touch();
    }

    /// The request is complete, or will never be: what follows is another protocol's.
    pub(crate) fn request_is_over(&self) {
        self.request.unset();
    }

    /// This was heard of: it has to be overdue anew before it is heard of again.
    pub(crate) fn heard(&self, overdue: Overdue) {
        match overdue {
            Overdue::Silent => self.idle.touch(),
            Overdue::Request => self.request.unset(),
            Overdue::Stream => self.stream.unset(),
        }
    }

    /// Ready when something took too long.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Overdue> {
        let overdue = [
            (self.idle.poll_idle(cx), Overdue::Silent),
            (self.request.poll(cx), Overdue::Request),
            (self.stream.poll(cx), Overdue::Stream),
        ];
        overdue
            .into_iter()
            .find_map(|(over, what)| over.is_ready().then_some(Poll::Ready(what)))
            .unwrap_or(Poll::Pending)
    }
}

impl Overdue {
    /// The answer; `complete` says that the whole request had come.
    pub(crate) fn reply(self, complete: bool) -> LocalReply {
        let mut reply = match self {
            Overdue::Silent => LocalReply::stream_idle_timeout(),
            Overdue::Request => return LocalReply::request_timeout(),
            Overdue::Stream => {
                // No flag: Envoy's `DT` is a connection's.
                let reply = LocalReply::new(408, "max_duration_timeout").body("downstream duration timeout");
                let mut reply = reply.by(Author::Manager);
                reply.grpc_status = Some(4);
                reply
            }
        };
        // It is the origin that is late, not the client.
        if complete {
            reply.status = 504;
        }
        reply
    }

    /// Counts it.
    pub(crate) fn count(self, stats: &HttpStats) {
        match self {
            Overdue::Silent => stats.downstream_rq_idle_timeout.inc(),
            Overdue::Request => stats.downstream_rq_timeout.inc(),
            Overdue::Stream => stats.downstream_rq_max_duration_reached.inc(),
        }
    }
}
