//! uri-rewrite: gives requests another path or authority.
#![allow(missing_docs, reason = "the SDK's macro writes the module's entry point without a word")]

use policy::uri_rewrite::UriRewrite;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| guest::root::<UriRewrite>());
}}
