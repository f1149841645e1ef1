//! A stage for the modules' tables: one request, a world that stands still, and what was done, in words.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::exchange::{Change, Exchange};
use crate::header_ops::Op;
use crate::metrics::Metrics;
use crate::rate_limit::store;
use crate::world::{Kept, Stored};
use crate::{Module, Outcome, World};

/// A world for tests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Still {
    pub(crate) now: u64,
    pub(crate) wall: i128,
    pub(crate) held: usize,
    /// What workers share, and which write each value was.
    pub(crate) data: BTreeMap<String, (Vec<u8>, u32)>,
    pub(crate) writes: u32,
    /// So many writes will be lost to others.
    pub(crate) races: u32,
    /// Nothing can be written.
    pub(crate) broken: bool,
    pub(crate) seed: Option<(u64, u64)>,
}

impl World for Still {
    fn monotonic(&mut self) -> u64 {
        self.now
    }

    fn wall(&mut self) -> i128 {
        self.wall
    }

    fn held(&self, _: usize) -> usize {
        self.held
    }

    fn secret(&mut self) -> [u8; 16] {
        [0xab; 16]
    }

    fn seed(&mut self) -> (u64, u64) {
        if self.seed.is_none() {
            let races = std::mem::take(&mut self.races);
            self.seed = Some(store::seed(self));
            self.races = races;
        }
        self.seed.unwrap_or_default()
    }

    fn load(&mut self, key: &str) -> Option<Kept> {
        self.data.get(key).map(|(value, cas)| Kept { value: value.clone(), cas: *cas })
    }

    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        if self.broken {
            return Stored::Failed;
        }
        let raced = self.data.get(key).is_some_and(|(_, now)| *now != cas);
        if raced || self.races > 0 {
            self.races = self.races.saturating_sub(1);
            return Stored::Raced;
        }
        self.writes += 1;
        self.data.insert(key.into(), (value.to_vec(), self.writes));
        Stored::Done
    }
}

/// What a module did.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Done {
    /// `name=value`, `name+value`, `-name`; with `< ` in front, on the response.
    pub(crate) changes: Vec<String>,
    /// `200 name=value body`, ` grpc 14` behind the status where there is one.
    pub(crate) reply: Option<String>,
    pub(crate) delay: Option<u128>,
    /// `rule.what`, without repeats of the module's name.
    pub(crate) counts: BTreeMap<String, usize>,
    pub(crate) attributes: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) reroutes: bool,
    pub(crate) asks: usize,
}

/// Runs one request through a module.
pub(crate) fn run<M: Module>(config: &str, headers: &[(&str, &str)], world: &mut Still, seed: u64) -> Done {
    let mut metrics = Metrics::default();
    let module = M::parse(config.as_bytes(), &mut metrics).unwrap_or_else(|invalid| panic!("{config}: {invalid}"));
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let client = "10.1.2.3".parse().ok();
    let mut exchange = Exchange::new(headers, Dice::new(seed)).with_facts(client, Some(b"route-1".to_vec()));
    let Outcome { asks, delay, reply } = module.decide(&mut exchange, world);
    let mut done = Done { reroutes: exchange.reroutes(), asks: asks.len(), ..Done::default() };
    done.changes = exchange.changes().iter().map(change).chain(exchange.response.iter().map(response)).collect();
    done.reply = reply.map(|reply| {
        let grpc = reply.grpc_status.map(|code| format!(" grpc {code}")).unwrap_or_default();
        let headers: String = reply.headers.iter().map(|(name, value)| format!(" {name}={}", text(value))).collect();
        format!("{}{grpc}{headers} {}", reply.status, text(&reply.body))
    });
    done.delay = delay.map(|delay| delay.time.as_millis());
    for counter in &exchange.counts {
        let name = metrics.names()[counter.place()].trim_start_matches("sluice.").split_once('.').unwrap().1.to_owned();
        *done.counts.entry(name).or_default() += 1;
    }
    done.attributes = exchange.attributes.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    done.warnings = exchange.warnings.iter().map(|warning| warning.text.clone()).collect();
    done
}

/// The words of a refusal.
pub(crate) fn refusal<M: Module>(config: &str) -> String {
    match M::parse(config.as_bytes(), &mut Metrics::default()) {
        Ok(_) => panic!("accepted: {config}"),
        Err(invalid) => invalid.to_string(),
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"")
}

fn change(change: &Change<'_>) -> String {
    match change {
        Change::Remove(name) => format!("-{}", text(name)),
        Change::Set(name, value) => format!("{}={}", text(name), text(value)),
        Change::Add(name, value) => format!("{}+{}", text(name), text(value)),
    }
}

fn response(op: &Op) -> String {
    match op {
        Op::Remove(name) => format!("< -{name}"),
        Op::Set(name, value) => format!("< {name}={}", text(value)),
        Op::Add(name, value) => format!("< {name}+{}", text(value)),
    }
}
