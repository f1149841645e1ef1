//! One stream: what is asked of the proxy for it, and what is done to it.

use std::cell::RefCell;
use std::rc::Rc;

use policy::exchange::{Change, Exchange};
use policy::header_ops::Op;
use policy::reply::Reply;
use policy::{Module, Outcome, cidr};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::abi::{self, Map, Refused};
use crate::pairs;
use crate::plugin::Worker;

/// A request on its way, and what its response still gets.
pub(crate) struct Request<M: Module> {
    pub(crate) context: u32,
    pub(crate) worker: Rc<RefCell<Worker<M>>>,
    pub(crate) response: Vec<Op>,
    pub(crate) was_held: bool,
}

impl<M: Module> Context for Request<M> {}

impl<M: Module> HttpContext for Request<M> {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        // Nothing calls back into this module while a callback runs, except its allocator.
        let Ok(mut worker) = self.worker.try_borrow_mut() else { return Action::Continue };
        let Some(policy) = worker.policy.clone() else { return Action::Continue };
        let asks = policy.asks();
        if !asks.headers {
            return Action::Continue;
        }
        let buffer = abi::header_pairs(Map::Request).unwrap_or_default();
        let client = asks.client.then(|| abi::property("source\0address").ok()).flatten();
        let route = asks.route.then(|| abi::property("xds\0route_name").ok()).flatten();
        let mut exchange = Exchange::new(pairs::read(&buffer), worker.dice())
            .with_facts(client.and_then(|peer| cidr::parse_peer(&peer)), route);
        let Outcome { delay, reply } = policy.decide(&mut exchange, &mut worker.world());
        worker.report(&exchange);
        self.response = std::mem::take(&mut exchange.response);
        for (name, value) in &exchange.attributes {
            // Only the access log goes without.
            let _ = abi::set_property(name, value);
        }
        match (delay, reply) {
            (None, Some(reply)) => {
                respond(&reply);
                Action::Pause
            }
            (delay, reply) => {
                perform(&exchange);
                match delay {
                    None => Action::Continue,
                    Some(delay) => {
                        worker.hold(self.context, delay, reply);
                        self.was_held = true;
                        Action::Pause
                    }
                }
            }
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        for op in self.response.drain(..) {
            // A header that cannot be written is no reason to lose the response.
            let _ = match op {
                Op::Remove(name) => abi::remove_header(Map::Response, name.as_bytes()),
                Op::Set(name, value) => abi::replace_header(Map::Response, name.as_bytes(), &value),
                Op::Add(name, value) => abi::add_header(Map::Response, name.as_bytes(), &value),
            };
        }
        Action::Continue
    }
}

impl<M: Module> Drop for Request<M> {
    fn drop(&mut self) {
        if !self.was_held {
            return;
        }
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.forget(self.context);
        }
    }
}

/// Writes the difference, and has the route chosen again if there was one.
fn perform(exchange: &Exchange<'_>) {
    let changes = exchange.changes();
    for change in &changes {
        // A header that cannot be written leaves the request as the proxy has it.
        let _: Result<(), Refused> = match change {
            Change::Remove(name) => abi::remove_header(Map::Request, name),
            Change::Set(name, value) => abi::replace_header(Map::Request, name, value),
            Change::Add(name, value) => abi::add_header(Map::Request, name, value),
        };
    }
    if exchange.reroutes() {
        // Proxies that choose the route again by themselves may not know the function.
        let _ = abi::call_foreign("clear_route_cache");
    }
}

/// Answers the stream in hand.
pub(crate) fn respond(reply: &Reply) {
    let headers = pairs::write(&reply.headers);
    // A stream that is gone needs no answer.
    let _ = abi::send_local_response(reply.status, reply.details, &reply.body, &headers, reply.grpc_status);
}
