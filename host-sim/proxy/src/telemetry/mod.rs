//! What finished requests amount to, by route and destination: Istio's own metrics, and what the dashboard shows.

mod istio;
mod recent;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;

use crate::header_ops::StreamInfo;
use crate::headers::HeaderList;
use crate::local_reply::Flags;
use crate::stats::{Counter, Distribution, Group, Histogram, See};

use istio::Source;
pub use recent::Finished;
use recent::Recent;

/// One worker's. A request costs one look into a table that this worker alone writes.
#[derive(Debug, Default)]
pub struct Telemetry {
    series: Mutex<HashMap<Key, Arc<Series>, RandomState>>,
    recent: Mutex<Recent>,
    source: OnceLock<Source>,
}

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    route: Arc<str>,
    virtual_host: Arc<str>,
    cluster: Option<Arc<str>>,
    workload: Option<Arc<str>>,
    status: u16,
    flags: Flags,
    protocol: Spoken,
}

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Spoken {
    /// Nothing but HTTP.
    Http,
    /// gRPC, and how it ended, where anybody said so.
    Grpc(Option<i64>),
}

/// Requests that are alike.
#[derive(Debug, Default)]
struct Series {
    requests: Counter,
    /// Milliseconds.
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

/// Requests that are alike, added up over the workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// The route's name; empty without one.
    pub route: String,
    /// The virtual host's name; empty without one.
    pub virtual_host: String,
    /// The cluster; empty when the gateway answered itself.
    pub cluster: String,
    /// The status; 0 when the connection ended without one.
    pub status: u16,
    /// How many.
    pub requests: u64,
    /// How long they took, in milliseconds.
    pub duration: Distribution,
}

/// More kinds of requests than this are one kind: names of clusters can come from requests.
const KINDS: usize = 4096;

impl Telemetry {
    /// Who the gateway is, by its node; a process is one workload for life.
    pub(crate) fn of_node(&self, node: Option<&xds::Node>) {
        self.source.get_or_init(|| Source::of(node));
    }

    /// A request is over.
    pub(crate) fn finished(&self, info: &StreamInfo, request: &HeaderList, protocol: Spoken) {
        let key = Key {
            route: Arc::clone(&info.route_name),
            virtual_host: Arc::clone(&info.virtual_host),
            cluster: info.upstream.cluster.clone(),
            workload: info.upstream.workload.clone(),
            status: info.response_code.unwrap_or_default(),
            flags: info.flags,
            protocol,
        };
        let series = self.series(key);
        let took = info.complete.unwrap_or_default();
        series.requests.inc();
        series.duration.record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        series.request_bytes.record(info.bytes_received);
        series.response_bytes.record(info.bytes_sent);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.finished(info, request);
    }

    fn series(&self, key: Key) -> Arc<Series> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = series.get(&key) {
            return Arc::clone(known);
        }
        let key = if series.len() < KINDS {
            key
        } else {
            Key { route: "other".into(), virtual_host: "other".into(), cluster: None, workload: None, ..key }
        };
        Arc::clone(series.entry(key).or_default())
    }

    fn each(&self, mut see: impl FnMut(&Key, &Series)) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.iter().for_each(|(key, series)| see(key, series));
    }

    /// The last requests, the newest first.
    pub fn recent(&self) -> Vec<Finished> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).list()
    }
}

/// All workers' together.
pub fn traffic(workers: &[Arc<Telemetry>]) -> Vec<Traffic> {
    let mut all: HashMap<Key, Traffic> = HashMap::new();
    for worker in workers {
        worker.each(|key, series| {
            let key = Key { flags: Flags::default(), protocol: Spoken::Http, workload: None, ..key.clone() };
            let text = |name: &Arc<str>| name.to_string();
            let sum = all.entry(key.clone()).or_insert_with(|| Traffic {
                route: text(&key.route),
                virtual_host: text(&key.virtual_host),
                cluster: key.cluster.as_ref().map(text).unwrap_or_default(),
                status: key.status,
                requests: 0,
                duration: Distribution::default(),
            });
            sum.requests = sum.requests.saturating_add(series.requests.value());
            sum.duration.merge(&series.duration.snapshot());
        });
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by(|a, b| {
        (&a.virtual_host, &a.route, &a.cluster, a.status).cmp(&(&b.virtual_host, &b.route, &b.cluster, b.status))
    });
    all
}

impl Group for Telemetry {
    fn see(&self, see: &mut See<'_>) {
        let unknown = Source::default();
        let source = self.source.get().unwrap_or(&unknown);
        self.each(|key, series| istio::see(source, key, series, see));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(route: &str, status: u16) -> StreamInfo {
        StreamInfo { route_name: route.into(), response_code: Some(status), ..StreamInfo::default() }
    }

    #[test]
    fn requests_that_are_alike_are_added_up_over_the_workers() {
        let workers = [Arc::new(Telemetry::default()), Arc::new(Telemetry::default())];
        for (worker, route, status) in [(0, "a", 200), (1, "a", 200), (1, "a", 503), (0, "b", 200)] {
            workers[worker].finished(&info(route, status), &HeaderList::new(), Spoken::Http);
        }
        let seen: Vec<_> = traffic(&workers).into_iter().map(|one| (one.route, one.status, one.requests)).collect();
        assert_eq!(seen, [("a".into(), 200, 2), ("a".into(), 503, 1), ("b".into(), 200, 1)]);
    }

    #[test]
    fn kinds_without_end_are_one_kind_at_last() {
        let worker = Telemetry::default();
        for number in 0..KINDS + 10 {
            worker.finished(&info(&number.to_string(), 200), &HeaderList::new(), Spoken::Http);
        }
        let all = traffic(&[Arc::new(worker)]);
        let other = all.iter().find(|one| one.route == "other").unwrap();
        assert_eq!((all.len(), other.requests), (KINDS + 1, 10));
    }
}
