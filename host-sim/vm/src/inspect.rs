//! A module seen from outside: what it is, what it wants, and what Envoy would say against it.

use crate::{
    abi::AbiVersion,
    cache::Digest,
    module::LoadError,
    outline::{self, Outline},
};

/// What can be said of a module without running it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Inspection {
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Bytes of all of it.
    pub size: usize,
    /// The ABI it was built for, if it is one Envoy hosts.
    pub abi_version: Option<AbiVersion>,
    /// Exports that look like markers of an ABI, known or not.
    pub abi_markers: Vec<String>,
    /// Languages it was written in, as its producers section and its exports tell.
    pub languages: Vec<String>,
    /// Tools that made it, from its producers section: `rustc 1.95.0`.
    pub producers: Vec<String>,
    /// Callbacks a host will call.
    pub callbacks: Vec<String>,
    /// What it imports.
    pub imports: Vec<ImportSeen>,
    /// What it exports.
    pub exports: Vec<ExportSeen>,
    /// Bytes of each section, in order.
    pub sections: Vec<Section>,
    /// Functions of its own.
    pub functions: u32,
    /// Root ids it registers, where the bytes tell; most modules take any, or decide when they run.
    pub root_ids: Vec<String>,
    /// Why Envoy, or this host, will not load it; empty when it will.
    pub refused: Vec<String>,
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct ImportSeen {
    pub module: String,
    pub name: String,
    /// `i32 i32 -> i32` for a function, else what it is.
    #[serde(rename = "type")]
    pub ty: String,
}

/// One export.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct ExportSeen {
    pub name: String,
    /// `i32 i32 -> i32` for a function, else what it is.
    #[serde(rename = "type")]
    pub ty: String,
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct Section {
    pub name: String,
    pub bytes: usize,
}

/// Looks at a module. Bytes that are none have an inspection too: it says so.
pub fn inspect(wasm: &[u8]) -> Inspection {
    let (outline, broken) = match Outline::read(wasm) {
        Ok(outline) => (outline, outline::validate(wasm).err()),
        Err(error) => (Outline::default(), Some(error)),
    };
    let refused: Vec<LoadError> = match broken {
        Some(error) => vec![error],
        None => outline.refusals(),
    };
    Inspection {
        sha256: Digest::of(wasm).to_string(),
        size: wasm.len(),
        abi_version: outline.abi().ok(),
        abi_markers: names(&outline, |name| name.starts_with("proxy_abi_")),
        languages: languages(&outline, wasm),
        producers: outline
            .producers
            .iter()
            .filter(|(field, _, _)| field != "language")
            .map(|(_, name, version)| format!("{name} {version}").trim_end().to_owned())
            .collect(),
        callbacks: names(&outline, |name| name.starts_with("proxy_on_") && name != "proxy_on_memory_allocate"),
        imports: outline
            .imports
            .iter()
            .map(|import| ImportSeen {
                module: import.module.clone(),
                name: import.name.clone(),
                ty: import.ty.clone().unwrap_or_else(|| import.kind.to_owned()),
            })
            .collect(),
        exports: outline
            .exports
            .iter()
            .map(|export| ExportSeen {
                name: export.name.clone(),
                ty: export.ty.clone().unwrap_or_else(|| export.kind.to_owned()),
            })
            .collect(),
        sections: outline.sections.iter().map(|(name, bytes)| Section { name: name.clone(), bytes: *bytes }).collect(),
        functions: outline.functions,
        root_ids: Vec::new(),
        refused: refused.iter().map(ToString::to_string).collect(),
    }
}

fn names(outline: &Outline, which: impl Fn(&str) -> bool) -> Vec<String> {
    outline.exports.iter().map(|export| &export.name).filter(|name| which(name)).cloned().collect()
}

/// Compilers that write no producers section are known by their runtime's exports, or by the names of its sources in their messages.
fn languages(outline: &Outline, wasm: &[u8]) -> Vec<String> {
    let mut languages: Vec<String> =
        outline.producers.iter().filter(|(field, _, _)| field == "language").map(|(_, name, _)| name.clone()).collect();
    let exports = |name: &str| outline.exports.iter().any(|export| export.name == name);
    if languages.is_empty() {
        let guess = [
            ("AssemblyScript", exports("__new") && exports("__collect") || mentions_its_library(wasm)),
            ("Go (TinyGo)", exports("resume") && exports("go_scheduler")),
            ("C++", exports("emscripten_stack_init") || exports("__wasm_call_ctors")),
        ];
        languages.extend(guess.into_iter().filter(|(_, yes)| *yes).take(1).map(|(name, _)| name.to_owned()));
    }
    languages
}

/// AssemblyScript keeps its strings in UTF-16, and names its library's files when it aborts.
fn mentions_its_library(wasm: &[u8]) -> bool {
    const PATH: &[u8] = b"~\0l\0i\0b\0/\0";
    wasm.windows(PATH.len()).any(|window| window == PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Inspection {
        inspect(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn a_good_module_is_described_and_not_refused() {
        let seen = of(
            r#"(module (import "env" "proxy_log" (func (param i32 i32 i32) (result i32))) (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_0")) (func (export "malloc") (param i32) (result i32) (i32.const 0)) (func (export "proxy_on_tick") (param i32)))"#,
        );
        assert_eq!((seen.abi_version, seen.refused.len(), seen.functions), (Some(AbiVersion::V0_2_0), 0, 3));
        assert_eq!(seen.callbacks, ["proxy_on_tick"]);
        assert_eq!(
            seen.imports,
            [ImportSeen { module: "env".into(), name: "proxy_log".into(), ty: "i32 i32 i32 -> i32".into() }]
        );
    }

    #[test]
    fn a_language_is_known_by_what_its_compiler_says_or_by_the_traces_it_leaves() {
        let assembly_script =
            of(r#"(module (memory (export "memory") 1) (data (i32.const 0) "~\00l\00i\00b\00/\00r\00t\00"))"#);
        assert_eq!(assembly_script.languages, ["AssemblyScript"]);
        let unknown = of(r#"(module (memory (export "memory") 1) (data (i32.const 0) "~lib/rt"))"#);
        assert_eq!(unknown.languages, [""; 0]);
    }

    #[test]
    fn every_reason_for_a_refusal_is_named() {
        let seen = of(
            r#"(module (import "env" "proxy_nothing" (func)) (import "env" "proxy_get_log_level" (func (param i32) (result i32))) (import "env" "proxy_log" (func (param i64)))
            (func (export "proxy_abi_version_0_1_0")) (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#,
        );
        assert_eq!(
            seen.refused,
            [
                "Failed to load Wasm module due to a missing import: env.proxy_nothing",
                "Failed to load Wasm module due to a missing import: env.proxy_get_log_level (it belongs to another version of the ABI than the module's 0.1.0)",
                "Failed to load Wasm module due to an import type mismatch: env.proxy_log, want: i64 -> void, but host exports: i32 i32 i32 -> i32",
                "the module does not export a memory",
                "Wasm module is missing malloc function.",
                "Bad function signature for: proxy_on_request_headers, want: i32 i32 -> i32, but the module exports: i32 i32 i32 -> i32",
            ]
        );
    }

    #[test]
    fn a_vendors_abi_and_plain_bytes_are_refused_by_name() {
        let seen = of(r#"(module (func (export "proxy_abi_version_0_2_100")))"#);
        assert_eq!(
            (seen.abi_version, seen.abi_markers.as_slice()),
            (None, &["proxy_abi_version_0_2_100".to_owned()][..])
        );
        assert!(
            seen.refused[0]
                .starts_with("Missing or unknown Proxy-Wasm ABI version: the module exports proxy_abi_version_0_2_100"),
            "{:?}",
            seen.refused
        );
        for bytes in [&b""[..], b"not wasm", b"\0asm\x01\0\0\0\xff", b"\0asm\x0d\0\x01\0"] {
            assert_eq!(inspect(bytes).refused.len(), 1, "{bytes:?}");
        }
    }
}
