//! A plugin in one worker: its configuration, its counters, the requests it holds.

use std::cell::RefCell;
use std::rc::Rc;

use policy::dice::Dice;
use policy::exchange::{Exchange, Warning};
use policy::metrics::{Counter, Metrics};
use policy::module::Delay;
use policy::rate_limit::store;
use policy::reply::Reply;
use policy::world::{Kept, Stored};
use policy::{Module, World};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::abi::{self, Buffer, Level};
use crate::counters::{self, Counters};
use crate::log::Throttle;
use crate::request::{Request, respond};
use crate::waiting::Waiting;

/// So many held requests are let go in one tick. Envoy answers each inside the call that lets it go, one within the other, and V8's stack has room for
/// hundreds of those, not for the thousands that may be due after a pause of the machine.
const AT_ONCE: usize = 64;

/// The root context.
pub struct Plugin<M: Module>(Rc<RefCell<Worker<M>>>);

/// What the streams of a worker share.
pub(crate) struct Worker<M> {
    /// The last configuration that was good.
    pub(crate) policy: Option<Rc<M>>,
    counters: Counters,
    waiting: Waiting,
    throttle: Throttle,
    dice: Dice,
    ticking: u32,
    seed: Option<(u64, u64)>,
}

impl<M: Module> Plugin<M> {
    /// Without a configuration yet.
    pub(crate) fn new() -> Plugin<M> {
        Plugin(Rc::new(RefCell::new(Worker {
            policy: None,
            counters: Counters::default(),
            waiting: Waiting::default(),
            throttle: Throttle::default(),
            dice: Dice::new(0),
            ticking: 0,
            seed: None,
        })))
    }
}

impl<M: Module + 'static> Context for Plugin<M> {}

impl<M: Module + 'static> RootContext for Plugin<M> {
    fn on_configure(&mut self, size: usize) -> bool {
        let Ok(mut worker) = self.0.try_borrow_mut() else { return false };
        worker.dice = Dice::new(u64::from_le_bytes(abi::random()));
        let text = if size == 0 { Ok(Vec::new()) } else { abi::buffer(Buffer::PluginConfiguration, size) };
        match text {
            Ok(text) => worker.configure(&text),
            Err(abi::Refused(status)) => {
                abi::log(
                    Level::Error,
                    &format!("{}: the proxy does not give the configuration (status {status})", M::NAME),
                );
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Ok(mut worker) = self.0.try_borrow_mut() {
            worker.tick();
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request::new(context, Rc::clone(&self.0))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl<M: Module> Worker<M> {
    /// Takes the configuration whole, or keeps the one there is.
    fn configure(&mut self, text: &[u8]) -> bool {
        let mut metrics = Metrics::default();
        match M::parse(text, &mut metrics) {
            Ok(policy) => {
                self.policy = Some(Rc::new(policy));
                self.counters = Counters::new(metrics.names().to_vec());
                true
            }
            Err(invalid) => {
                let kept = if self.policy.is_some() { "; the previous configuration stays in force" } else { "" };
                abi::log(Level::Error, &format!("{}: configuration refused: {invalid}{kept}", M::NAME));
                if let Ok(id) = abi::define_counter(&format!("sluice.{}.config_errors", M::NAME)) {
                    // A proxy without metrics goes without.
                    let _ = abi::increment(id, 1);
                }
                false
            }
        }
    }

    /// Fresh dice for a request.
    pub(crate) fn dice(&mut self) -> Dice {
        Dice::new(self.dice.roll())
    }

    /// What decisions may ask.
    pub(crate) fn world(&mut self) -> Outside<'_> {
        Outside { waiting: &self.waiting, seed: &mut self.seed }
    }

    /// Counts and logs what a decision left behind.
    pub(crate) fn report(&mut self, exchange: &Exchange<'_>) {
        if self.counters.count(&exchange.counts) {
            self.wake();
        }
        if !exchange.warnings.is_empty() {
            self.warn(&exchange.warnings);
        }
    }

    /// Counts what came later.
    pub(crate) fn count(&mut self, counter: Counter) {
        if self.counters.count(&[counter]) {
            self.wake();
        }
    }

    /// Logs, as often as is good.
    pub(crate) fn warn(&mut self, warnings: &[Warning]) {
        let now = abi::monotonic();
        for warning in warnings {
            self.throttle.warn(M::NAME, warning, now);
        }
    }

    /// Holds a request until its time.
    pub(crate) fn hold(&mut self, context: u32, delay: Delay, reply: Option<Reply>) {
        let time = u64::try_from(delay.time.as_nanos()).unwrap_or(u64::MAX);
        let until = abi::monotonic().saturating_add(time);
        self.waiting.hold(context, delay.rule, until, reply);
        self.wake();
    }

    /// The stream is over, however it ended.
    pub(crate) fn forget(&mut self, context: u32) {
        self.waiting.forget(context);
    }

    fn tick(&mut self) {
        let now = if self.waiting.is_empty() { 0 } else { abi::monotonic() };
        for _ in 0..AT_ONCE {
            let Some(held) = self.waiting.due(now) else { break };
            // A stream the proxy no longer knows has ended meanwhile.
            if abi::act_on(held.context).is_ok() {
                match held.reply {
                    Some(reply) => respond(&reply),
                    None => drop(abi::resume_request()),
                }
            }
        }
        let counting = self.counters.tick();
        self.tick_every(if !self.waiting.is_empty() {
            1
        } else if counting {
            counters::PERIOD
        } else {
            0
        });
    }

    fn wake(&mut self) {
        self.tick_every(if !self.waiting.is_empty() { 1 } else { counters::PERIOD });
    }

    /// Asks for another period only when it is another.
    fn tick_every(&mut self, millis: u32) {
        if self.ticking != millis && abi::tick_every(millis).is_ok() {
            self.ticking = millis;
        }
    }
}

/// The proxy, as decisions see it.
pub(crate) struct Outside<'w> {
    waiting: &'w Waiting,
    seed: &'w mut Option<(u64, u64)>,
}

impl World for Outside<'_> {
    fn monotonic(&mut self) -> u64 {
        abi::monotonic()
    }

    fn wall(&mut self) -> i128 {
        abi::wall().into()
    }

    fn held(&self, rule: usize) -> usize {
        self.waiting.of(rule)
    }

    fn secret(&mut self) -> [u8; 16] {
        abi::random()
    }

    fn seed(&mut self) -> (u64, u64) {
        match *self.seed {
            Some(seed) => seed,
            None => {
                let seed = store::seed(self);
                *self.seed = Some(seed);
                seed
            }
        }
    }

    fn load(&mut self, key: &str) -> Option<Kept> {
        abi::shared_data(key).ok().map(|(value, cas)| Kept { value, cas })
    }

    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        match abi::set_shared_data(key, value, cas) {
            Ok(()) => Stored::Done,
            Err(abi::Refused(8)) => Stored::Raced,
            Err(_) => Stored::Failed,
        }
    }
}
