//! `host-sim pack`: a module as an OCI image layout that Istio's puller accepts, the same bytes every time.
//!
//! Two forms. The default has the two layers of the Wasm artifact format (a configuration, the module as it is). `--compat`
//! is an ordinary image with one `tar+gzip` layer that holds `plugin.wasm`, for registries that take nothing else.
//!
//! Source: `extractOCIArtifactImage` and `extractOCIStandardImage` in Istio's `pkg/wasm/imagefetcher.go`.

mod archive;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sha2::Digest;

use crate::command_line::PackArgs;
use crate::failure::Failure;
use crate::inputs;
use crate::say;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Writes the layout and says how it is called and pushed.
///
/// # Errors
/// A module that Envoy would refuse (exit 4); files that cannot be read or written (exit 5).
pub(crate) fn pack(args: &PackArgs) -> Result<(), Failure> {
    let wasm = inputs::bytes(&args.module)?;
    let inspection = vm::inspect(&wasm);
    if !inspection.refused.is_empty() {
        let reasons = inspection.refused.join("; ");
        return Err(Failure::Module(format!("{}: Envoy would refuse it: {reasons}", args.module.display())));
    }
    let labels = labels(args, &inspection);
    let layout = layout(wasm, &labels, args).map_err(|error| Failure::World(format!("plugin.wasm: {error}")))?;
    layout.write(&args.output)?;
    say::answer_line(&layout.digest)?;
    let (output, tag) = (args.output.display(), &args.tag);
    say::note(format_args!(
        "{output}: an OCI image layout; push it with: skopeo copy oci:{output}:{tag} docker://REGISTRY/REPOSITORY:{tag}"
    ));
    Ok(())
}

/// Where it comes from: what the module says of itself, what the user adds. No time and no machine: the same module packs
/// to the same bytes, `SOURCE_DATE_EPOCH` aside.
fn labels(args: &PackArgs, inspection: &vm::Inspection) -> BTreeMap<String, String> {
    let stem = args.module.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut labels = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), stem),
        ("org.opencontainers.image.base.name".to_owned(), "scratch".to_owned()),
        ("dev.sluice.wasm.sha256".to_owned(), inspection.sha256.clone()),
        ("dev.sluice.wasm.producers".to_owned(), inspection.producers.join(", ")),
        ("dev.sluice.wasm.languages".to_owned(), inspection.languages.join(", ")),
    ]);
    if let Some(abi) = inspection.abi_version {
        labels.insert("dev.sluice.wasm.abi".to_owned(), abi.to_string());
    }
    if let Some(created) =
        std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).and_then(archive::rfc3339)
    {
        labels.insert("org.opencontainers.image.created".to_owned(), created);
    }
    labels.extend(args.label.iter().cloned());
    labels
}

/// The files of a layout.
struct Layout {
    /// `sha256:…` of the manifest: what `@sha256:…` in a plugin's url names.
    digest: String,
    blobs: Vec<Blob>,
    index: Vec<u8>,
}

struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Blob {
        let digest = sha2::Sha256::digest(&bytes);
        Blob { digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(), bytes }
    }

    fn json(value: &Value) -> Blob {
        Blob::new(value.to_string().into_bytes())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.bytes.len()})
    }
}

fn layout(wasm: Vec<u8>, labels: &BTreeMap<String, String>, args: &PackArgs) -> std::io::Result<Layout> {
    let (mut layers, mut diffs) = (Vec::new(), Vec::new());
    if args.compat {
        let tar = archive::tar("plugin.wasm", &wasm)?;
        diffs.push(format!("sha256:{}", Blob::new(tar.clone()).digest));
        layers.push((LAYER, Blob::new(archive::gzip(&tar)?)));
    } else {
        let config = Blob::json(&json!({"type": "envoy_proxy", "abiVersions": labels.get("dev.sluice.wasm.abi")}));
        layers.extend([(WASM_CONFIG, config), (WASM, Blob::new(wasm))]);
        diffs.extend(layers.iter().map(|(_, layer)| format!("sha256:{}", layer.digest)));
    }
    let config = Blob::json(&json!({
        "architecture": "wasm",
        "os": "wasi",
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    }));
    let manifest = Blob::json(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(CONFIG),
        "layers": layers.iter().map(|(media_type, layer)| layer.descriptor(media_type)).collect::<Vec<_>>(),
        "annotations": labels,
    }));
    let mut named = manifest.descriptor(MANIFEST);
    if let Some(named) = named.as_object_mut() {
        named.insert("annotations".to_owned(), json!({"org.opencontainers.image.ref.name": args.tag}));
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [named],
    });
    let digest = format!("sha256:{}", manifest.digest);
    let blobs = layers.into_iter().map(|(_, layer)| layer).chain([config, manifest]).collect();
    Ok(Layout { digest, blobs, index: index.to_string().into_bytes() })
}

impl Layout {
    fn write(&self, folder: &Path) -> Result<(), Failure> {
        let blobs = folder.join("blobs").join("sha256");
        let failed = |path: &Path, error: std::io::Error| Failure::World(format!("{}: {error}", path.display()));
        std::fs::create_dir_all(&blobs).map_err(|error| failed(&blobs, error))?;
        let put = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(|error| failed(path, error));
        put(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        for blob in &self.blobs {
            put(&blobs.join(&blob.digest), &blob.bytes)?;
        }
        put(&folder.join("index.json"), &self.index)
    }
}
