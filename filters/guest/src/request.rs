//! One stream: what is asked of the proxy for it, and what is done to it.

use std::cell::RefCell;
use std::rc::Rc;

use policy::exchange::{Exchange, Warning};
use policy::header_ops::Op;
use policy::module::Delay;
use policy::rate_limit::global::{Ask, METHOD, SERVICE, Verdict};
use policy::reply::Reply;
use policy::{Module, Outcome, cidr, pairs};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::abi::{self, Buffer, Map};
use crate::plan::{self, Plan};
use crate::plugin::Worker;

/// A request on its way, and what its response still gets.
pub(crate) struct Request<M: Module> {
    context: u32,
    worker: Rc<RefCell<Worker<M>>>,
    response: Vec<Op>,
    stage: Stage,
}

/// Where a request stands.
enum Stage {
    /// On its way.
    Free,
    /// Until its time has come.
    Held,
    /// Until somebody has answered.
    Asking { call: u32, ask: Box<Ask>, plan: Box<Plan> },
}

impl<M: Module> Request<M> {
    pub(crate) fn new(context: u32, worker: Rc<RefCell<Worker<M>>>) -> Request<M> {
        Request { context, worker, response: Vec::new(), stage: Stage::Free }
    }

    /// Reads the request, decides, and does what needs no answer from outside.
    fn decide(&mut self, worker: &mut Worker<M>) -> Action {
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
        let outcome = policy.decide(&mut exchange, &mut worker.world());
        worker.report(&exchange);
        for (name, value) in &exchange.attributes {
            // Only the access log goes without.
            let _ = abi::set_property(name, value);
        }
        self.response = std::mem::take(&mut exchange.response);
        if M::ASKS_SERVICES && !outcome.asks.is_empty() {
            return self.ask(Box::new(Plan::new(&exchange, outcome)), worker);
        }
        let Outcome { delay, reply, .. } = outcome;
        if delay.is_some() || reply.is_none() {
            plan::perform(&exchange);
        }
        self.end(delay, reply, worker)
    }

    /// Holds, answers or lets go.
    fn end(&mut self, delay: Option<Delay>, reply: Option<Reply>, worker: &mut Worker<M>) -> Action {
        match (delay, reply) {
            (None, None) => Action::Continue,
            (None, Some(reply)) => {
                respond(&reply);
                Action::Pause
            }
            (Some(delay), reply) => {
                worker.hold(self.context, delay, reply);
                self.stage = Stage::Held;
                Action::Pause
            }
        }
    }

    /// Asks whoever is next, or does what was planned.
    fn ask(&mut self, mut plan: Box<Plan>, worker: &mut Worker<M>) -> Action {
        while let Some(ask) = plan.next() {
            // The SDK hands answers only to calls that it made itself.
            let call =
                self.dispatch_grpc_call(&ask.cluster, SERVICE, METHOD, Vec::new(), Some(&ask.message), ask.timeout);
            match call {
                Ok(call) => {
                    self.stage = Stage::Asking { call, ask: Box::new(ask), plan };
                    return Action::Pause;
                }
                Err(_) => {
                    if let Some(reply) = self.weigh(ask.failed("no connection"), &mut plan, worker) {
                        respond(&reply);
                        return Action::Pause;
                    }
                }
            }
        }
        let (delay, reply) = (plan.delay.take(), plan.reply.take());
        if delay.is_some() || reply.is_none() {
            plan.perform();
        }
        self.end(delay, reply, worker)
    }

    /// Notes a verdict; a reply if it is a refusal.
    fn weigh(&mut self, verdict: Verdict, plan: &mut Plan, worker: &mut Worker<M>) -> Option<Reply> {
        worker.count(verdict.count);
        if let Some(text) = verdict.failure {
            worker.warn(&[Warning { cause: "rate limit service", text }]);
        }
        plan.add(verdict.request);
        // A refusal brings its headers itself.
        if verdict.reply.is_none() {
            self.response.extend(verdict.response);
        }
        verdict.reply
    }
}

impl<M: Module> Context for Request<M> {
    fn on_grpc_call_response(&mut self, id: u32, status: u32, size: usize) {
        if !M::ASKS_SERVICES {
            return;
        }
        let worker = Rc::clone(&self.worker);
        let Ok(mut worker) = worker.try_borrow_mut() else { return };
        let (ask, mut plan) = match std::mem::replace(&mut self.stage, Stage::Free) {
            Stage::Asking { call, ask, plan } if call == id => (ask, plan),
            other => {
                self.stage = other;
                return;
            }
        };
        let verdict = match status {
            0 => ask.answered(&abi::buffer(Buffer::GrpcAnswer, size).unwrap_or_default()),
            code => ask.failed(&format!("status {code}")),
        };
        if let Some(reply) = self.weigh(verdict, &mut plan, &mut worker) {
            return respond(&reply);
        }
        if self.ask(plan, &mut worker) == Action::Continue {
            // A stream that is gone needs no resuming.
            let _ = abi::resume_request();
        }
    }
}

impl<M: Module> HttpContext for Request<M> {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let worker = Rc::clone(&self.worker);
        // Nothing calls back into this module while a callback runs, except its allocator.
        let Ok(mut worker) = worker.try_borrow_mut() else { return Action::Continue };
        self.decide(&mut worker)
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        plan::write(Map::Response, &std::mem::take(&mut self.response));
        Action::Continue
    }
}

impl<M: Module> Drop for Request<M> {
    fn drop(&mut self) {
        match self.stage {
            Stage::Free => {}
            Stage::Held => {
                if let Ok(mut worker) = self.worker.try_borrow_mut() {
                    worker.forget(self.context);
                }
            }
            Stage::Asking { call, .. } => drop(abi::cancel_grpc(call)),
        }
    }
}

/// Answers the stream in hand.
pub(crate) fn respond(reply: &Reply) {
    let headers = pairs::write(&reply.headers);
    // A stream that is gone needs no answer.
    let _ = abi::send_local_response(reply.status, reply.details, &reply.body, &headers, reply.grpc_status);
}
