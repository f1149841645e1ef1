//! Placing a gateway on this machine: an `xds` value whose listeners, modules and backends are where this machine has them.
//!
//! What comes out is the very value that `run` serves and `envoy` prints.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use sha2::Digest;

use crate::command_line::PortMap;
use crate::failure::Failure;

/// Where a plugin's module is looked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModuleFiles<'a> {
    /// `--wasm`: by `name` or `namespace/name`.
    pub(crate) named: &'a [(String, PathBuf)],
    /// `--wasm-dir`: by the last part of the url.
    pub(crate) folder: Option<&'a Path>,
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

/// Adds the addresses of running backends to the clusters that have none of their own.
pub(crate) fn endpoints(bootstrap: &mut xds::Bootstrap, backends: &BTreeMap<String, Vec<SocketAddr>>) {
    for cluster in bootstrap.static_resources.iter_mut().flat_map(|resources| &mut resources.clusters) {
        let Some(addresses) = backends.get(&cluster.name) else { continue };
        let lb_endpoints = addresses.iter().map(|address| xds::LbEndpoint {
            endpoint: Some(xds::Endpoint { address: Some(socket_address(*address)), ..Default::default() }),
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

/// Points every wasm filter's code at a file of this machine.
///
/// # Errors
/// Every plugin whose module is nowhere, with its url and the flags that would say where it is.
pub(crate) fn modules(bootstrap: &mut xds::Bootstrap, files: &ModuleFiles<'_>) -> Result<(), Failure> {
    let (mut missing, mut wrong) = (Vec::new(), Vec::new());
    for_each_plugin(bootstrap, |plugin| {
        let code = plugin.vm_config.get_or_insert_default().code.get_or_insert_default();
        match files.find(&plugin.name, code) {
            Ok(file) => {
                wrong.extend(expected_digest(code).and_then(|digest| other_digest(&plugin.name, &file, digest)));
                *code = local(&file);
            }
            Err(why) => missing.push(why),
        }
    });
    missing.dedup();
    match (missing.is_empty(), wrong.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::Module(wrong.join("\nerror: "))),
        (false, _) => Err(Failure::World(missing.join("\nerror: "))),
    }
}

fn expected_digest(code: &xds::AsyncDataSource) -> Option<&str> {
    code.remote.as_ref()?.get("sha256")?.as_str().filter(|digest| !digest.is_empty())
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
    /// `name` is Envoy's name of the plugin, `namespace.name`.
    fn find(&self, name: &str, code: &xds::AsyncDataSource) -> Result<PathBuf, String> {
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
            (Some(file), None) => Err(format!("plugin {slashed}: its module {url} is not at {}", file.display())),
            (_, Some(file)) => Err(format!(
                "plugin {slashed}: its module {} is not there; say where it is with --wasm {short}=FILE",
                file.display()
            )),
            (None, None) => Err(format!(
                "plugin {slashed}: no module for {url}; say where it is with --wasm {short}=FILE or --wasm-dir DIR"
            )),
        }
    }
}

/// Envoy's name of a plugin as a user wrote it: `prod.suite~istio-translated-wasmplugin` -> `prod/suite`.
pub(crate) fn plugin_name(name: &str) -> String {
    let name = name.split('~').next().unwrap_or(name);
    name.replacen('.', "/", 1)
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
        let error = ModuleFiles::default().find("prod.suite", &code).unwrap_err();
        assert!(error.contains("prod/suite") && error.contains("--wasm suite=FILE"), "{error}");
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
        let files = ModuleFiles { named: &named, folder: Some(Path::new("/nowhere")) };
        let found = files.find("prod.suite", &xds::AsyncDataSource::default());
        assert_eq!(found, Ok(PathBuf::from("/a.wasm")));
    }
}
