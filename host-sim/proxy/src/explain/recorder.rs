//! What the deciding code tells while a request is being explained. Nobody listens while a gateway serves.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use super::account::{
    Account, Change, FilterStep, Forwarded, MappingStep, MirrorStep, ReplyStep, RetryStep, RouteAction, Routing, Try,
    changes, shown,
};
use crate::header_ops::StreamInfo;
use crate::headers::{self, HeaderList};
use crate::local_reply::LocalReply;
use crate::retry::RetryState;
use crate::route::{Decision, Prepared, Trail};

/// Listens to one request at a time.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    account: RefCell<Account>,
    open: RefCell<Open>,
}

/// What is under way.
#[derive(Debug, Default)]
struct Open {
    /// The head as it was last seen.
    seen: HeaderList,
    /// The filter that is running, by its number in the account.
    filter: Option<usize>,
    since: Duration,
}

impl Recorder {
    /// Begins a new account and returns the last.
    pub(super) fn take(&self) -> Account {
        self.open.take();
        self.account.take()
    }

    /// Notes something the caller knows.
    pub(super) fn note(&self, note: impl FnOnce(&mut Account)) {
        note(&mut self.account.borrow_mut());
    }

    /// The head as it came.
    pub(crate) fn arrived(&self, request: &HeaderList) {
        self.open.borrow_mut().seen.clone_from(request);
    }

    /// The head as filters will see it.
    pub(crate) fn admitted(&self, request: &HeaderList) {
        self.account.borrow_mut().admitted = self.seen(request);
    }

    fn seen(&self, head: &HeaderList) -> Vec<Change> {
        let mut open = self.open.borrow_mut();
        let found = changes(&open.seen, head);
        open.seen.clone_from(head);
        found
    }

    /// A filter begins with the request's head.
    pub(crate) fn filter_begins(&self, place: usize, name: &str, kind: &'static str, now: Duration) {
        let mut account = self.account.borrow_mut();
        account.filters.push(FilterStep { name: name.to_owned(), kind, place, ..FilterStep::default() });
        let mut open = self.open.borrow_mut();
        (open.filter, open.since) = (Some(account.filters.len() - 1), now);
    }

    /// And is done with it.
    pub(crate) fn filter_ends(&self, request: &HeaderList, passed: bool, now: Duration) {
        let found = if passed { self.seen(request) } else { Vec::new() };
        let mut open = self.open.borrow_mut();
        let mut account = self.account.borrow_mut();
        if let Some(step) = open.filter.and_then(|at| account.filters.get_mut(at)) {
            step.request = found;
            step.held = now.saturating_sub(open.since);
            step.replied = !passed;
        }
        if passed {
            open.filter = None;
        }
    }

    /// The answer's head as it comes to the filter at `place`, or, after the last, as it leaves the chain.
    pub(crate) fn response_reaches(&self, place: Option<usize>, head: &HeaderList) {
        let (leaving, first) = {
            let mut open = self.open.borrow_mut();
            let account = self.account.borrow();
            let number = place.and_then(|place| account.filters.iter().position(|step| step.place == place));
            (std::mem::replace(&mut open.filter, number), open.seen.first().is_none_or(|(name, _)| name != ":status"))
        };
        let found = self.seen(head);
        let mut account = self.account.borrow_mut();
        if let Some(step) = leaving.filter(|_| !first).and_then(|at| account.filters.get_mut(at)) {
            step.response.extend(found);
        }
    }

    /// A module says something.
    pub(crate) fn logged(&self, line: &str) {
        let at = self.open.borrow().filter;
        let mut account = self.account.borrow_mut();
        let last = account.filters.len().checked_sub(1);
        if let Some(step) = at.or(last).and_then(|at| account.filters.get_mut(at)) {
            step.log.push(line.to_owned());
        }
    }

    /// A filter of the gateway's own decides.
    pub(crate) fn verdict(&self, verdict: String) {
        let at = self.open.borrow().filter;
        let mut account = self.account.borrow_mut();
        if let Some(step) = at.and_then(|at| account.filters.get_mut(at)) {
            step.verdict = Some(match step.verdict.take() {
                Some(before) => format!("{before}, {verdict}"),
                None => verdict,
            });
        }
    }

    /// A route is chosen.
    pub(crate) fn routed(&self, config: &str, decision: &Decision, trail: Trail) {
        let during = self.open.borrow().filter;
        let action = match decision {
            Decision::Forward(_, destination) => RouteAction::Forward(destination.cluster.to_string()),
            Decision::Redirect(_) => RouteAction::Redirect,
            Decision::Direct(_) => RouteAction::Direct,
            Decision::SslRedirect(_) => RouteAction::SslRedirect,
            Decision::NotFound(_) => RouteAction::NotFound,
        };
        let route = decision.route().map(|route| {
            let taken = trail.rules.iter().find(|rule| rule.matched);
            let name = taken.map_or_else(|| route.name.to_string(), |rule| rule.name.clone());
            (name, route.origin.clone())
        });
        let mut account = self.account.borrow_mut();
        account.route_config = config.to_owned();
        account.routings.push(Routing { during, trail, action, route });
    }

    /// The cluster is not configured.
    pub(crate) fn cluster_missing(&self, cluster: &str) {
        self.account.borrow_mut().forwarded = Some(Forwarded { cluster: cluster.to_owned(), ..Forwarded::default() });
    }

    /// The request is ready for its destination.
    pub(crate) fn prepared(&self, cluster: &str, request: &HeaderList, prepared: &Prepared, hash: Option<u64>) {
        let field = |list: &HeaderList, name| headers::get(list, name).map(|value| shown(value)).unwrap_or_default();
        let before = self.open.borrow().seen.clone();
        let pair = |name| (field(&before, name), field(request, name));
        let retry = prepared.retry.as_ref().map(RetryState::policy).map(|policy| RetryStep {
            on: policy.on.names(),
            attempts: policy.num_retries,
            statuses: policy.status_codes.clone(),
        });
        let forwarded = Forwarded {
            cluster: cluster.to_owned(),
            known: true,
            path: pair(":path"),
            authority: pair(":authority"),
            changes: self.seen(request),
            timeout: prepared.timeouts.global,
            per_try_timeout: prepared.timeouts.per_try,
            retry,
            hash,
        };
        self.account.borrow_mut().forwarded = Some(forwarded);
    }

    /// The route has changed the answer's head.
    pub(crate) fn finalized(&self, before: &HeaderList, after: &HeaderList) {
        self.account.borrow_mut().route_response = changes(before, after);
    }

    /// A copy goes to another cluster.
    pub(crate) fn mirrored(&self, cluster: &str, head: &HeaderList) {
        let authority = headers::get(head, ":authority").map(|value| shown(value)).unwrap_or_default();
        self.account.borrow_mut().mirrors.push(MirrorStep { cluster: cluster.to_owned(), authority });
    }

    /// An endpoint is tried.
    pub(crate) fn tried(&self, endpoint: SocketAddr, head: &HeaderList) {
        let mut account = self.account.borrow_mut();
        account.tries.push(Try { endpoint, status: None });
        account.upstream_request = Some(head.clone());
    }

    /// And answered.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(last) = self.account.borrow_mut().tries.last_mut() {
            last.status = Some(status);
        }
    }

    /// The gateway answers itself.
    pub(crate) fn replied(&self, reply: &LocalReply) {
        let by = self.open.borrow().filter;
        self.account.borrow_mut().reply =
            Some(ReplyStep { by, status: reply.status, details: reply.details.to_string() });
    }

    /// The connection manager gives the gateway's own answer its form.
    pub(crate) fn mapped(&self, mapper: Option<usize>, before: u16, after: u16) {
        self.account.borrow_mut().mapped = Some(MappingStep { mapper, before, after });
    }

    /// The answer's head goes to the client.
    pub(crate) fn sent(&self, status: Option<u16>, head: &HeaderList) {
        let mut account = self.account.borrow_mut();
        account.status = status;
        account.response.clone_from(head);
    }

    /// The stream is over.
    pub(crate) fn finished(&self, info: &StreamInfo) {
        let mut account = self.account.borrow_mut();
        account.details = info.details.as_deref().unwrap_or_default().to_owned();
        account.flags = info.flags.short();
        account.took = info.complete.unwrap_or_default();
    }
}
