//! Modules written as text, for tests.

/// A module of ABI 0.2.1 with a memory of two pages, a `malloc` that never frees, and what `body` adds. Imports come first.
pub(crate) fn module_text(imports: &str, body: &str) -> String {
    format!(
        r#"(module
            {imports}
            (memory (export "memory") 2)
            (global $free (mut i32) (i32.const 65536))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param $size i32) (result i32)
                global.get $free
                global.get $free local.get $size i32.add global.set $free)
            {body})"#
    )
}
