//! One table of sentences, run natively and in wasm32 under node.

/// Turns functions into tests of both worlds.
#[macro_export]
#[doc(hidden)]
macro_rules! sentences {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)*) => {
        $(
            $(#[$attribute])*
            #[cfg_attr(not(all(target_arch = "wasm32", target_os = "unknown")), test)]
            #[cfg_attr(all(target_arch = "wasm32", target_os = "unknown"), wasm_bindgen_test::wasm_bindgen_test)]
            fn $name() $body
        )*
    };
}
