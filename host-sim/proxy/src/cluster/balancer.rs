//! Load balancers: which endpoint the next request goes to.
//!
//! Source: Envoy's `load_balancing_policies/*` and `common/load_balancer_impl.cc`. A balancer belongs to one worker. When the health of an
//! endpoint changes it is told by [`LoadBalancer::set_healthy`] and lays its tables out anew.

use std::sync::Arc;

use super::endpoint::Endpoint;
use super::maglev::Maglev;
use super::ring::{Ring, RingSize};
use super::schedule::Schedule;

/// How endpoints are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// In turn.
    RoundRobin,
    /// The least busy of some drawn at random; with unequal weights, in turn by weight over load.
    LeastRequest {
        /// How many are drawn.
        choices: u32,
        /// How much load counts against weight.
        bias: f64,
    },
    /// At random.
    Random,
    /// By a hash, on a ring.
    RingHash(RingSize),
    /// By a hash, in a table of so many places.
    Maglev(u64),
}

impl Policy {
    /// Does it choose by a hash of the request?
    pub fn hashes(self) -> bool {
        matches!(self, Policy::RingHash(_) | Policy::Maglev(_))
    }
}

/// What a choice depends on.
pub struct Context<'c> {
    /// The request's hash, for consistent hashes; without one any endpoint will do.
    pub hash: Option<u64>,
    /// Dice.
    pub random: &'c mut dyn FnMut() -> u64,
    /// Requests under way at an endpoint, over all workers.
    pub active: &'c dyn Fn(usize) -> u64,
    /// Endpoints to avoid, for retries.
    pub avoid: &'c dyn Fn(usize) -> bool,
    /// What share of a retry each priority has, in percent, where that is not its own.
    pub loads: Option<&'c [u32]>,
    /// How often another endpoint is looked for when the chosen one should be avoided: the retry policy's, 1 on a first try.
    pub attempts: u32,
}

/// One worker's balancer of one cluster.
#[derive(Debug, Clone)]
pub struct LoadBalancer {
    policy: Policy,
    endpoints: Arc<[Endpoint]>,
    /// Percent of healthy endpoints below which health is ignored; 0 for never.
    panic_threshold: u32,
    levels: Vec<Level>,
}

/// The endpoints of one priority.
#[derive(Debug, Clone)]
struct Level {
    /// Its share of the requests, in percent.
    load: u32,
    /// What it could serve, in percent of all requests.
    available: u32,
    picker: Picker,
}

#[derive(Debug, Clone)]
enum Picker {
    InTurn { hosts: Vec<usize>, next: usize },
    ByWeight { schedule: Schedule, bias: f64 },
    LeastBusy { hosts: Vec<usize>, choices: u32 },
    AtRandom { hosts: Vec<usize> },
    Ring(Ring),
    Maglev(Maglev),
}

/// An endpoint with its share of the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighed<'h> {
    pub(super) index: usize,
    pub(super) key: &'h str,
    pub(super) weight: f64,
}

/// Envoy's overprovisioning: a priority serves all of its share while 1/1.4 of it is healthy.
const OVERPROVISIONING: u32 = 140;

impl LoadBalancer {
    /// A balancer over these endpoints, all in the health their configuration says. `seed` is where turns start.
    pub fn new(policy: Policy, endpoints: Arc<[Endpoint]>, panic_threshold: u32, seed: u64) -> LoadBalancer {
        let healthy: Vec<bool> = endpoints.iter().map(|endpoint| endpoint.healthy).collect();
        let mut balancer = LoadBalancer { policy, endpoints, panic_threshold, levels: Vec::new() };
        balancer.set_healthy(&healthy, seed);
        balancer
    }

    /// The endpoints, as indexed by [`pick`](Self::pick).
    pub fn endpoints(&self) -> &Arc<[Endpoint]> {
        &self.endpoints
    }

    /// Lays everything out for this health, one entry per endpoint.
    pub fn set_healthy(&mut self, healthy: &[bool], seed: u64) {
        let priorities =
            self.endpoints.iter().map(|endpoint| endpoint.priority).max().map_or(0, |max| max.saturating_add(1));
        let members = |priority: u32| -> Vec<usize> {
            self.endpoints.iter().enumerate().filter(|(_, one)| one.priority == priority).map(|(at, _)| at).collect()
        };
        let is_healthy = |at: &usize| healthy.get(*at).copied().unwrap_or(false);
        let groups: Vec<(Vec<usize>, Vec<usize>)> =
            (0..priorities).map(members).map(|all| (all.iter().copied().filter(is_healthy).collect(), all)).collect();
        let percent = |part: usize, all: usize| {
            let scaled = part.saturating_mul(100).checked_div(all).unwrap_or_default();
            u32::try_from(scaled).unwrap_or(100)
        };
        let (well, total) = groups.iter().fold((0usize, 0usize), |(well, total), (healthy, all)| {
            (well.saturating_add(healthy.len()), total.saturating_add(all.len()))
        });
        let available: Vec<u32> =
            groups.iter().map(|(healthy, all)| served(percent(healthy.len(), all.len()))).collect();
        let enough = sum(&available);
        // In panic every endpoint is as good as another; it needs too few healthy ones over all priorities.
        let panic = enough < 100 && percent(well, total) < self.panic_threshold;
        let loads = match panic {
            true => shared_out(groups.iter().map(|(_, all)| percent(all.len(), total))),
            false => distribute(&available),
        };
        let levels = groups.into_iter().zip(loads).zip(available);
        let level = |(((healthy, all), load), available)| {
            let picker = self.picker(if panic { all } else { healthy }, seed);
            Level { load, available, picker }
        };
        self.levels = levels.map(level).collect();
    }

    fn picker(&self, hosts: Vec<usize>, seed: u64) -> Picker {
        match self.policy {
            Policy::Random => Picker::AtRandom { hosts },
            Policy::RingHash(size) => Picker::Ring(Ring::new(&self.weighed(&hosts), size)),
            Policy::Maglev(size) => Picker::Maglev(Maglev::new(&self.weighed(&hosts), size)),
            Policy::RoundRobin if self.equal(&hosts) => {
                Picker::InTurn { next: modulo(seed, hosts.len()).unwrap_or_default(), hosts }
            }
            Policy::LeastRequest { choices, .. } if self.equal(&hosts) => Picker::LeastBusy { hosts, choices },
            Policy::RoundRobin => self.by_weight(&hosts, 0.0, seed),
            Policy::LeastRequest { bias, .. } => self.by_weight(&hosts, bias, seed),
        }
    }

    fn equal(&self, hosts: &[usize]) -> bool {
        let mut weights = hosts.iter().map(|at| self.weight(*at));
        weights.next().is_none_or(|first| weights.all(|weight| weight == first))
    }

    fn weight(&self, at: usize) -> u32 {
        self.endpoints.get(at).map_or(1, |endpoint| endpoint.weight)
    }

    fn by_weight(&self, hosts: &[usize], bias: f64, seed: u64) -> Picker {
        let mut schedule = Schedule::default();
        for at in hosts {
            schedule.add(*at, self.weight(*at).into());
        }
        // Workers must not all begin with the same endpoint.
        for _ in 0..modulo(seed, hosts.len()).unwrap_or_default() {
            schedule.next(|at| self.weight(at).into());
        }
        Picker::ByWeight { schedule, bias }
    }

    fn weighed(&self, hosts: &[usize]) -> Vec<Weighed<'_>> {
        let sum: f64 = hosts.iter().map(|at| f64::from(self.weight(*at))).sum();
        let one = |at: &usize| {
            let endpoint = self.endpoints.get(*at)?;
            Some(Weighed { index: *at, key: &endpoint.hash_key, weight: f64::from(endpoint.weight) / sum })
        };
        hosts.iter().filter_map(one).collect()
    }

    /// Chooses an endpoint; `None` when there is none that may be used.
    pub fn pick(&mut self, context: &mut Context<'_>) -> Option<usize> {
        let hashing = self.policy.hashes();
        let hash = if hashing { context.hash.unwrap_or_else(|| (context.random)()) } else { 0 };
        let mut chosen = None;
        for attempt in 0..=context.attempts {
            let draw = if hashing { hash } else { self.priority_draw(context) };
            let endpoints = self.endpoints.clone();
            let level = self.level(draw, context.loads)?;
            chosen = Some(level.picker.pick(&endpoints, hash, attempt, context)?);
            if !chosen.is_some_and(|at| (context.avoid)(at)) {
                break;
            }
        }
        chosen
    }

    /// No die is thrown while there is nothing to choose from.
    fn priority_draw(&self, context: &mut Context<'_>) -> u64 {
        let several = match context.loads {
            Some(loads) => loads.iter().filter(|load| **load > 0).nth(1).is_some(),
            None => self.levels.iter().filter(|level| level.load > 0).nth(1).is_some(),
        };
        if several { (context.random)() } else { 0 }
    }

    /// What each priority could serve now, in percent of all requests.
    pub fn available(&self) -> Vec<u32> {
        self.levels.iter().map(|level| level.available).collect()
    }

    fn level(&mut self, draw: u64, loads: Option<&[u32]>) -> Option<&mut Level> {
        let mut point = u32::try_from(draw.checked_rem(100)?).ok()?;
        let mut levels = self.levels.iter_mut().enumerate();
        levels.find_map(|(at, level)| {
            let load = loads.map_or(level.load, |loads| loads.get(at).copied().unwrap_or_default());
            let within = point < load;
            point = point.saturating_sub(load);
            within.then_some(level)
        })
    }
}

/// How much of its share a level serves with this percentage healthy.
fn served(healthy_percent: u32) -> u32 {
    healthy_percent.saturating_mul(OVERPROVISIONING).checked_div(100).unwrap_or_default().min(100)
}

/// A level's load, when all levels together do not serve everything.
fn scaled(served: u32, all: u32) -> u32 {
    if all >= 100 { served } else { served.saturating_mul(100).checked_div(all).unwrap_or_default() }
}

/// What all levels together could serve, in percent.
fn sum(available: &[u32]) -> u32 {
    available.iter().copied().fold(0, u32::saturating_add)
}

/// A hundred percent among levels that could serve so much each, the higher ones first.
pub(super) fn distribute(available: &[u32]) -> Vec<u32> {
    let all = sum(available);
    shared_out(available.iter().map(|one| scaled(*one, all)))
}

/// Each level's share of a hundred percent, as far as they go. Rounding leaves a few: they go to the first level that serves at all.
fn shared_out(wanted: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut left = 100u32;
    let mut loads: Vec<u32> = wanted
        .map(|wanted| {
            let load = wanted.min(left);
            left = left.saturating_sub(load);
            load
        })
        .collect();
    if let Some(first) = loads.iter_mut().find(|load| **load > 0) {
        *first = first.saturating_add(left);
    }
    loads
}

fn modulo(number: u64, of: usize) -> Option<usize> {
    usize::try_from(number.checked_rem(u64::try_from(of).ok()?)?).ok()
}

impl Picker {
    fn pick(&mut self, endpoints: &[Endpoint], hash: u64, attempt: u32, context: &mut Context<'_>) -> Option<usize> {
        match self {
            Picker::InTurn { hosts, next } => {
                let at = next.checked_rem(hosts.len())?;
                *next = at.saturating_add(1);
                hosts.get(at).copied()
            }
            Picker::ByWeight { schedule, bias } => schedule.next(|at| {
                let weight = endpoints.get(at).map_or(1.0, |endpoint| f64::from(endpoint.weight));
                let load = u32::try_from((context.active)(at)).map_or(f64::from(u32::MAX), f64::from) + 1.0;
                weight / load.powf(*bias)
            }),
            Picker::LeastBusy { hosts, choices } => {
                let mut best: Option<usize> = None;
                for _ in 0..*choices {
                    let drawn = *hosts.get(modulo((context.random)(), hosts.len())?)?;
                    let better = best.is_none_or(|best| (context.active)(drawn) < (context.active)(best));
                    best = if better { Some(drawn) } else { best };
                }
                best
            }
            Picker::AtRandom { hosts } => hosts.get(modulo((context.random)(), hosts.len())?).copied(),
            Picker::Ring(ring) => ring.pick(hash, attempt),
            Picker::Maglev(table) => table.pick(hash, attempt),
        }
    }
}
