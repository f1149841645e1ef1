//! What counts against a circuit breaker for as long as it lives.

use std::rc::Rc;
use std::sync::Arc;

use super::endpoint::Endpoint;
use super::shared::Shared;
use crate::cluster::{Circuit, Gauge};

/// A request under way to an endpoint.
pub(crate) struct UnderWay {
    shared: Arc<Shared>,
    endpoint: usize,
    high: bool,
}

impl UnderWay {
    /// Counts one in; `None` when the circuit is open.
    pub(crate) fn start(shared: &Arc<Shared>, endpoint: usize, high: bool) -> Option<UnderWay> {
        let requests = &shared.circuit(high).requests;
        if !requests.has_room() {
            return None;
        }
        requests.start();
        shared.start(endpoint);
        Some(UnderWay { shared: Arc::clone(shared), endpoint, high })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.circuit(self.high).requests.end();
        self.shared.end(self.endpoint);
    }
}

/// One of a cluster's retries, or of its requests that wait for a connection.
pub(crate) struct Counted {
    shared: Arc<Shared>,
    high: bool,
    gauge: fn(&Circuit) -> &Gauge,
}

impl Counted {
    /// Counts one in, room or not.
    pub(crate) fn start(shared: &Arc<Shared>, high: bool, gauge: fn(&Circuit) -> &Gauge) -> Counted {
        gauge(shared.circuit(high)).start();
        Counted { shared: Arc::clone(shared), high, gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(self.shared.circuit(self.high)).end();
    }
}

/// An open connection to an endpoint.
pub(crate) struct Opened {
    endpoint: Rc<Endpoint>,
    _counted: Counted,
}

impl Opened {
    pub(super) fn start(endpoint: &Rc<Endpoint>, shared: &Arc<Shared>, high: bool) -> Opened {
        endpoint.opened();
        Opened { endpoint: Rc::clone(endpoint), _counted: Counted::start(shared, high, |circuit| &circuit.connections) }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.endpoint.closed();
    }
}
