//! What a module's bytes say about it, read without compiling: imports, exports, sections, who made it. And what Envoy would say against it.

use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, KnownCustom, Parser, Payload, ProducersSectionReader, TypeRef,
    WasmFeatures,
};

use crate::{
    abi::AbiVersion,
    exports::{self, Signature},
    hostcalls::{self, Import},
    module::LoadError,
};

/// A module's outline.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) imports: Vec<Imported>,
    pub(crate) exports: Vec<Exported>,
    /// Name and size of each section, custom sections by their own names.
    pub(crate) sections: Vec<(String, usize)>,
    /// Field (`language`, `processed-by`, `sdk`), name, version.
    pub(crate) producers: Vec<(String, String, String)>,
    pub(crate) functions: u32,
    types: Vec<Option<FuncType>>,
    /// The type of each function, imported ones first.
    function_types: Vec<u32>,
}

/// An import. `ty` is `None` for anything but a function.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) ty: Option<String>,
}

/// An export. `ty` is `None` for anything but a function.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) ty: Option<String>,
}

impl Outline {
    /// Reads a module; the error says where it is broken.
    pub(crate) fn read(wasm: &[u8]) -> Result<Outline, LoadError> {
        let mut outline = Outline::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(invalid)?;
            outline.payload(payload).map_err(invalid)?;
        }
        Ok(outline)
    }

    fn payload(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        if let Some((id, range)) = payload.as_section() {
            let name = match &payload {
                Payload::CustomSection(custom) => format!("custom {}", custom.name()),
                _ => section_name(id).to_owned(),
            };
            self.sections.push((name, usize::try_from(range.end - range.start).unwrap_or(usize::MAX)));
        }
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    for ty in group?.into_types() {
                        self.types.push(match ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => Some(ty),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    let (kind, ty) = self.imported(import.ty);
                    self.imports.push(Imported {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        kind,
                        ty,
                    });
                }
            }
            Payload::FunctionSection(functions) => {
                self.functions = functions.count();
                for ty in functions {
                    self.function_types.push(ty?);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let (kind, ty) = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => ("function", self.function_type(export.index)),
                        ExternalKind::Table => ("table", None),
                        ExternalKind::Memory => ("memory", None),
                        ExternalKind::Global => ("global", None),
                        ExternalKind::Tag => ("tag", None),
                    };
                    self.exports.push(Exported { name: export.name.to_owned(), kind, ty });
                }
            }
            Payload::CustomSection(custom) => {
                if let KnownCustom::Producers(producers) = custom.as_known() {
                    self.read_producers(producers)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn imported(&mut self, ty: TypeRef) -> (&'static str, Option<String>) {
        match ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                self.function_types.push(index);
                ("function", self.printed_type(index))
            }
            TypeRef::Table(_) => ("table", None),
            TypeRef::Memory(_) => ("memory", None),
            TypeRef::Global(_) => ("global", None),
            TypeRef::Tag(_) => ("tag", None),
        }
    }

    fn function_type(&self, function: u32) -> Option<String> {
        self.printed_type(*self.function_types.get(usize::try_from(function).ok()?)?)
    }

    fn printed_type(&self, index: u32) -> Option<String> {
        self.types.get(usize::try_from(index).ok()?)?.as_ref().map(printed)
    }

    fn read_producers(&mut self, producers: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in producers {
            let field = field?;
            for value in field.values {
                let value = value?;
                self.producers.push((field.name.to_owned(), value.name.to_owned(), value.version.to_owned()));
            }
        }
        Ok(())
    }

    fn function_export(&self, name: &str) -> Option<&str> {
        self.exports
            .iter()
            .find(|export| export.name == name && export.kind == "function")
            .and_then(|export| export.ty.as_deref())
    }

    /// The version of the ABI: the first marker among the exports.
    pub(crate) fn abi(&self) -> Result<AbiVersion, LoadError> {
        let functions =
            || self.exports.iter().filter(|export| export.kind == "function").map(|export| export.name.as_str());
        let found = || functions().filter(|name| name.starts_with("proxy_abi_")).map(str::to_owned).collect();
        functions().find_map(AbiVersion::from_marker).ok_or_else(|| LoadError::UnknownAbi { found: found() })
    }

    /// The name of the memory it exports.
    pub(crate) fn memory(&self) -> Result<String, LoadError> {
        if self.imports.iter().any(|import| import.kind == "memory") {
            return Err(LoadError::ImportedMemory);
        }
        self.exports
            .iter()
            .find(|export| export.kind == "memory")
            .map(|export| export.name.clone())
            .ok_or(LoadError::NoMemory)
    }

    /// Everything for which Envoy refuses the module, or this host does; in the order Envoy looks.
    pub(crate) fn refusals(&self) -> Vec<LoadError> {
        let mut refusals = Vec::new();
        let abi = match self.abi() {
            Ok(abi) => abi,
            Err(error) => return vec![error],
        };
        let offered = hostcalls::imports(abi);
        refusals.extend(
            self.imports
                .iter()
                .filter(|import| import.kind != "memory")
                .filter_map(|import| refused_import(import, &offered, abi)),
        );
        refusals.extend(self.memory().err());
        if self.function_export("malloc").or_else(|| self.function_export("proxy_on_memory_allocate")).is_none() {
            refusals.push(LoadError::MissingMalloc);
        }
        refusals.extend(self.exports.iter().filter_map(|export| self.refused_export(export, abi)));
        refusals
    }

    fn refused_export(&self, export: &Exported, abi: AbiVersion) -> Option<LoadError> {
        let reactor = self.function_export("_initialize").is_some();
        let looked_up = match export.name.as_str() {
            "_start" => !reactor,
            "main" | "__main_void" => reactor,
            "proxy_on_memory_allocate" => self.function_export("malloc").is_none(),
            _ => true,
        };
        let have = export.ty.as_deref()?;
        let want = wanted(exports::signature(&export.name, abi).filter(|_| looked_up)?);
        (want != have).then(|| LoadError::BadSignature { export: export.name.clone(), want, have: have.to_owned() })
    }
}

/// Is the whole of it WebAssembly that could be compiled?
pub(crate) fn validate(wasm: &[u8]) -> Result<(), LoadError> {
    let features = WasmFeatures::WASM2 | WasmFeatures::TAIL_CALL | WasmFeatures::EXTENDED_CONST;
    wasmparser::Validator::new_with_features(features).validate_all(wasm).map(drop).map_err(invalid)
}

fn invalid(error: wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Invalid(error.to_string())
}

fn refused_import(import: &Imported, offered: &[Import], abi: AbiVersion) -> Option<LoadError> {
    let (module, name) = (import.module.clone(), import.name.clone());
    let is_this = |offer: &&Import| offer.module == import.module && offer.name == import.name;
    match (offered.iter().find(is_this), &import.ty) {
        (Some(have), Some(want)) if have.ty == *want => None,
        (Some(have), Some(want)) => {
            Some(LoadError::ImportTypeMismatch { module, name, want: want.clone(), have: have.ty.clone() })
        }
        _ => {
            let other_version = AbiVersion::ALL
                .into_iter()
                .any(|other| other != abi && hostcalls::imports(other).iter().any(|offer| is_this(&offer)));
            Some(LoadError::MissingImport { module, name, abi, other_version })
        }
    }
}

fn wanted(want: Signature) -> String {
    format!("{} -> {}", words(vec!["i32"; want.params]), words(vec!["i32"; usize::from(want.result)]))
}

/// As V8 prints it: `i32 i32 -> i32`, `void` for nothing.
fn printed(ty: &FuncType) -> String {
    let names = |types: &[wasmparser::ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>();
    format!("{} -> {}", words(names(ty.params())), words(names(ty.results())))
}

fn words<S: AsRef<str>>(words: Vec<S>) -> String {
    if words.is_empty() { "void".to_owned() } else { words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ") }
}

fn section_name(id: u8) -> &'static str {
    match id {
        0 => "custom",
        1 => "type",
        2 => "import",
        3 => "function",
        4 => "table",
        5 => "memory",
        6 => "global",
        7 => "export",
        8 => "start",
        9 => "element",
        10 => "code",
        11 => "data",
        12 => "data count",
        13 => "tag",
        _ => "other",
    }
}
