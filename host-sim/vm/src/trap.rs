//! The end of a VM: which call trapped, and why.

use std::fmt;

use wasmtime::{FrameInfo, WasmBacktrace};

use crate::log_gate::escape;

/// A call into a module that did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The module's function the host had called.
    pub function: &'static str,
    /// Why it did not return.
    pub reason: TrapReason,
    /// The module's functions on the stack, innermost first.
    pub backtrace: Vec<Frame>,
}

/// A function on the stack of a module. Shown as Envoy shows it: `0x9f - inner`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where in the module's file the call is, if that is known.
    pub offset: Option<usize>,
    /// The function's number.
    pub index: u32,
    /// Its name, if the module has names.
    pub name: Option<String>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x} - ", self.offset.unwrap_or_default())?;
        match &self.name {
            Some(name) => f.write_str(&escape(name.as_bytes(), 1000)),
            None => write!(f, "unknown(function index:{})", self.index),
        }
    }
}

/// Why a call did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrapReason {
    /// It used up its CPU time. Envoy would hang here.
    Deadline,
    /// It called the host when it must not: while it initialises or allocates.
    RestrictedCall(&'static str),
    /// A trap of WebAssembly: `unreachable`, memory out of bounds, stack overflow …
    Wasm(String),
    /// It ran out of the memory it may have, and gave up. Envoy would have let it grow to 1 GiB.
    OutOfMemory(String),
}

impl fmt::Display for Trap {
    /// In Envoy's words: `Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function: {} failed: {}", self.function, self.reason)
    }
}

impl fmt::Display for TrapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrapReason::Deadline => f.write_str("its CPU time is used up (Envoy would hang)"),
            TrapReason::RestrictedCall(name) => write!(f, "Uncaught Error: restricted_callback ({name})"),
            TrapReason::Wasm(what) => write!(f, "Uncaught RuntimeError: {what}"),
            TrapReason::OutOfMemory(what) => write!(
                f,
                "Uncaught RuntimeError: {what}, after its memory was refused to grow (Envoy would have let it)"
            ),
        }
    }
}

/// Carried through wasmtime from a hostcall that may not be called now.
#[derive(Debug)]
pub(crate) struct Restricted(pub(crate) &'static str);

impl fmt::Display for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restricted_callback: {}", self.0)
    }
}

impl std::error::Error for Restricted {}

impl Trap {
    /// Reads what wasmtime says.
    pub(crate) fn from_error(
        function: &'static str,
        error: &wasmtime::Error,
        deadline_passed: bool,
        memory_refused: bool,
    ) -> Trap {
        let reason = if let Some(Restricted(name)) = error.downcast_ref::<Restricted>() {
            TrapReason::RestrictedCall(name)
        } else if deadline_passed {
            TrapReason::Deadline
        } else {
            let what = match error.downcast_ref::<wasmtime::Trap>() {
                Some(wasmtime::Trap::UnreachableCodeReached) => "unreachable".to_owned(),
                Some(trap) => trap.to_string(),
                None => escape(error.root_cause().to_string().as_bytes(), 1000),
            };
            if memory_refused { TrapReason::OutOfMemory(what) } else { TrapReason::Wasm(what) }
        };
        let frame = |frame: &FrameInfo| Frame {
            offset: frame.module_offset(),
            index: frame.func_index(),
            name: frame.func_name().map(str::to_owned),
        };
        let stack = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
        Trap { function, reason, backtrace: stack.iter().map(frame).collect() }
    }

    /// The stack as lines of a log, after Envoy's; none when nothing is known of it.
    pub(crate) fn stack(&self) -> Vec<String> {
        let frames = self.backtrace.iter().enumerate().map(|(at, frame)| format!("{at:>3}:  {frame}"));
        let title = (!self.backtrace.is_empty()).then(|| "Proxy-Wasm plugin in-VM backtrace:".to_owned());
        title.into_iter().chain(frames).collect()
    }
}
