//! What a module is to whoever runs it: a configuration that was valid, and one decision per request.

use std::time::Duration;

use crate::config::Invalid;
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::rate_limit::global::Ask;
use crate::reply::Reply;
use crate::rules::Asks;
use crate::world::World;

/// One of the modules.
pub trait Module: Sized {
    /// As in `sluice.<name>…` and the log.
    const NAME: &'static str;

    /// Whether a decision may ask a service; modules that never do go without what it takes.
    const ASKS_SERVICES: bool = false;

    /// Reads a configuration whole, or says what is wrong with it.
    fn parse(text: &[u8], metrics: &mut Metrics) -> Result<Self, Invalid>;

    /// What has to be known of a request.
    fn asks(&self) -> Asks;

    /// Decides about a request; changes to it are made in the exchange.
    fn decide(&self, exchange: &mut Exchange<'_>, world: &mut dyn World) -> Outcome;
}

/// What becomes of a request, beside the changes in its exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Ask these first, one after the other; a refusal ends the request, and nothing else is done.
    pub asks: Vec<Ask>,
    /// Then hold it.
    pub delay: Option<Delay>,
    /// Then answer so; without a reply it goes on.
    pub reply: Option<Reply>,
}

/// How long a request is held, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// How long.
    pub time: Duration,
    /// The rule, as [`World::held`] counts.
    pub rule: usize,
}

impl Outcome {
    /// It goes on.
    pub fn go_on() -> Outcome {
        Outcome::default()
    }

    /// Adds what comes next; false if that, or what came before, was the last word.
    pub(crate) fn then(&mut self, next: impl FnOnce() -> Outcome) -> bool {
        let Outcome { asks, delay, reply } = next();
        self.asks.extend(asks);
        self.delay = self.delay.or(delay);
        self.reply = reply;
        self.reply.is_none()
    }

    /// It is answered.
    pub fn answer(reply: Reply) -> Outcome {
        Outcome { reply: Some(reply), ..Outcome::default() }
    }
}
