//! traffic-shift: sends a share of the requests elsewhere, the same users every time.
#![allow(missing_docs, reason = "the SDK's macro writes the module's entry point without a word")]

use policy::traffic_shift::TrafficShift;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| guest::root::<TrafficShift>());
}}
