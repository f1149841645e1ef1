//! A dry run: does a module load and take its configuration?

use crate::{
    engine::Engine, log_gate::LogLine, module::LoadError, plugin::PluginConfig, shared::Shared,
    start_error::StartError, vm::Vm, world::World,
};

/// Why it does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The module is refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The module, or its configuration, is refused: the module's own log is in the message, and in [`StartError::log`].
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Loads, starts and configures a module as Envoy would, and throws it away. What it logged on the way is the answer.
pub fn check(
    engine: &Engine,
    wasm: &[u8],
    plugin: PluginConfig,
    world: Box<dyn World>,
) -> Result<Vec<LogLine>, CheckError> {
    let module = engine.load(wasm)?;
    let mut vm = Vm::start(&module, plugin, &Shared::default(), world)?;
    let said = vm.start_log().to_vec();
    vm.shut_down();
    Ok(said)
}
