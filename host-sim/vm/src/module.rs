//! A loaded module, and everything for which one is refused.

use std::{fmt, sync::Arc};

use wasmtime::{ExternType, FuncType, InstancePre, ValType};

use crate::{
    abi::AbiVersion,
    cache::{Digest, DiskCache},
    exports::{self, Callback, Signature},
    hostcalls::{self, Import},
    plugin::PluginConfig,
    state::State,
};

/// A compiled module that Envoy would accept. Cloning is cheap.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Module,
    ready: InstancePre<State>,
    abi: AbiVersion,
    digest: Digest,
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
    #[error("Failed to load Wasm module due to an import type mismatch: {module}.{name}, want: {want}, but host exports: {have}")]
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
    /// No memory, none by the name `memory`, or one that is imported.
    #[error("the module does not export a memory of its own named \"memory\"")]
    NoMemory,
}

fn markers(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(": the module exports {}; Envoy knows proxy_abi_version_0_1_0, 0_2_0 and 0_2_1", found.join(", ")) }
}

impl Module {
    pub(crate) fn load(engine: &wasmtime::Engine, disk: Option<&DiskCache>, digest: Digest, wasm: &[u8]) -> Result<Module, LoadError> {
        let wasmtime = match disk.and_then(|disk| disk.read(engine, digest)) {
            Some(module) => module,
            None => {
                let module = wasmtime::Module::from_binary(engine, wasm).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
                if let Some(disk) = disk {
                    disk.write(digest, &module);
                }
                module
            }
        };
        let abi = abi_version(&wasmtime)?;
        check_exports(&wasmtime, abi)?;
        check_imports(&wasmtime, abi)?;
        let linker = hostcalls::linker(engine, abi, None).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let ready = linker.instantiate_pre(&wasmtime).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        Ok(Module { inner: Arc::new(Inner { wasmtime, ready, abi, digest }) })
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

    /// The module with its imports resolved for this plugin: restricted capabilities are stubs.
    pub(crate) fn ready(&self, plugin: &PluginConfig) -> wasmtime::Result<InstancePre<State>> {
        if plugin.allowed_capabilities.is_none() {
            return Ok(self.inner.ready.clone());
        }
        hostcalls::linker(self.inner.wasmtime.engine(), self.inner.abi, plugin.allowed_capabilities.as_ref())?.instantiate_pre(&self.inner.wasmtime)
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

/// Any of the markers counts, the first in the order of the exports.
fn abi_version(module: &wasmtime::Module) -> Result<AbiVersion, LoadError> {
    let functions = || module.exports().filter(|export| matches!(export.ty(), ExternType::Func(_)));
    if let Some(version) = functions().find_map(|export| AbiVersion::from_marker(export.name())) {
        return Ok(version);
    }
    let looks_like_one = |name: &str| name.starts_with("proxy_abi_");
    Err(LoadError::UnknownAbi { found: functions().map(|export| export.name().to_owned()).filter(|name| looks_like_one(name)).collect() })
}

fn check_exports(module: &wasmtime::Module, abi: AbiVersion) -> Result<(), LoadError> {
    let function = |name: &str| match module.get_export(name) {
        Some(ExternType::Func(ty)) => Some(ty),
        _ => None,
    };
    let reactor = function("_initialize").is_some();
    for export in module.exports() {
        let (name, ExternType::Func(ty)) = (export.name(), export.ty()) else { continue };
        let looked_up = match name {
            "_start" => !reactor,
            "main" | "__main_void" => reactor,
            // Only without `malloc`.
            "proxy_on_memory_allocate" => function("malloc").is_none(),
            _ => true,
        };
        if let Some(want) = exports::signature(name, abi).filter(|want| looked_up && !has_signature(&ty, *want)) {
            return Err(LoadError::BadSignature { export: name.to_owned(), want: wanted(want), have: printed(&ty) });
        }
    }
    if function("malloc").or_else(|| function("proxy_on_memory_allocate")).is_none() {
        return Err(LoadError::MissingMalloc);
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(_)) => Ok(()),
        _ => Err(LoadError::NoMemory),
    }
}

fn check_imports(module: &wasmtime::Module, abi: AbiVersion) -> Result<(), LoadError> {
    let offered = hostcalls::imports(abi);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let is_this = |offer: &Import| offer.module == from && offer.name == name;
        let found = offered.iter().find(|offer| is_this(offer));
        let (ExternType::Func(want), Some(have)) = (import.ty(), found) else {
            let other_version = AbiVersion::ALL.into_iter().any(|other| other != abi && hostcalls::imports(other).iter().any(is_this));
            return Err(LoadError::MissingImport { module: from.to_owned(), name: name.to_owned(), abi, other_version });
        };
        if printed(&want) != have.ty {
            return Err(LoadError::ImportTypeMismatch { module: from.to_owned(), name: name.to_owned(), want: printed(&want), have: have.ty.clone() });
        }
    }
    Ok(())
}

fn has_signature(ty: &FuncType, want: Signature) -> bool {
    printed(ty) == wanted(want)
}

fn wanted(want: Signature) -> String {
    format!("{} -> {}", words(vec!["i32"; want.params]), words(vec!["i32"; usize::from(want.result)]))
}

/// As V8 prints it: `i32 i32 -> i32`, `void` for nothing.
fn printed(ty: &FuncType) -> String {
    let names = |types: &mut dyn Iterator<Item = ValType>| types.map(|ty| ty.to_string()).collect::<Vec<_>>();
    let (params, results) = (names(&mut ty.params()), names(&mut ty.results()));
    format!("{} -> {}", words(params), words(results))
}

fn words<S: AsRef<str>>(words: Vec<S>) -> String {
    if words.is_empty() { "void".to_owned() } else { words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ") }
}
