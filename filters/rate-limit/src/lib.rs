//! rate-limit: so much and no more, in every worker together.
#![allow(missing_docs, reason = "the SDK's macro writes the module's entry point without a word")]

use policy::rate_limit::RateLimit;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| guest::root::<RateLimit>());
}}
