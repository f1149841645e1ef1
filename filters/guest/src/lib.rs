//! The glue every module shares: reads a request once, asks `policy`, performs what it decided.
//!
//! No rule of the domain lives here, and no panic: hostcalls go through [`abi`], which takes every status a
//! proxy may give, where the SDK's own wrappers end the VM. Contexts and callbacks are the SDK's.

mod abi;
mod counters;
mod log;
mod plan;
mod plugin;
mod request;
mod waiting;

pub use plugin::Plugin;

use policy::Module;
use proxy_wasm::traits::RootContext;

/// The root context of a module: `proxy_wasm::set_root_context(|_| guest::root::<HeaderMatch>())`.
pub fn root<M: Module + 'static>() -> Box<dyn RootContext> {
    Box::new(Plugin::<M>::new())
}
