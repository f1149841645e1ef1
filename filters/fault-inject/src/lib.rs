//! fault-inject: delays requests and answers them as an origin would on a bad day.
#![allow(missing_docs, reason = "the SDK's macro writes the module's entry point without a word")]

use policy::fault_inject::FaultInject;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| guest::root::<FaultInject>());
}}
