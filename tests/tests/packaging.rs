//! What is shipped: Dockerfiles whose every path and target exists, and bills of materials that are whole and the same every time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::repository;

/// An instruction of a Dockerfile: its name and the rest, continued lines joined.
fn instructions(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(repository().join(file)).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let instruction = |line: &str| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()));
    joined.lines().filter_map(instruction).collect()
}

/// The instructions of the image that comes out.
fn last_stage(instructions: &[(String, String)]) -> &[(String, String)] {
    let at = instructions.iter().rposition(|(name, _)| name == "FROM").unwrap();
    &instructions[at..]
}

fn values<'a>(instructions: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    instructions.iter().filter(|(own, _)| own == name).map(|(_, rest)| rest.as_str()).collect()
}

/// `COPY` from the build's context: sources and destination.
fn copied(instructions: &[(String, String)]) -> Vec<Vec<&str>> {
    let words = |rest: &&str| !rest.contains("--from=");
    values(instructions, "COPY").into_iter().filter(words).map(|rest| rest.split_whitespace().collect()).collect()
}

#[test]
fn a_dockerfile_copies_only_what_is_there_and_is_not_ignored() {
    for file in ["host-sim/Dockerfile", "filters/Dockerfile"] {
        let instructions = instructions(file);
        let ignored = fs::read_to_string(repository().join(format!("{file}.dockerignore"))).unwrap();
        let kept: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
        assert!(ignored.lines().any(|line| line == "*"), "{file}: everything else stays out");
        for copy in copied(&instructions) {
            let (_, sources) = copy.split_last().unwrap();
            for source in sources {
                let source = source.replace("${MODULE}", "suite");
                assert!(repository().join(&source).exists(), "{file}: {source} is not there");
                assert!(kept.iter().any(|kept| Path::new(&source).starts_with(kept)), "{file}: {source} is ignored");
            }
        }
    }
}

/// A target without its recipe would build nothing; a workspace without one of its members does not build at all.
#[test]
fn the_image_is_built_by_make_of_the_whole_workspace() {
    let instructions = instructions("host-sim/Dockerfile");
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let commands = values(&instructions, "RUN").join("\n");
    let make = commands.lines().find_map(|line| line.strip_prefix("make ")).unwrap();
    for target in make.split_whitespace() {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "no make {target}");
    }
    let copied: Vec<&str> = copied(&instructions).concat();
    let cargo = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let members = cargo.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    for member in members.split('"').filter(|word| word.contains(char::is_alphabetic)) {
        assert!(copied.contains(&member.split('/').next().unwrap()), "{member} is not copied");
    }
    for built in ["target/static/host-sim", "target/filters"] {
        assert!(
            makefile.contains(built)
                && fs::read_to_string(repository().join("host-sim/Dockerfile")).unwrap().contains(built)
        );
    }
}

#[test]
fn what_runs_is_nobody_and_says_how_it_is() {
    let instructions = instructions("host-sim/Dockerfile");
    let image = last_stage(&instructions);
    assert_eq!(values(image, "FROM"), ["scratch"]);
    let user: u32 = values(image, "USER")[0].split(':').next().unwrap().parse().unwrap();
    assert!(user >= 1000);
    let array = |name: &str| -> Vec<String> { serde_json::from_str(values(image, name)[0]).unwrap() };
    let entry = array("ENTRYPOINT");
    assert!(values(image, "COPY").iter().any(|rest| rest.ends_with(&entry[0])), "{entry:?}");
    let health = values(image, "HEALTHCHECK")[0];
    let health: Vec<String> = serde_json::from_str(health.split_once("CMD ").unwrap().1).unwrap();
    assert_eq!(health, [entry[0].as_str(), "ready"]);
    // What the image starts by itself are words that host-sim knows, on paths that are in the image.
    let command = array("CMD");
    let help = Command::new(tests::host_sim::binary().unwrap()).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in &command {
        assert!(!word.starts_with("--") || help.contains(word.as_str()), "no {word}");
        assert!(
            !word.starts_with('/') || values(image, "COPY").iter().any(|rest| rest.ends_with(word.as_str())),
            "no {word}"
        );
    }
}

/// `make static` takes minutes: what it left is looked at, where it was run.
#[test]
fn the_static_binary_needs_nothing_and_serves() {
    let binary = repository().join("target/static/host-sim");
    if !binary.is_file() {
        eprintln!("SKIPPED: no {}: run `make static` first", binary.display());
        return;
    }
    let ldd = Command::new("ldd").arg(&binary).output().unwrap();
    let said = String::from_utf8_lossy(&[ldd.stdout, ldd.stderr].concat()).into_owned();
    assert!(said.contains("statically linked") || said.contains("not a dynamic executable"), "{said}");
    let alone = || {
        let mut command = Command::new(&binary);
        command.env_clear().current_dir(repository());
        command
    };
    let mut serving = alone()
        .args(["run", "-f", "manifests/examples/shop", "--wasm-dir", "target/filters"])
        .args(["--port-map", "80=0", "--admin", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serving.stderr.take().unwrap()).lines().map(Result::unwrap);
    let admin = lines.find_map(|line| line.strip_prefix("admin on ").map(str::to_owned)).unwrap();
    let address = lines.find_map(|line| line.strip_prefix("port 80 on ").map(str::to_owned)).unwrap();
    let ready = alone().args(["ready", "--admin", &admin]).status().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /products HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(Command::new("kill").args(["-TERM", &serving.id().to_string()]).status().unwrap().success());
    assert_eq!((serving.wait().unwrap().code(), ready.code()), (Some(0), Some(0)));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_base_image_has_a_version() {
    for file in ["host-sim/Dockerfile", "filters/Dockerfile"] {
        for from in values(&instructions(file), "FROM") {
            let image = from.split(" AS ").next().unwrap();
            assert!(
                image == "scratch" || image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"),
                "{file}: {image}"
            );
        }
    }
    let toolchain = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let version = toolchain.split_once("rust-version = \"").unwrap().1.split_once('"').unwrap().0;
    let from = values(&instructions("host-sim/Dockerfile"), "FROM")[0].to_owned();
    assert!(from.contains(&format!("rust:{version}")), "{from}: the workspace asks for {version}");
}

fn bills(folder: &Path) -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_sbom")).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn a_bill_of_materials_is_whole_and_the_same_every_time() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let found = bills(one.path());
    assert_eq!(found, bills(other.path()));
    assert_eq!(found.len(), 7);
    for (name, text) in &found {
        let bill: Value = serde_json::from_str(text).unwrap();
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()), "{name}");
        let components = bill["components"].as_array().unwrap();
        let named = |component: &Value| component["bom-ref"].as_str().unwrap().to_owned();
        let refs: BTreeSet<String> =
            components.iter().map(named).chain([named(&bill["metadata"]["component"])]).collect();
        assert_eq!(refs.len(), components.len() + 1, "{name}: every package once");
        for component in components {
            assert!(component["licenses"][0]["expression"].is_string(), "{name}: {component}");
            // What stands in this repository is not downloaded.
            let ours = component["licenses"][0]["expression"] == "Apache-2.0" && component["hashes"].is_null();
            let digest = component["hashes"][0]["content"].as_str().unwrap_or_default();
            assert!(ours || digest.len() == 64, "{name}: {component}");
        }
        for dependency in bill["dependencies"].as_array().unwrap() {
            let on = dependency["dependsOn"].as_array().unwrap().iter().map(|on| on.as_str().unwrap().to_owned());
            assert!(on.chain([dependency["ref"].as_str().unwrap().to_owned()]).all(|name| refs.contains(&name)));
        }
    }
    let bill = |name: &str| &found.iter().find(|(own, _)| own == name).unwrap().1;
    for (name, with, without) in
        [("host-sim.cdx.json", "/wasmtime@", "/proptest@"), ("suite.cdx.json", "/proxy-wasm@", "/tokio@")]
    {
        assert!(bill(name).contains(with) && !bill(name).contains(without), "{name}");
    }
}
