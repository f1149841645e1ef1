//! A bill of materials in CycloneDX's form for each thing that is shipped, from Cargo's own lock file: the same bytes every time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What is shipped, and the machine it is built for (none: this one).
const SHIPPED: [(&str, Option<&str>); 7] = [
    ("host-sim", None),
    ("header-match", Some(WASM)),
    ("uri-rewrite", Some(WASM)),
    ("traffic-shift", Some(WASM)),
    ("fault-inject", Some(WASM)),
    ("rate-limit", Some(WASM)),
    ("suite", Some(WASM)),
];
const WASM: &str = "wasm32-wasip1";

/// Writes a CycloneDX file for host-sim and for each filter module.
#[derive(Parser)]
struct Arguments {
    /// The folder they go to.
    folder: PathBuf,
}

fn main() -> ExitCode {
    match write(&Arguments::parse().folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sbom: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let lock = std::fs::read_to_string(tests::repository().join("Cargo.lock"))?;
    let checksums = checksums(&lock);
    for (package, target) in SHIPPED {
        let bill = Graph::read(target)?.bill(package, &checksums)?;
        let file = folder.join(format!("{package}.cdx.json"));
        std::fs::write(&file, format!("{bill:#}\n")).with_context(|| file.display().to_string())?;
        // Who stops reading the list gets the files all the same.
        let _ = writeln!(std::io::stdout(), "{}", file.display());
    }
    Ok(())
}

/// What `cargo metadata` says, as far as a bill needs it.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
    repository: Option<String>,
    /// Nothing for what stands in this repository.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Needed>,
}

#[derive(Deserialize)]
struct Needed {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// Packages by id, and which each is built with: what only tests or build scripts need is not shipped.
struct Graph {
    packages: BTreeMap<String, Package>,
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read(target: Option<&str>) -> Result<Self> {
        let target = match target {
            Some(target) => target.to_owned(),
            None => this_machine()?,
        };
        let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &target];
        let output = Command::new("cargo").args(arguments).current_dir(tests::repository()).output()?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self::of(serde_json::from_slice(&output.stdout)?))
    }

    fn of(metadata: Metadata) -> Self {
        let shipped = |needed: &Needed| needed.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let needs = metadata
            .resolve
            .nodes
            .into_iter()
            .map(|node| (node.id, node.deps.into_iter().filter(shipped).map(|needed| needed.pkg).collect()));
        let packages = metadata.packages.into_iter().map(|package| (package.id.clone(), package));
        Self { packages: packages.collect(), needs: needs.collect() }
    }

    /// Everything a package is built with, itself included.
    fn reached(&self, from: &str) -> BTreeSet<&str> {
        let (mut open, mut seen) = (vec![from], BTreeSet::new());
        while let Some(id) = open.pop() {
            if let Some((id, _)) = self.packages.get_key_value(id)
                && seen.insert(id.as_str())
            {
                open.extend(self.needs.get(id).into_iter().flatten().map(String::as_str));
            }
        }
        seen
    }

    fn bill(&self, name: &str, checksums: &BTreeMap<(String, String), String>) -> Result<Value> {
        let own = self.packages.values().find(|package| package.name == name && package.source.is_none());
        let own = own.with_context(|| format!("no package {name}"))?;
        let reached = self.reached(&own.id);
        let known = |id: &&str| self.packages.get(*id);
        let mut packages: Vec<&Package> = reached.iter().filter_map(known).collect();
        packages.sort_by_key(|package| (&package.name, &package.version));
        let components: Vec<Value> = packages
            .iter()
            .filter(|package| package.id != own.id)
            .map(|package| component(package, "library", checksums))
            .collect();
        let dependencies: Vec<Value> = packages
            .iter()
            .map(|package| {
                let needed = self.needs.get(&package.id).into_iter().flatten();
                let on: BTreeSet<String> = needed.filter_map(|id| self.packages.get(id)).map(purl).collect();
                json!({"ref": purl(package), "dependsOn": on})
            })
            .collect();
        Ok(json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": component(own, "application", checksums)},
            "components": components,
            "dependencies": dependencies,
        }))
    }
}

fn component(package: &Package, kind: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
    let mut component = Map::new();
    let mut set = |name: &str, value: Value| component.insert(name.to_owned(), value);
    set("type", kind.into());
    set("bom-ref", purl(package).into());
    set("name", package.name.clone().into());
    set("version", package.version.clone().into());
    set("purl", purl(package).into());
    if let Some(text) = &package.description {
        set("description", text.split_whitespace().collect::<Vec<_>>().join(" ").into());
    }
    if let Some(license) = &package.license {
        // An older way to write OR.
        set("licenses", json!([{"expression": license.replace('/', " OR ")}]));
    }
    if let Some(checksum) = checksums.get(&(package.name.clone(), package.version.clone())) {
        set("hashes", json!([{"alg": "SHA-256", "content": checksum}]));
    }
    if let Some(url) = &package.repository {
        set("externalReferences", json!([{"type": "vcs", "url": url}]));
    }
    component.into()
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

/// By name and version: the digest of the archive that Cargo downloads and checks.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |entry: &str, name: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    let entry = |entry: &str| Some(((field(entry, "name")?, field(entry, "version")?), field(entry, "checksum")?));
    lock.split("[[package]]").filter_map(entry).collect()
}

fn this_machine() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc names no host")
}
