//! What one seed stands for: manifests and requests.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::{destination_rules, dice::Dice, envoy_filters, gateways, mesh, requests, virtual_services, world};
use crate::case::Send;
use crate::certs::Certificates;

/// Manifests, and requests to send through them.
#[derive(Debug, Clone)]
pub struct Case {
    /// The resources a user would write.
    pub resources: Vec<Value>,
    /// What to ask.
    pub requests: Vec<Send>,
}

impl Case {
    /// The world of a seed, with origins on `net`.
    #[must_use]
    pub fn of_seed(seed: u64, net: &str, requests: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut resources = gateways::resources(&mut dice);
        resources.extend(virtual_services::resources(&mut dice));
        resources.extend(destination_rules::resources(&mut dice));
        resources.extend(envoy_filters::resources(&mut dice));
        resources.extend(mesh::resources(&mut dice));
        let mut requests = requests::aimed(&mut dice, &resources, requests);
        answer_copies_alike(&resources, &mut requests);
        resources.extend(world::resources(&mut dice, net));
        Self { resources, requests }
    }

    /// Every port that is worth mapping.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<u16> {
        gateways::PORTS.iter().copied().collect()
    }

    /// One YAML file with everything, the secrets included.
    ///
    /// # Errors
    /// None that a working random source lets happen.
    pub fn manifests(&self, certificates: &Certificates) -> Result<String> {
        let mut documents: Vec<String> = self.resources.iter().map(Value::to_string).collect(); // JSON is YAML
        for name in ["cert-a", "cert-m"] {
            documents.push(certificates.secret(name)?);
        }
        Ok(documents.join("\n---\n"))
    }

    /// For people: YAML.
    ///
    /// # Errors
    /// None.
    pub fn yaml(&self) -> Result<String> {
        let mut text = String::new();
        for resource in &self.resources {
            writeln!(text, "{}---", serde_saphyr::to_string(resource)?)?;
        }
        for request in &self.requests {
            writeln!(text, "# send: {}", one_line(request)?)?;
        }
        Ok(text)
    }
}

/// A request on one line, without the fields that say nothing; a long body is cut.
///
/// # Errors
/// None.
pub fn one_line(send: &Send) -> Result<String> {
    let mut value = serde_json::to_value(send)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null() && value != "" && value != 0);
        if let Some(Value::String(body)) = fields.get_mut("body") {
            *body = body.chars().take(40).collect();
        }
    }
    Ok(value.to_string())
}

/// Which of a request and its copy comes first at two origins is nobody's promise: in a world with mirrors both get the same answer.
fn answer_copies_alike(resources: &[Value], requests: &mut [Send]) {
    let copies = |rule: &Value| rule.get("mirror").is_some() || rule.get("mirrors").is_some();
    let mirrors = |resource: &Value| {
        resource.pointer("/spec/http").and_then(Value::as_array).is_some_and(|rules| rules.iter().any(copies))
    };
    if !resources.iter().any(mirrors) {
        return;
    }
    let headers = requests.iter_mut().flat_map(|request| &mut request.headers);
    for (_, statuses) in headers.filter(|(name, _)| name.eq_ignore_ascii_case("x-origin-status")) {
        *statuses = statuses.split(',').next().unwrap_or_default().to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_always_the_same_world() {
        let text = |seed| Case::of_seed(seed, "127.78.0", 20).yaml().unwrap();
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }
}
