//! `host-sim routes`, `chain` and `pack`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod command;

use command::{code, door, host_sim, in_folder, manifests, module, stderr, stdout, virtual_service};
use serde_json::Value;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/shop");

fn json(args: &[&str]) -> Value {
    let output = host_sim(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn routes_tell_where_each_row_was_written_and_why_it_stands_there() {
    let tables = json(&["routes", "-f", EXAMPLE, "-o", "json"]);
    let rows = tables["listeners"][0]["virtual_hosts"][0]["routes"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["old-address", "old-address", "health", "cart", "cart", "catalog-beta", "catalog"]);
    for row in rows {
        let file = std::fs::read_to_string(row["file"].as_str().unwrap()).unwrap();
        let line = usize::try_from(row["line"].as_u64().unwrap()).unwrap();
        assert!(file.lines().nth(line - 1).unwrap().contains("- "), "{row}");
    }
    assert_eq!(
        rows[6]["action"],
        "outbound|8080|v1|catalog.shop.svc.cluster.local (90), outbound|8080|v2|catalog.shop.svc.cluster.local (10)"
    );
    let text = stdout(&host_sim(&["routes", "-f", EXAMPLE]));
    assert!(text.contains("host shop.example.com:80") && text.contains("virtualservice.yaml:"), "{text}");
}

/// Two VirtualServices of one host; the catch-all of the first goes behind the second.
fn two(a: &str, b: &str) -> String {
    let first = "    - {name: one, match: [{uri: {exact: /one}}], directResponse: {status: 200}}
    - {name: all, directResponse: {status: 201}}
";
    let second = "    - {name: two, match: [{uri: {exact: /two}}], directResponse: {status: 200}}\n";
    let aged = |text: String, age: &str| text.replace("namespace: shop}", &format!("namespace: shop{age}}}"));
    manifests(&[
        &door("[shop.example]"),
        &aged(virtual_service("a", "[shop.example]", first), a),
        &aged(virtual_service("b", "[shop.example]", second), b),
    ])
}

#[test]
fn the_order_of_two_virtual_services_of_one_host_is_explained() {
    let created = |text: &str| if text.is_empty() { String::new() } else { format!(", creationTimestamp: \"{text}\"") };
    for (a, b, order, reason) in [
        ("", "", ["one", "two", "all"], "by name: no creationTimestamp"),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", ["two", "one", "all"], "the older comes first"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", ["one", "two", "all"], "as old, so by name"),
    ] {
        let manifests = two(&created(a), &created(b));
        let folder = in_folder(&[("all.yaml", &manifests)]);
        let tables = json(&["routes", "-o", "json", "-f", folder.path().to_str().unwrap()]);
        let rows = tables["listeners"][0]["virtual_hosts"][0]["routes"].as_array().unwrap();
        let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, order);
        assert!(rows[1]["reason"].as_str().unwrap().contains(reason), "{}", rows[1]);
        // Only where another's rows went in between has it moved.
        let moved = rows[2]["reason"].as_str().unwrap().contains("Istio puts it last");
        assert_eq!(moved, order[1] == "two", "{}", rows[2]);
    }
}

#[test]
fn a_chain_tells_why_each_filter_stands_where_it_stands() {
    let chains = json(&["chain", "-f", EXAMPLE, "-o", "json"]);
    let filters = chains["listeners"][0]["filters"].as_array().unwrap();
    let plugin = filters.iter().find(|filter| filter["name"] == "istio-system/header-match").unwrap();
    assert!(plugin["reason"].as_str().unwrap().contains("no phase"), "{plugin}");
    assert!(plugin["file"].as_str().unwrap().ends_with("wasmplugin.yaml"), "{plugin}");
    assert_eq!(plugin["failure_policy"], "FAIL_CLOSE");
    assert_eq!(filters.last().unwrap()["name"], "envoy.filters.http.router");
    for filter in filters {
        assert!(!filter["reason"].as_str().unwrap().is_empty(), "{filter}");
    }
    let text = stdout(&host_sim(&["chain", "-f", EXAMPLE]));
    assert!(text.contains("istio-system/header-match FAIL_CLOSE ("), "{text}");
}

fn blob(folder: &std::path::Path, descriptor: &Value) -> Vec<u8> {
    use sha2::Digest;
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = std::fs::read(folder.join("blobs/sha256").join(digest)).unwrap();
    let own: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((own.as_str(), bytes.len()), (digest, usize::try_from(descriptor["size"].as_u64().unwrap()).unwrap()));
    bytes
}

fn packed(folder: &std::path::Path, extra: &[&str]) -> (String, Value) {
    let wasm = module("header-match");
    let output = host_sim(&[&["pack", &wasm, "-o", folder.to_str().unwrap(), "--tag", "1.0"], extra].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.0");
    let manifest = serde_json::from_slice(&blob(folder, &index["manifests"][0])).unwrap();
    (stdout(&output), manifest)
}

#[test]
fn a_packed_module_has_the_two_layers_that_istio_pulls() {
    let folder = tempfile::tempdir().unwrap();
    let (digest, manifest) = packed(folder.path(), &["--label", "org.opencontainers.image.revision=abc"]);
    assert!(digest.starts_with("sha256:"));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    assert_eq!(layers[1]["mediaType"], "application/vnd.module.wasm.content.layer.v1+wasm");
    assert_eq!(blob(folder.path(), &layers[1]), std::fs::read(module("header-match")).unwrap());
    let config: Value = serde_json::from_slice(&blob(folder.path(), &manifest["config"])).unwrap();
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.revision"], "abc");
    assert_eq!(labels["dev.sluice.wasm.abi"], "0.2.1");
    assert_eq!(labels, &manifest["annotations"]);
    assert_eq!(config["rootfs"]["diff_ids"][1], layers[1]["digest"]);
}

#[test]
fn the_compat_form_is_an_image_with_plugin_wasm_in_its_last_layer() {
    let folder = tempfile::tempdir().unwrap();
    let (_, manifest) = packed(folder.path(), &["--compat"]);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &layers[0]["mediaType"]), (1, &"application/vnd.oci.image.layer.v1.tar+gzip".into()));
    let layer = blob(folder.path(), &layers[0]);
    assert_eq!(layer[..3], [0x1f, 0x8b, 8]);
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&layer[..]), &mut tar).unwrap();
    let wasm = std::fs::read(module("header-match")).unwrap();
    assert_eq!((&tar[..11], &tar[512..512 + wasm.len()]), (&b"plugin.wasm"[..], &wasm[..]));
}

#[test]
fn the_same_module_packs_to_the_same_bytes() {
    let files = |folder: &std::path::Path| {
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    all.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
        all.sort();
        all
    };
    for form in [&[][..], &["--compat"]] {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        packed(one.path(), form);
        packed(other.path(), form);
        assert_eq!(files(one.path()), files(other.path()));
    }
}

#[test]
fn what_envoy_would_refuse_is_not_packed() {
    let folder = in_folder(&[("empty.wasm", "\0asm\u{1}\0\0\0")]);
    let (wasm, out) = (folder.path().join("empty.wasm"), folder.path().join("out"));
    let output = host_sim(&["pack", wasm.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    assert!(!out.exists());
}
