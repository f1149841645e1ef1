//! Placing a gateway on this machine: an `xds` value whose listeners, modules and backends are where this machine has them.
//!
//! What comes out is the very value that `run` serves and `envoy` prints.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use sha2::Digest;

use crate::command_line::PortMap;
use crate::failure::Failure;
use crate::pull::{Policy, Puller, Wanted};

/// Where a plugin's module is looked for.
#[derive(Clone, Default)]
pub(crate) struct ModuleFiles<'a> {
    /// `--wasm`: by `name` or `namespace/name`.
    pub(crate) named: &'a [(String, PathBuf)],
    /// `--wasm-dir`: by the last part of the url.
    pub(crate) folder: Option<&'a Path>,
    /// `--pull`: from where the url leads.
    pub(crate) puller: Option<&'a Puller>,
    /// The manifests' plugins, for the Secrets they name.
    pub(crate) plugins: &'a [istio::PluginRef],
}

/// The local port that stands for a Gateway server's port: as mapped; else 80 is 8080, 443 is 8443, other ports below 1024
/// are moved up by 8000, and the rest stay.
pub(crate) fn local_port(server: u16, maps: &[PortMap]) -> u16 {
    match maps.iter().rev().find(|map| map.server == server) {
        Some(map) => map.local,
        // The kernel was to choose before, and still is.
        None if server == 0 => 0,
        None if server == 80 => 8080,
        None if server == 443 => 8443,
        None if server < 1024 => server + 8000,
        None => server,
    }
}

/// Moves every listener to `ip` and its local port.
pub(crate) fn listeners(bootstrap: &mut xds::Bootstrap, ip: IpAddr, maps: &[PortMap]) {
    for listener in bootstrap.static_resources.iter_mut().flat_map(|resources| &mut resources.listeners) {
        let Some(socket) = listener.address.as_mut().and_then(|address| address.socket_address.as_mut()) else {
            continue;
        };
        let server = socket.port_value.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        socket.address = ip.to_string();
        socket.port_value = Some(u32::from(local_port(server, maps)));
    }
}

/// Puts the admin server where `--admin` says.
pub(crate) fn admin(bootstrap: &mut xds::Bootstrap, address: SocketAddr) {
    let admin = bootstrap.admin.get_or_insert_default();
    admin.address = Some(socket_address(address));
}

/// An endpoint that is put into a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    /// The workload it stands for, as its metadata says it.
    pub(crate) workload: Option<xds::Metadata>,
}

/// Adds the addresses of running backends to the clusters that have none of their own.
pub(crate) fn endpoints(bootstrap: &mut xds::Bootstrap, backends: &BTreeMap<String, Vec<Backend>>) {
    for cluster in bootstrap.static_resources.iter_mut().flat_map(|resources| &mut resources.clusters) {
        let Some(addresses) = backends.get(&cluster.name) else { continue };
        let lb_endpoints = addresses.iter().map(|backend| xds::LbEndpoint {
            endpoint: Some(xds::Endpoint { address: Some(socket_address(backend.address)), ..Default::default() }),
            metadata: backend.workload.clone(),
            load_balancing_weight: Some(1),
            ..Default::default()
        });
        let weight = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        cluster.r#type = Some(xds::DiscoveryType::Static);
        cluster.load_assignment = Some(xds::ClusterLoadAssignment {
            cluster_name: cluster.name.clone(),
            endpoints: vec![xds::LocalityLbEndpoints {
                lb_endpoints: lb_endpoints.collect(),
                load_balancing_weight: Some(weight),
                ..Default::default()
            }],
            ..Default::default()
        });
    }
}

/// Points every wasm filter's code at a file of this machine, and takes out of its environment what was meant for Istio's
/// agent. Comes back with what was pulled, a line each.
///
/// # Errors
/// Every plugin whose module is nowhere, with its url and the flags that would say where it is.
pub(crate) fn modules(bootstrap: &mut xds::Bootstrap, files: &ModuleFiles<'_>) -> Result<Vec<String>, Failure> {
    let (mut pulled, mut missing, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    // A plugin stands in every listener's chain; one name may stand for several modules, as a bootstrap's often does.
    let mut found: BTreeMap<(String, String), Option<PathBuf>> = BTreeMap::new();
    for_each_plugin(bootstrap, |plugin| {
        let vm = plugin.vm_config.get_or_insert_default();
        let name = &plugin.name;
        let code = vm.code.as_ref().map(url).unwrap_or_default();
        let file = found.entry((name.clone(), code.to_owned())).or_insert_with(|| match files.find(name, vm) {
            Ok((file, how)) => {
                pulled.extend(how.map(|how| format!("plugin {}: {how}", plugin_name(name))));
                wrong.extend(vm.code.as_ref().and_then(|code| other_digest(name, &file, expected_digest(code)?)));
                Some(file)
            }
            Err(why) => {
                missing.push(why);
                None
            }
        });
        if let Some(file) = file {
            vm.code = Some(local(file));
            without_the_agent_s(&mut vm.environment_variables);
        }
    });
    match (missing.is_empty(), wrong.is_empty()) {
        (true, true) => Ok(pulled),
        (true, false) => Err(Failure::Module(wrong.join("\nerror: "))),
        (false, _) => Err(Failure::World(missing.join("\nerror: "))),
    }
}

/// Istiod tells its agent how to pull in variables that no module ever sees.
fn without_the_agent_s(variables: &mut Option<xds::EnvironmentVariables>) {
    if let Some(own) = variables {
        own.key_values.retain(|name, _| !name.starts_with("ISTIO_META_"));
        if own.key_values.is_empty() && own.host_env_keys.is_empty() {
            *variables = None;
        }
    }
}

/// What a module's own digest is to be. An image's is that of its manifest, which a file does not have.
fn expected_digest(code: &xds::AsyncDataSource) -> Option<&str> {
    checksum(code).filter(|_| !url(code).starts_with("oci://"))
}

/// Istiod writes `nil` where there is none.
fn checksum(code: &xds::AsyncDataSource) -> Option<&str> {
    code.remote.as_ref()?.get("sha256")?.as_str().filter(|digest| !matches!(*digest, "" | "nil"))
}

/// What is wrong with a module whose manifest asks for another digest; an unreadable file is the gateway's to report.
fn other_digest(plugin: &str, file: &Path, expected: &str) -> Option<String> {
    let found = sha2::Sha256::digest(std::fs::read(file).ok()?);
    let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    let plugin = plugin_name(plugin);
    (found != expected)
        .then(|| format!("plugin {plugin}: {} has sha256 {found}, its manifest asks for {expected}", file.display()))
}

impl ModuleFiles<'_> {
    /// The module's file, and how it came here if it was pulled. `name` is Envoy's name of the plugin, `namespace.name`.
    fn find(&self, name: &str, vm: &xds::VmConfig) -> Result<(PathBuf, Option<String>), String> {
        let nowhere = xds::AsyncDataSource::default();
        let code = vm.code.as_ref().unwrap_or(&nowhere);
        match (self.file(name, code), self.puller) {
            (Ok(file), _) => Ok((file, None)),
            (Err(_), Some(puller)) if code.remote.is_some() => {
                let wanted = Wanted {
                    url: url(code),
                    sha256: checksum(code),
                    policy: policy(vm.environment_variables.as_ref()),
                    secret: self.secret(name),
                };
                let pulled = puller
                    .pull(wanted)
                    .map_err(|error| format!("plugin {}: {}: {error}", plugin_name(name), url(code)))?;
                Ok((pulled.file, Some(pulled.how)))
            }
            (Err(why), _) => Err(why),
        }
    }

    fn secret(&self, name: &str) -> Option<&istio::PullSecret> {
        let own = |plugin: &&istio::PluginRef| plugin.filter.rsplit('/').next() == Some(name);
        self.plugins.iter().find(own)?.pull_secret.as_ref()
    }

    fn file(&self, name: &str, code: &xds::AsyncDataSource) -> Result<PathBuf, String> {
        let slashed = plugin_name(name);
        let short = slashed.rsplit('/').next().unwrap_or(name);
        let named = self.named.iter().rev().find(|(key, _)| *key == slashed || key == short || key == name);
        if let Some((_, file)) = named {
            return Ok(file.clone());
        }
        let url = url(code);
        let by_url = self.folder.zip(last_part(url)).map(|(folder, last)| folder.join(format!("{last}.wasm")));
        match (by_url, local_file(code)) {
            (Some(file), _) if file.is_file() => Ok(file),
            (_, Some(file)) if file.is_file() => Ok(file.to_path_buf()),
            (Some(file), None) => {
                Err(format!("plugin {slashed}: its module {url} is not at {}; --pull fetches it", file.display()))
            }
            (_, Some(file)) => Err(format!(
                "plugin {slashed}: its module {} is not there; say where it is with --wasm {short}=FILE",
                file.display()
            )),
            (None, None) => Err(format!(
                "plugin {slashed}: no module for {url}; say where it is with --wasm {short}=FILE or --wasm-dir DIR, or fetch it with --pull"
            )),
        }
    }
}

/// Envoy's name of a plugin as a user wrote it: `prod.suite~istio-translated-wasmplugin` -> `prod/suite`.
pub(crate) fn plugin_name(name: &str) -> String {
    let name = name.split('~').next().unwrap_or(name);
    name.replacen('.', "/", 1)
}

/// `imagePullPolicy`, as istiod tells it to its agent.
fn policy(variables: Option<&xds::EnvironmentVariables>) -> Policy {
    let told = variables.and_then(|own| own.key_values.get("ISTIO_META_WASM_IMAGE_PULL_POLICY"));
    match told.map(String::as_str) {
        Some("Always") => Policy::Always,
        Some("IfNotPresent") => Policy::IfNotPresent,
        _ => Policy::Unspecified,
    }
}

fn local(file: &Path) -> xds::AsyncDataSource {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    let local = xds::DataSource { filename: Some(file.display().to_string()), ..Default::default() };
    xds::AsyncDataSource { local: Some(local), remote: None }
}

fn local_file(code: &xds::AsyncDataSource) -> Option<&Path> {
    code.local.as_ref()?.filename.as_deref().map(Path::new)
}

fn url(code: &xds::AsyncDataSource) -> &str {
    let remote = code.remote.as_ref().and_then(|remote| remote.pointer("/http_uri/uri")).and_then(|uri| uri.as_str());
    remote.or_else(|| code.local.as_ref()?.filename.as_deref()).unwrap_or("")
}

/// `oci://registry/team/header-match:v1` -> `header-match`; a digest, a tag and a `.wasm` are not part of it.
fn last_part(url: &str) -> Option<&str> {
    let last = url.rsplit('/').next()?;
    let last = last.split_once('@').map_or(last, |(name, _)| name);
    let last = last.split_once(':').map_or(last, |(name, _)| name);
    let last = last.strip_suffix(".wasm").unwrap_or(last);
    (!last.is_empty()).then_some(last)
}

fn for_each_plugin(bootstrap: &mut xds::Bootstrap, mut visit: impl FnMut(&mut xds::WasmPluginConfig)) {
    let listeners = bootstrap.static_resources.iter_mut().flat_map(|resources| &mut resources.listeners);
    let chains =
        listeners.flat_map(|listener| listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain));
    for filter in chains.flat_map(|chain| &mut chain.filters) {
        let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &mut filter.typed_config else { continue };
        for http_filter in &mut manager.http_filters {
            if let Some(xds::HttpFilterConfig::Wasm(wasm)) = &mut http_filter.typed_config {
                visit(wasm.config.get_or_insert_default());
            }
        }
    }
}

fn socket_address(address: SocketAddr) -> xds::Address {
    xds::Address {
        socket_address: Some(xds::SocketAddress {
            address: address.ip().to_string(),
            port_value: Some(u32::from(address.port())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileged_ports_move_up_unless_mapped() {
        let maps = [PortMap { server: 80, local: 9000 }, PortMap { server: 443, local: 0 }];
        let cases = [(80, 9000), (443, 0), (8080, 8080), (22, 8022), (0, 0)];
        for (server, local) in cases {
            assert_eq!(local_port(server, &maps), local, "{server}");
        }
        assert_eq!((local_port(80, &[]), local_port(443, &[])), (8080, 8443));
    }

    #[test]
    fn the_last_part_of_a_url_names_the_module() {
        let cases = [
            ("oci://registry.example/team/header-match:v1.2", Some("header-match")),
            ("oci://registry.example:5000/header-match@sha256:00", Some("header-match")),
            ("file:///filters/header-match.wasm", Some("header-match")),
            ("https://example/suite.wasm", Some("suite")),
            ("", None),
        ];
        for (url, last) in cases {
            assert_eq!(last_part(url), last, "{url}");
        }
    }

    #[test]
    fn a_plugin_without_a_module_is_named_with_the_cure() {
        let code = xds::AsyncDataSource {
            remote: Some(serde_json::json!({"http_uri": {"uri": "oci://registry.example/suite:v1"}})),
            ..Default::default()
        };
        let vm = xds::VmConfig { code: Some(code), ..Default::default() };
        let error = ModuleFiles::default().find("prod.suite", &vm).unwrap_err();
        for words in ["prod/suite", "--wasm suite=FILE", "--pull"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_plugin_is_called_what_its_manifest_calls_it() {
        for (envoy, user) in
            [("prod.suite~istio-translated-wasmplugin", "prod/suite"), ("prod.a.b", "prod/a.b"), ("x", "x")]
        {
            assert_eq!(plugin_name(envoy), user);
        }
    }

    #[test]
    fn a_named_file_wins_over_the_folder() {
        let named = [("prod/suite".to_owned(), PathBuf::from("/a.wasm"))];
        let files = ModuleFiles { named: &named, folder: Some(Path::new("/nowhere")), ..ModuleFiles::default() };
        let found = files.find("prod.suite", &xds::VmConfig::default());
        assert_eq!(found, Ok((PathBuf::from("/a.wasm"), None)));
    }

    #[test]
    fn a_digest_is_the_module_s_own_unless_it_is_an_image_s() {
        let digest = "0a".repeat(32);
        for (uri, sha256, own) in [
            ("https://registry.example/suite.wasm", digest.as_str(), Some(digest.as_str())),
            ("oci://registry.example/suite:v1", digest.as_str(), None),
            ("https://registry.example/suite.wasm", "nil", None),
        ] {
            let remote = serde_json::json!({"http_uri": {"uri": uri}, "sha256": sha256});
            let code = xds::AsyncDataSource { remote: Some(remote), ..Default::default() };
            assert_eq!(expected_digest(&code), own, "{uri} {sha256}");
        }
    }

    #[test]
    fn a_module_does_not_see_what_istiod_tells_its_agent() {
        let variables = |names: &[&str]| {
            let key_values = names.iter().map(|name| ((*name).to_owned(), "Always".to_owned())).collect();
            Some(xds::EnvironmentVariables { key_values, ..Default::default() })
        };
        let told = "ISTIO_META_WASM_IMAGE_PULL_POLICY";
        let mut own = variables(&[told, "MINE"]);
        assert_eq!(policy(own.as_ref()), Policy::Always);
        without_the_agent_s(&mut own);
        assert_eq!(own, variables(&["MINE"]));
        let mut nothing = variables(&[told]);
        without_the_agent_s(&mut nothing);
        assert_eq!(nothing, None);
    }
}
