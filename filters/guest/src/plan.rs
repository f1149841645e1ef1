//! What will be done to a request once a rate limit service has answered.

use policy::Outcome;
use policy::exchange::{Change, Exchange};
use policy::header_ops::Op;
use policy::module::Delay;
use policy::rate_limit::global::Ask;
use policy::reply::Reply;

use crate::abi::{self, Map, Refused};

/// A request that was decided, kept until all who were asked have answered.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Still to be asked, the next one last.
    asks: Vec<Ask>,
    /// On the request's headers.
    changes: Vec<Op>,
    reroutes: bool,
    /// Then held.
    pub(crate) delay: Option<Delay>,
    /// Then answered.
    pub(crate) reply: Option<Reply>,
}

impl Plan {
    /// Keeps what the exchange and the outcome say.
    pub(crate) fn new(exchange: &Exchange<'_>, outcome: Outcome) -> Plan {
        let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let changes = exchange.changes().into_iter().map(|change| match change {
            Change::Remove(key) => Op::Remove(name(key)),
            Change::Set(key, value) => Op::Set(name(key), value.to_vec()),
            Change::Add(key, value) => Op::Add(name(key), value.to_vec()),
        });
        let Outcome { mut asks, delay, reply } = outcome;
        asks.reverse();
        Plan { asks, changes: changes.collect(), reroutes: exchange.reroutes(), delay, reply }
    }

    /// The next question.
    pub(crate) fn next(&mut self) -> Option<Ask> {
        self.asks.pop()
    }

    /// What a service added to the request.
    pub(crate) fn add(&mut self, ops: Vec<Op>) {
        self.reroutes |= !ops.is_empty();
        self.changes.extend(ops);
    }

    /// Writes the request's headers.
    pub(crate) fn perform(&self) {
        write(Map::Request, &self.changes);
        if self.reroutes {
            reroute();
        }
    }
}

/// Writes the difference, and has the route chosen again if there was one.
pub(crate) fn perform(exchange: &Exchange<'_>) {
    for change in exchange.changes() {
        // A header that cannot be written leaves the request as the proxy has it.
        let _: Result<(), Refused> = match change {
            Change::Remove(name) => abi::remove_header(Map::Request, name),
            Change::Set(name, value) => abi::replace_header(Map::Request, name, value),
            Change::Add(name, value) => abi::add_header(Map::Request, name, value),
        };
    }
    if exchange.reroutes() {
        reroute();
    }
}

/// Performs operations on headers.
pub(crate) fn write(map: Map, ops: &[Op]) {
    for op in ops {
        // A header that cannot be written is no reason to lose the message.
        let _: Result<(), Refused> = match op {
            Op::Remove(name) => abi::remove_header(map, name.as_bytes()),
            Op::Set(name, value) => abi::replace_header(map, name.as_bytes(), value),
            Op::Add(name, value) => abi::add_header(map, name.as_bytes(), value),
        };
    }
}

fn reroute() {
    // Proxies that choose the route again by themselves may not know the function.
    let _: Result<(), Refused> = abi::call_foreign("clear_route_cache");
}
