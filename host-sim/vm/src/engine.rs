//! The engine: compiles modules and keeps what it compiled.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    cache::{Digest, DiskCache},
    module::{LoadError, Module},
    ticker::Ticker,
};

/// Compiles and instantiates modules. One per process; cloning gives another handle.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    ticker: Arc<Ticker>,
    disk: Option<DiskCache>,
    loaded: Mutex<HashMap<Digest, Module>>,
}

/// How to make an [`Engine`].
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Where compiled code is kept between runs; `None` keeps it in memory alone.
    /// Whoever can write there can run code in this process: the folder is made for this user only, and refused when others may write to it.
    pub cache_dir: Option<PathBuf>,
}

/// The engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Compiled code cannot be run here.
    #[error("WebAssembly cannot be compiled on this machine: {0}")]
    Unsupported(String),
    /// No thread for the ticker.
    #[error("the thread that counts deadlines cannot be started: {0}")]
    Ticker(std::io::Error),
}

impl Engine {
    /// An engine with a ticker of its own.
    pub fn new(config: EngineConfig) -> Result<Engine, EngineError> {
        let wasmtime =
            wasmtime::Engine::new(&settings()).map_err(|error| EngineError::Unsupported(format!("{error:#}")))?;
        let disk = config.cache_dir.map(|folder| DiskCache::new(folder, &wasmtime));
        let ticker = Ticker::start(&wasmtime).map_err(EngineError::Ticker)?;
        Ok(Engine { inner: Arc::new(Inner { wasmtime, ticker, disk, loaded: Mutex::default() }) })
    }

    /// Compiles a module, or finds it compiled, and refuses what Envoy would refuse.
    pub fn load(&self, wasm: &[u8]) -> Result<Module, LoadError> {
        let digest = Digest::of(wasm);
        let mut loaded = self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(&digest) {
            return Ok(module.clone());
        }
        let module = Module::load(&self.inner.wasmtime, &self.inner.ticker, self.inner.disk.as_ref(), digest, wasm)?;
        loaded.insert(digest, module.clone());
        Ok(module)
    }
}

/// Memory is allocated on demand: VMs live as long as their configuration, and a pool, measured, made neither their start nor their replacement
/// reliably faster, while it would bound how many there may be.
///
/// What compiled code may use: what compilers of filters emit, and Envoy's V8 runs; nothing that widens the host's attack surface without need.
fn settings() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(wasmtime::OptLevel::Speed)
        .max_wasm_stack(1 << 20)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}
