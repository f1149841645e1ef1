//! suite: the five modules in one pass over a request.
#![allow(missing_docs, reason = "the SDK's macro writes the module's entry point without a word")]

use policy::suite::Suite;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| guest::root::<Suite>());
}}
