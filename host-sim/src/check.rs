//! `host-sim check`: does a module load, and does it take its configuration?

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vm::{ClusterState, Engine, EngineConfig, LogLevel, PluginConfig, QueueId, Value, World};

use crate::command_line::CheckArgs;
use crate::failure::Failure;
use crate::inputs;
use crate::say;

/// Loads, starts and configures the module as Envoy would, and prints what it logged on the way.
///
/// # Errors
/// A refusal, with the module's own log (exit 4); a file that cannot be read (exit 5).
pub(crate) fn check(args: &CheckArgs) -> Result<(), Failure> {
    let module = args.module.display();
    let wasm = inputs::bytes(&args.module)?;
    let configuration = args.config.as_deref().map(inputs::bytes).transpose()?.unwrap_or_default();
    let engine = Engine::new(EngineConfig::default()).map_err(|error| Failure::World(error.to_string()))?;
    let plugin = PluginConfig {
        name: args.module.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        root_id: args.root_id.clone(),
        configuration: configuration.into(),
        ..PluginConfig::default()
    };
    match vm::check(&engine, &wasm, plugin, Box::new(Outside { started: Instant::now() })) {
        Ok(said) => {
            for line in said {
                say::note(format_args!("{}: {}", format!("{:?}", line.level).to_lowercase(), line.text));
            }
            say::answer_line(format_args!("{module}: loads and takes its configuration"))
        }
        Err(refusal) => Err(Failure::Module(format!("{module}: {refusal}"))),
    }
}

/// A world with a clock and dice and nothing else: no clusters, no streams. The log is in the answer.
struct Outside {
    started: Instant,
}

impl World for Outside {
    fn now(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic(&mut self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&mut self, out: &mut [u8]) {
        use std::hash::BuildHasher;
        let dice = std::hash::RandomState::new();
        for (position, chunk) in out.chunks_mut(8).enumerate() {
            let drawn = dice.hash_one(position).to_le_bytes();
            chunk.iter_mut().zip(drawn).for_each(|(byte, value)| *byte = value);
        }
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Info
    }

    fn log(&mut self, _: LogLevel, _: &str) {}

    fn cluster(&self, _: &[u8]) -> ClusterState {
        ClusterState::Unknown
    }

    fn attribute(&self, _: &[&[u8]]) -> Option<Value> {
        None
    }

    fn queue_waker(&self) -> Arc<dyn Fn(QueueId) + Send + Sync> {
        Arc::new(|_| ())
    }
}
