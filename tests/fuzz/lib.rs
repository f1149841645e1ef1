//! What the targets share: a world made of bytes, a run of one request, and what must hold afterwards.

use std::collections::BTreeMap;
use std::net::IpAddr;

use policy::dice::Dice;
use policy::exchange::{Change, Exchange};
use policy::header_ops::Op;
use policy::metrics::Metrics;
use policy::world::{Kept, Stored};
use policy::{Module, World};

/// A world in which everything is as the fuzzer says.
#[derive(Debug, Default)]
pub struct Bytes {
    /// The monotonic clock.
    pub now: u64,
    /// The wall clock.
    pub wall: i64,
    /// Requests held, for every rule.
    pub held: usize,
    /// Shared data, and which write each value was.
    pub data: BTreeMap<String, (Vec<u8>, u32)>,
    /// So many writes are lost to others.
    pub races: u8,
    /// Nothing can be written.
    pub broken: bool,
    /// How many writes there were.
    pub writes: u32,
}

impl World for Bytes {
    fn monotonic(&mut self) -> u64 {
        self.now
    }

    fn wall(&mut self) -> i128 {
        self.wall.into()
    }

    fn held(&self, _: usize) -> usize {
        self.held
    }

    fn secret(&mut self) -> [u8; 16] {
        [0x5a; 16]
    }

    fn seed(&mut self) -> (u64, u64) {
        policy::rate_limit::store::seed(self)
    }

    fn load(&mut self, key: &str) -> Option<Kept> {
        self.data.get(key).map(|(value, cas)| Kept { value: value.clone(), cas: *cas })
    }

    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        if self.broken {
            return Stored::Failed;
        }
        if self.races > 0 {
            self.races -= 1;
            return Stored::Raced;
        }
        if self.data.get(key).is_some_and(|(_, now)| *now != cas) {
            return Stored::Raced;
        }
        self.writes += 1;
        self.data.insert(key.into(), (value.to_vec(), self.writes));
        Stored::Done
    }
}

/// One request through a module that is configured so, if it is a configuration.
pub fn serve<M: Module>(
    config: &[u8],
    headers: &[(&[u8], &[u8])],
    client: Option<IpAddr>,
    seed: u64,
    world: &mut Bytes,
) {
    let mut metrics = Metrics::default();
    if let Ok(module) = M::parse(config, &mut metrics) {
        pass(&module, &metrics, headers, client, seed, world);
    }
}

/// One request through a module, and what must hold afterwards.
pub fn pass<M: Module>(
    module: &M,
    metrics: &Metrics,
    headers: &[(&[u8], &[u8])],
    client: Option<IpAddr>,
    seed: u64,
    world: &mut Bytes,
) {
    let mut exchange = Exchange::new(headers.to_vec(), Dice::new(seed)).with_facts(client, Some(b"route".to_vec()));
    let outcome = module.decide(&mut exchange, world);
    for change in exchange.changes() {
        let (name, value) = match change {
            Change::Remove(name) => (name, &b""[..]),
            Change::Set(name, value) | Change::Add(name, value) => (name, value),
        };
        assert!(!name.is_empty());
        if name == b":path" {
            assert!(value.starts_with(b"/"), "{}", value.escape_ascii());
            assert!(!value.iter().any(u8::is_ascii_control), "{}", value.escape_ascii());
        }
        let foreign = |byte: u8| headers.iter().any(|(_, value)| value.contains(&byte));
        for byte in [b'\r', b'\n', 0] {
            assert!(!value.contains(&byte) || foreign(byte), "{} {}", name.escape_ascii(), value.escape_ascii());
        }
    }
    for op in &exchange.response {
        if let Op::Set(_, value) | Op::Add(_, value) = op {
            assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{}", value.escape_ascii());
        }
    }
    if let Some(reply) = &outcome.reply {
        assert!((200..=599).contains(&reply.status));
        for (_, value) in &reply.headers {
            let foreign = |byte: u8| headers.iter().any(|(_, value)| value.contains(&byte));
            for byte in [b'\r', b'\n', 0] {
                assert!(!value.contains(&byte) || foreign(byte), "{}", value.escape_ascii());
            }
        }
    }
    for counter in &exchange.counts {
        assert!(counter.place() < metrics.names().len());
    }
    for ask in outcome.asks {
        assert!(!ask.message.is_empty());
        let _ = ask.failed("timeout");
    }
}
