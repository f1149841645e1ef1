//! A loaded module, and everything for which one is refused.

use std::{fmt, sync::Arc};

use wasmtime::InstancePre;

use crate::{
    abi::AbiVersion,
    cache::{Digest, DiskCache},
    exports::Callback,
    hostcalls,
    outline::{self, Outline},
    plugin::PluginConfig,
    state::State,
    ticker::{Calls, Ticker},
};

/// A compiled module that Envoy would accept. Cloning is cheap.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Module,
    ready: InstancePre<State>,
    ticker: Arc<Ticker>,
    abi: AbiVersion,
    digest: Digest,
    memory: String,
}

/// Why a module is refused. The messages carry Envoy's words where Envoy has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Not WebAssembly, or broken, or with a feature this host does not run.
    #[error("Failed to load Wasm bytecode: {0}")]
    Invalid(String),
    /// None of the three markers is exported.
    #[error("Missing or unknown Proxy-Wasm ABI version{}", markers(.found))]
    UnknownAbi {
        /// Exports that look like a marker: a vendor's own ABI.
        found: Vec<String>,
    },
    /// An import no host of this version offers.
    #[error("Failed to load Wasm module due to a missing import: {module}.{name}{}", if *.other_version { format!(" (it belongs to another version of the ABI than the module's {abi})") } else { String::new() })]
    MissingImport {
        /// The module imported from.
        module: String,
        /// The import.
        name: String,
        /// The version the module says it is for.
        abi: AbiVersion,
        /// Another version of the ABI has it.
        other_version: bool,
    },
    /// An import of another type than the host's function.
    #[error(
        "Failed to load Wasm module due to an import type mismatch: {module}.{name}, want: {want}, but host exports: {have}"
    )]
    ImportTypeMismatch {
        /// The module imported from.
        module: String,
        /// The import.
        name: String,
        /// What the module wants.
        want: String,
        /// What the host has.
        have: String,
    },
    /// An export the host would call, of another type than the ABI's.
    #[error("Bad function signature for: {export}, want: {want}, but the module exports: {have}")]
    BadSignature {
        /// The export.
        export: String,
        /// What the ABI says.
        want: String,
        /// What the module has.
        have: String,
    },
    /// Neither `malloc` nor `proxy_on_memory_allocate`.
    #[error("Wasm module is missing malloc function.")]
    MissingMalloc,
    /// No memory to exchange anything through.
    #[error("the module does not export a memory")]
    NoMemory,
    /// A memory of the host's making. Envoy would make one.
    #[error("the module imports its memory; this host runs only modules that bring their own")]
    ImportedMemory,
}

fn markers(found: &[String]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!(": the module exports {}; Envoy knows proxy_abi_version_0_1_0, 0_2_0 and 0_2_1", found.join(", "))
    }
}

impl Module {
    pub(crate) fn load(
        engine: &wasmtime::Engine,
        ticker: &Arc<Ticker>,
        disk: Option<&DiskCache>,
        digest: Digest,
        wasm: &[u8],
    ) -> Result<Module, LoadError> {
        let outline = Outline::read(wasm)?;
        if let Some(refusal) = outline.refusals().into_iter().next() {
            // A module that is broken as a whole is refused for that, not for a detail.
            outline::validate(wasm)?;
            return Err(refusal);
        }
        let (abi, memory) = (outline.abi()?, outline.memory()?);
        let wasmtime = match disk.and_then(|disk| disk.read(engine, digest)) {
            Some(module) => module,
            None => {
                let module = wasmtime::Module::from_binary(engine, wasm)
                    .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
                if let Some(disk) = disk {
                    disk.write(digest, &module);
                }
                module
            }
        };
        let linker = hostcalls::linker(engine, abi, None).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let ready = linker.instantiate_pre(&wasmtime).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let ticker = Arc::clone(ticker);
        Ok(Module { inner: Arc::new(Inner { wasmtime, ready, ticker, abi, digest, memory }) })
    }

    /// The ABI the module was built for.
    pub fn abi_version(&self) -> AbiVersion {
        self.inner.abi
    }

    /// SHA-256 of the bytes it was loaded from.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// Does the module export this callback? If not, calling it is skipped, and bodies need not be shown to it.
    pub fn exports(&self, callback: Callback) -> bool {
        self.inner.wasmtime.get_export(callback.name()).is_some()
    }

    /// Does the module import this host function? If not, it can never call it.
    pub fn imports(&self, function: &str) -> bool {
        self.inner.wasmtime.imports().any(|import| import.name() == function)
    }

    /// The name its memory is exported by.
    pub(crate) fn memory(&self) -> &str {
        &self.inner.memory
    }

    /// The module with its imports resolved for this plugin: restricted capabilities are stubs.
    pub(crate) fn ready(&self, plugin: &PluginConfig) -> wasmtime::Result<InstancePre<State>> {
        if plugin.allowed_capabilities.is_none() {
            return Ok(self.inner.ready.clone());
        }
        hostcalls::linker(self.inner.wasmtime.engine(), self.inner.abi, plugin.allowed_capabilities.as_ref())?
            .instantiate_pre(&self.inner.wasmtime)
    }

    /// For a new instance.
    pub(crate) fn calls(&self) -> Calls {
        self.inner.ticker.calls()
    }

    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        self.inner.wasmtime.engine()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("digest", &self.inner.digest).field("abi", &self.inner.abi).finish()
    }
}
