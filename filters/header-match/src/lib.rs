//! header-match: marks requests, answers them, or sends them elsewhere, by path, headers, cookies, query and client.

#![allow(missing_docs, reason = "the SDK's macro writes the module's entry point without a word")]

use policy::header_match::HeaderMatch;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| guest::root::<HeaderMatch>());
}}
