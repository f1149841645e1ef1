//! The last requests, so that somebody can ask why they went where they went.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::header_ops::StreamInfo;
use crate::headers::HeaderList;

/// A request that is over.
#[derive(Debug, Clone)]
pub struct Finished {
    /// When it began, since 1970.
    pub start: Duration,
    /// How long it took.
    pub took: Duration,
    /// Its head as filters and router left it: pseudo-headers first.
    pub request: HeaderList,
    /// The client we believe.
    pub client: Option<SocketAddr>,
    /// The status sent.
    pub status: Option<u16>,
    /// Envoy's response flags.
    pub flags: String,
    /// Envoy's reason.
    pub details: String,
    /// The route's name.
    pub route: String,
    /// The cluster's name.
    pub cluster: String,
}

/// So many are kept by a worker.
const KEPT: usize = 50;
/// Of a busy gateway one request is kept in this time; of an idle one every request.
const PACE: Duration = Duration::from_millis(20);

/// The last requests of one worker.
#[derive(Debug, Default)]
pub(super) struct Recent {
    list: VecDeque<Finished>,
    /// When the last was kept, and how many more may follow at once.
    last: Duration,
    burst: u8,
}

impl Recent {
    pub(super) fn finished(&mut self, info: &StreamInfo, request: &HeaderList) {
        if info.start.saturating_sub(self.last) >= PACE {
            self.burst = 10;
        }
        if self.burst == 0 {
            return;
        }
        self.burst -= 1;
        self.last = info.start;
        if self.list.len() == KEPT {
            self.list.pop_back();
        }
        self.list.push_front(Finished {
            start: info.start,
            took: info.complete.unwrap_or_default(),
            request: request.clone(),
            client: info.remote,
            status: info.response_code,
            flags: info.flags.short(),
            details: info.details.as_deref().unwrap_or_default().to_owned(),
            route: info.route_name.to_string(),
            cluster: info.upstream.cluster.as_deref().unwrap_or_default().to_owned(),
        });
    }

    pub(super) fn list(&self) -> Vec<Finished> {
        self.list.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_worker_keeps_some_and_an_idle_one_all_up_to_the_last_fifty() {
        let at = |millis| StreamInfo { start: Duration::from_millis(millis), ..StreamInfo::default() };
        let mut busy = Recent::default();
        (0..1000).for_each(|micro| busy.finished(&at(1000 + micro / 1000), &HeaderList::new()));
        assert!(busy.list().len() <= 20, "{}", busy.list().len());
        let mut idle = Recent::default();
        (0..60).for_each(|second| idle.finished(&at(second * 1000), &HeaderList::new()));
        let list = idle.list();
        assert_eq!((list.len(), list[0].start), (50, Duration::from_secs(59)));
    }
}
