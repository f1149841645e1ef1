//! Modules that are pulled: what `pack` makes comes back through a registry and runs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod registry;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::Digest;

use registry::{Guard, Registry, USER};
use tests::{host_sim, repository};

/// An exit code.
fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {output:?}"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Adds `x-pulled: ` and four letters to every request.
fn module(letters: &str) -> Vec<u8> {
    assert_eq!(letters.len(), 4);
    wat::parse_str(format!(
        r#"(module
            (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 256) "x-pulled{letters}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $add (i32.const 0) (i32.const 256) (i32.const 8) (i32.const 264) (i32.const 4)))
                (i32.const 0)))"#
    ))
    .unwrap()
}

/// A folder with a gateway, a home of its own, and whatever the plugin is.
struct Here {
    folder: tempfile::TempDir,
}

const GATEWAY: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [door]
  http: [{route: [{destination: {host: cart, port: {number: 80}}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
"#;

impl Here {
    fn new() -> Here {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), GATEWAY).unwrap();
        Here { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A layout that holds the module under a tag, and the digest `pack` says it has.
    fn pack(&self, letters: &str, tag: &str, more: &[&str]) -> (PathBuf, String) {
        let file = self.path(&format!("{letters}.wasm"));
        std::fs::write(&file, module(letters)).unwrap();
        let layout = self.path(&format!("{letters}-{tag}{}", more.concat()));
        let arguments = ["pack", file.to_str().unwrap(), "-o", layout.to_str().unwrap(), "--tag", tag];
        let output = Command::new(host_sim::binary().unwrap()).args(arguments).args(more).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        (layout, stdout(&output).trim().strip_prefix("sha256:").unwrap().to_owned())
    }

    /// The plugin's manifest.
    fn plugin(&self, fields: &Value) {
        let plugin = json!({
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": {"name": "pulled", "namespace": "istio-system"},
            "spec": fields,
        });
        std::fs::write(self.path("plugin.json"), plugin.to_string()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_sim::binary().unwrap());
        command.args(arguments).arg("-f").arg(self.path("gateway.yaml")).arg("-f").arg(self.path("plugin.json"));
        if self.path("secret.yaml").is_file() {
            command.arg("-f").arg(self.path("secret.yaml"));
        }
        command.env("HOME", self.folder.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command.env("DOCKER_CONFIG", self.path("docker"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        if self.path("roots.pem").is_file() {
            command.env("SSL_CERT_FILE", self.path("roots.pem"));
        }
        command
    }

    /// Asks the gateway with the plugin for `/`.
    fn explain(&self, more: &[&str]) -> Output {
        let arguments = [&["explain", "-o", "json", "http://shop.example/"], more].concat();
        self.command(&arguments).output().unwrap()
    }

    /// The letters of the module that ran.
    fn ran(&self) -> String {
        let output = self.explain(&["--pull"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let story: Value = serde_json::from_slice(&output.stdout).unwrap();
        let headers = story["upstream_request"]["headers"].as_array().unwrap();
        let pulled = headers.iter().find(|header| header[0] == "x-pulled");
        pulled.unwrap_or_else(|| panic!("no x-pulled in {story}"))[1].as_str().unwrap().to_owned()
    }

    /// What is said of a module that does not come.
    fn refusal(&self) -> String {
        let output = self.explain(&["--pull"]);
        assert_eq!(code(&output), 5, "{}{}", stdout(&output), stderr(&output));
        stderr(&output)
    }
}

fn docker_config(address: &str, user: &str) -> String {
    json!({"auths": {address: {"auth": BASE64_STANDARD.encode(user)}}}).to_string()
}

fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_packed_is_pulled_and_kept_in_both_forms() {
    for form in [&[][..], &["--compat"]] {
        let (here, registry) = (Here::new(), Registry::start(Guard::Anybody));
        let (layout, digest) = here.pack("one.", "1", form);
        registry.serve("team/one", &layout);
        here.plugin(&json!({"url": format!("oci://{}/team/one:1", registry.address)}));
        let output = here.explain(&["--pull"]);
        assert!(
            stderr(&output).contains(&format!("plugin istio-system/pulled: pulled oci://{}", registry.address)),
            "{}",
            stderr(&output)
        );
        assert!(stderr(&output).contains(&digest));
        assert_eq!(registry.take_asked().len(), 2, "a manifest and a layer");
        assert_eq!(here.ran(), "one.");
        assert_eq!(registry.take_asked(), Vec::<String>::new(), "it was here");
    }
}

#[test]
fn a_traffic_extension_is_pulled_as_well() {
    let (here, registry) = (Here::new(), Registry::start(Guard::Anybody));
    registry.serve("one", &here.pack("one.", "1", &[]).0);
    let extension = json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "TrafficExtension",
        "metadata": {"name": "pulled", "namespace": "istio-system"},
        // Without a scheme it is oci://.
        "spec": {"wasm": {"url": format!("{}/one:1", registry.address)}},
    });
    std::fs::write(here.path("plugin.json"), extension.to_string()).unwrap();
    assert_eq!(here.ran(), "one.");
}

#[test]
fn the_policy_says_when_a_tag_that_moved_is_noticed() {
    for (policy, tag, after) in [
        ("IfNotPresent", "1", "one."),
        ("Always", "1", "two."),
        ("UNSPECIFIED_POLICY", "1", "one."),
        ("UNSPECIFIED_POLICY", "latest", "two."),
    ] {
        let (here, registry) = (Here::new(), Registry::start(Guard::Anybody));
        registry.serve("it", &here.pack("one.", tag, &[]).0);
        here.plugin(&json!({"url": format!("oci://{}/it:{tag}", registry.address), "imagePullPolicy": policy}));
        assert_eq!(here.ran(), "one.");
        registry.take_asked();
        assert_eq!(here.ran(), "one.");
        // A tag that is looked at again has the digest it had: no layer is fetched.
        let manifest = format!("/v2/it/manifests/{tag}");
        assert_eq!(registry.take_asked(), if after == "two." { vec![manifest] } else { vec![] }, "{policy} {tag}");
        registry.serve("it", &here.pack("two.", tag, &[]).0);
        assert_eq!(here.ran(), after, "{policy} {tag}");
    }
}

#[test]
fn an_image_s_digest_is_its_manifest_s() {
    let (here, registry) = (Here::new(), Registry::start(Guard::Anybody));
    let (layout, digest) = here.pack("one.", "1", &[]);
    registry.serve("it", &layout);
    let url = format!("oci://{}/it:1", registry.address);
    here.plugin(&json!({"url": url, "sha256": digest}));
    assert_eq!(here.ran(), "one.");
    here.plugin(&json!({"url": format!("oci://{}/it@sha256:{digest}", registry.address)}));
    assert_eq!(here.ran(), "one.");
    let other = sha256(&module("one."));
    here.plugin(&json!({"url": url, "sha256": other}));
    let refusal = here.refusal();
    assert!(refusal.contains(&format!("the image has sha256 {digest}, the manifest asks for {other}")), "{refusal}");
}

#[test]
fn credentials_come_from_the_secret_or_this_machine() {
    for guard in [Guard::Basic, Guard::Token] {
        let (here, registry) = (Here::new(), Registry::start(guard));
        let address = registry.address.to_string();
        registry.serve("team/it", &here.pack("one.", "1", &[]).0);
        let spec = json!({"url": format!("oci://{address}/team/it:1"), "imagePullPolicy": "Always"});
        here.plugin(&spec);
        assert!(here.refusal().contains("not with these credentials"));
        std::fs::create_dir(here.path("docker")).unwrap();
        std::fs::write(here.path("docker/config.json"), docker_config(&address, USER)).unwrap();
        assert_eq!(here.ran(), "one.");
        std::fs::write(here.path("docker/config.json"), docker_config(&address, "eve:guess")).unwrap();
        assert!(here.refusal().contains("not with these credentials"));
        let mut spec = spec;
        spec["imagePullSecret"] = "registry".into();
        here.plugin(&spec);
        let secret = |kind: &str, config: &str| {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry", "namespace": "istio-system"},
                "type": kind, "data": {".dockerconfigjson": BASE64_STANDARD.encode(config)},
            });
            std::fs::write(here.path("secret.yaml"), secret.to_string()).unwrap();
        };
        secret("kubernetes.io/dockerconfigjson", &docker_config(&address, USER));
        assert_eq!(here.ran(), "one.");
        // A Secret of another type is none; this machine's credentials stand in, and they are eve's.
        secret("Opaque", &docker_config(&address, USER));
        assert!(here.refusal().contains("not with these credentials"));
    }
}

/// Docker's protocol: the registry on standard input, a name and a secret on standard output.
#[test]
fn a_credential_helper_is_asked_where_the_configuration_names_one() {
    let (here, registry) = (Here::new(), Registry::start(Guard::Basic));
    let address = registry.address.to_string();
    registry.serve("team/it", &here.pack("one.", "1", &[]).0);
    here.plugin(&json!({"url": format!("oci://{address}/team/it:1"), "imagePullPolicy": "Always"}));
    for folder in ["docker", "bin"] {
        std::fs::create_dir(here.path(folder)).unwrap();
    }
    let helper = |body: &str| {
        let file = here.path("bin/docker-credential-vault");
        let asked = here.path("asked");
        std::fs::write(&file, format!("#!/bin/sh\n{{ echo \"$1\"; cat; }} > {}\n{body}\n", asked.display())).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let (user, password) = USER.split_once(':').unwrap();
    let known = json!({"ServerURL": address, "Username": user, "Secret": password});
    for config in [json!({"credHelpers": {address.clone(): "vault"}}), json!({"credsStore": "vault"})] {
        std::fs::write(here.path("docker/config.json"), config.to_string()).unwrap();
        helper(&format!("echo '{known}'"));
        assert_eq!(here.ran(), "one.", "{config}");
        assert_eq!(std::fs::read_to_string(here.path("asked")).unwrap(), format!("get\n{address}"));
        helper("echo 'credentials not found in native keychain'; exit 1");
        assert!(here.refusal().contains("not with these credentials"), "anonymous, and the registry wants more");
        helper("echo 'the vault is sealed'; exit 1");
        let refusal = here.refusal();
        assert!(refusal.contains("docker-credential-vault: the vault is sealed"), "{refusal}");
        std::fs::remove_file(here.path("bin/docker-credential-vault")).unwrap();
        let refusal = here.refusal();
        assert!(refusal.contains("docker-credential-vault: No such file"), "{refusal}");
    }
}

#[test]
fn a_certificate_must_be_signed_by_whom_this_machine_trusts() {
    let here = Here::new();
    let (registry, certificate) = Registry::start_with_tls(Guard::Basic);
    let address = registry.address.to_string();
    registry.serve("it", &here.pack("one.", "1", &[]).0);
    std::fs::create_dir(here.path("docker")).unwrap();
    std::fs::write(here.path("docker/config.json"), docker_config(&address, USER)).unwrap();
    here.plugin(&json!({"url": format!("oci://{address}/it:1")}));
    assert!(here.refusal().contains("invalid peer certificate"), "{}", here.refusal());
    std::fs::write(here.path("roots.pem"), certificate).unwrap();
    assert_eq!(here.ran(), "one.");
}

#[test]
fn a_web_server_s_module_is_taken_out_of_its_box_and_has_its_own_digest() {
    let (here, registry) = (Here::new(), Registry::start(Guard::Anybody));
    let plain = module("one.");
    registry.put("/one.wasm", "application/wasm", plain.clone());
    let packed = flate2_gzip(&plain);
    registry.put("/one.wasm.gz", "application/gzip", packed.clone());
    for path in ["one.wasm", "one.wasm.gz"] {
        here.plugin(&json!({"url": format!("http://{}/{path}", registry.address), "sha256": sha256(&plain)}));
        assert_eq!(here.ran(), "one.", "{path}");
        assert_eq!(registry.take_asked(), [format!("/{path}")]);
        assert_eq!((here.ran().as_str(), registry.take_asked().len()), ("one.", 0), "{path}");
    }
    for (spec, words) in [
        (
            json!({"url": format!("http://{}/one.wasm", registry.address), "sha256": sha256(&packed)}),
            "the module has sha256",
        ),
        (json!({"url": format!("http://{}/two.wasm", registry.address)}), "the server says 404"),
        (json!({"url": format!("https://{}/one.wasm", registry.address), "sha256": sha256(&packed)}), "https://"),
    ] {
        here.plugin(&spec);
        let refusal = here.refusal();
        assert!(refusal.contains(words), "{refusal}");
    }
    registry.put("/text", "text/plain", b"no module".to_vec());
    here.plugin(&json!({"url": format!("http://{}/text", registry.address)}));
    assert!(here.refusal().contains("what came is no wasm module"));
}

fn flate2_gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Puts an image of these layers there.
fn image(registry: &Registry, layers: &[(&str, &[u8])]) {
    let mut described = Vec::new();
    for (media_type, bytes) in layers {
        let digest = format!("sha256:{}", sha256(bytes));
        registry.put(&format!("/v2/it/blobs/{digest}"), "application/octet-stream", bytes.to_vec());
        described.push(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}));
    }
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "layers": described});
    registry.put("/v2/it/manifests/1", media_type, manifest.to_string().into_bytes());
}

#[test]
fn what_istio_would_not_take_is_not_taken() {
    const WASM: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    let (here, registry) = (Here::new(), Registry::start(Guard::Anybody));
    here.plugin(&json!({"url": format!("oci://{}/it:1", registry.address)}));
    assert!(here.refusal().contains("not there"));
    let wasm = module("one.");
    for (layers, words) in [
        (
            &[("application/wasm", wasm.as_slice())][..],
            "as an OCI image (compat): its last layer is \"application/wasm\"",
        ),
        (&[(WASM, wasm.as_slice())], "as a Wasm artifact: it has 1 layers, not 2"),
        (&[(WASM, &wasm), ("spec", b"a"), ("readme", b"b")], "as a Wasm artifact: it has 3 layers, not 2"),
        (&[(LAYER, &flate2_gzip(b""))], "its last layer: no plugin.wasm in the archive"),
        (&[(LAYER, b"?")], "its last layer: not a gzipped tar"),
        (&[("config", b"{}"), (WASM, b"no module")], "what came is no wasm module"),
    ] {
        image(&registry, layers);
        let refusal = here.refusal();
        assert!(refusal.contains(words), "{refusal}");
    }
    let digest = sha256(&wasm);
    image(&registry, &[("config", b"{}"), (WASM, &wasm)]);
    registry.put(&format!("/v2/it/blobs/sha256:{digest}"), "application/octet-stream", module("two."));
    assert!(here.refusal().contains(&format!("layer sha256:{digest} has digest sha256:")));
}

#[test]
fn without_pull_a_url_stays_a_url_and_the_cure_is_named() {
    let here = Here::new();
    here.plugin(&json!({"url": "oci://registry.example.com/it:1"}));
    let output = here.explain(&[]);
    assert_eq!(code(&output), 5);
    for words in
        ["istio-system/pulled", "oci://registry.example.com/it:1", "--wasm pulled=FILE", "--wasm-dir", "--pull"]
    {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

/// A program that is stopped however the test ends.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines a program writes to stderr, until one has the words; the rest is read by nobody in particular.
fn hears(program: &mut Stopped, words: &str) -> String {
    let mut reader = BufReader::new(program.0.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(words) {
        assert!(reader.read_line(&mut said).unwrap() > 0, "no {words:?} in {said}");
    }
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    said
}

/// go-containerregistry's registry and its crane, which `make registry` builds where there is Go.
#[test]
fn a_real_registry_takes_what_is_packed_and_run_pulls_it() {
    let tools = repository().join("target/tools/bin");
    let (registry, crane) = (tools.join("registry"), tools.join("crane"));
    if !registry.is_file() || !crane.is_file() {
        println!("SKIPPED: no registry and crane in target/tools/bin: install Go, then `make registry`");
        return;
    }
    let here = Here::new();
    let mut serving = Stopped(Command::new(registry).args(["-port", "0"]).stderr(Stdio::piped()).spawn().unwrap());
    let said = hears(&mut serving, "serving on port ");
    let port = said.split_whitespace().last().unwrap().to_owned();
    for form in [&[][..], &["--compat"]] {
        let (layout, digest) = here.pack("one.", "1", form);
        let url = format!("127.0.0.1:{port}/team/one{}:1", form.concat());
        let pushed = Command::new(&crane).args(["push", layout.to_str().unwrap(), &url]).output().unwrap();
        assert!(pushed.status.success(), "{}", stderr(&pushed));
        let known = Command::new(&crane).args(["digest", &url]).output().unwrap();
        assert_eq!(stdout(&known).trim(), format!("sha256:{digest}"), "the registry keeps what was packed");
        here.plugin(&json!({"url": format!("oci://{url}"), "sha256": digest}));
        let arguments = ["run", "--pull", "--admin", "127.0.0.1:0", "--port-map", "80=0", "--workers", "1"];
        let mut gateway = Stopped(here.command(&arguments).stderr(Stdio::piped()).spawn().unwrap());
        let said = hears(&mut gateway, "port 80 on ");
        assert!(said.contains("pulled oci://"), "{said}");
        let address = said.lines().find_map(|line| line.strip_prefix("port 80 on ")).unwrap();
        let answer = get(address);
        assert!(answer.contains(r#"["x-pulled","one."]"#), "{answer}");
    }
}

fn get(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
