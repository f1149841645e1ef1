//! `WasmPlugin` and `TrafficExtension`.

use super::Check;
use crate::{
    problem::Problem,
    resource::{
        destination_rule::WorkloadSelector,
        extension::{EnvSource, TrafficExtension, TrafficSelector, VmConfig, WasmPlugin},
        object::Object,
    },
};

/// What the webhook refuses of a WasmPlugin.
pub(crate) fn check_plugin(object: &Object<WasmPlugin>, problems: &mut Vec<Problem>) {
    let spec = &object.spec;
    let mut check = Check { object, problems };
    let attached = [spec.selector.is_some(), spec.target_ref.is_some(), !spec.target_refs.is_empty()];
    check.attachment(&attached);
    check.selected_workload(spec.selector.as_ref());
    check.module("spec", &spec.url, &spec.sha256, &spec.plugin_name, spec.vm_config.as_ref());
    check.selected_ports(&spec.matches);
}

/// What the webhook refuses of a TrafficExtension.
pub(crate) fn check_extension(object: &Object<TrafficExtension>, problems: &mut Vec<Problem>) {
    let spec = &object.spec;
    let mut check = Check { object, problems };
    check.refuse_if(spec.wasm.is_some() == spec.lua.is_some(), "spec", "exactly one of wasm or lua must be set");
    check.attachment(&[spec.selector.is_some(), !spec.target_refs.is_empty()]);
    check.selected_workload(spec.selector.as_ref());
    if let Some(wasm) = &spec.wasm {
        check.module("spec.wasm", &wasm.url, &wasm.sha256, &wasm.plugin_name, wasm.vm_config.as_ref());
    }
    if let Some(lua) = &spec.lua {
        check.refuse_if(lua.inline_code.is_empty(), "spec.lua.inlineCode", "lua.inlineCode cannot be empty");
        check.refuse_if(
            lua.inline_code.len() > 65_536,
            "spec.lua.inlineCode",
            "lua.inlineCode exceeds maximum size of 64KB",
        );
    }
    check.selected_ports(&spec.matches);
}

impl<T> Check<'_, T> {
    fn attachment(&mut self, ways: &[bool]) {
        let many = ways.iter().filter(|set| **set).count() > 1;
        self.refuse_if(many, "spec", "only one of targetRefs or selector can be set");
    }

    fn selected_workload(&mut self, selector: Option<&WorkloadSelector>) {
        if let Some(selector) = selector {
            self.selector("spec.selector.matchLabels", &selector.match_labels);
        }
    }

    fn module(&mut self, path: &str, url: &str, sha256: &str, plugin_name: &str, vm: Option<&VmConfig>) {
        self.expect(&format!("{path}.url"), module_url(url));
        let at = format!("{path}.sha256");
        if !sha256.is_empty() && sha256.len() != 64 {
            self.refuse(&at, "sha256 field must be 64 characters long");
        } else if !sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            self.refuse(&at, "sha256 field must match [a-f0-9]{64} pattern");
        }
        self.refuse_if(
            plugin_name.len() > 256,
            &format!("{path}.pluginName"),
            "pluginName field must be less than 255 characters long",
        );
        for (i, env) in vm.iter().flat_map(|vm| vm.env.iter().enumerate()) {
            let path = format!("{path}.vmConfig.env[{i}]");
            let twice = vm.iter().flat_map(|vm| vm.env.iter().take(i)).any(|earlier| earlier.name == env.name);
            self.refuse_if(env.name.is_empty(), &path, "spec.vmConfig.env invalid");
            self.refuse_if(env.name.len() > 256, &path, "env.name field must be less than 255 characters long");
            self.refuse_if(twice, &path, "duplicate env");
            self.refuse_if(
                env.value_from == EnvSource::Host && env.value.is_some(),
                &path,
                "value may only be set when valueFrom is INLINE",
            );
        }
    }

    fn selected_ports(&mut self, selectors: &[TrafficSelector]) {
        for (i, selector) in selectors.iter().enumerate() {
            for (j, port) in selector.ports.iter().enumerate() {
                let reason = format!("spec.Match[{i}].Ports[{j}] is out of range: {}", port.number);
                self.refuse_if(
                    !(1..=65_535).contains(&port.number),
                    &format!("spec.match[{i}].ports[{j}].number"),
                    &reason,
                );
            }
        }
    }
}

fn module_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("url field needs to be set".to_owned());
    }
    match url.split_once("://") {
        Some((scheme, _)) if !matches!(scheme.to_ascii_lowercase().as_str(), "file" | "http" | "https" | "oci") => {
            Err(format!("url contains unsupported scheme: {scheme}"))
        }
        _ if url.chars().any(|c| c.is_control() || c == ' ') => Err("failed to parse url".to_owned()),
        _ => Ok(()),
    }
}
