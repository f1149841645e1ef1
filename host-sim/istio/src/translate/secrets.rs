//! Secrets as Envoy's static secrets, under the names istiod serves them by.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use xds::{CertificateValidationContext, Cluster, DataSource, Secret, TlsCertificate, TransportSocketConfig};

use super::Context;
use crate::{
    problem::Problem,
    resource::{kubernetes, object::Object},
};

const KUBERNETES: &str = "kubernetes://";
const CA_SUFFIX: &str = "-cacert";

/// Istio's name for a credential: `kubernetes://name` unless it says its type.
pub(crate) fn resource_name(credential: &str) -> String {
    if credential.contains("://") { credential.to_owned() } else { format!("{KUBERNETES}{credential}") }
}

/// The name of the CA that goes with a credential.
pub(crate) fn ca_resource_name(credential: &str) -> String {
    resource_name(&format!("{credential}{CA_SUFFIX}"))
}

/// The static secret of that resource name; `None` when no manifest has it or it lacks the keys.
pub(crate) fn find(context: &Context<'_>, name: &str) -> Option<Secret> {
    let short = name.strip_prefix(KUBERNETES).or_else(|| name.strip_prefix("kubernetes-gateway://"))?;
    let (namespace, short) = short.split_once('/').unwrap_or((&context.node.namespace, short));
    let named = |wanted: &str| {
        context
            .resources
            .secrets
            .iter()
            .find(|secret| secret.metadata.name == wanted && secret.metadata.namespace == namespace)
    };
    let mut secret = match short.strip_suffix(CA_SUFFIX) {
        None => pair(named(short)?)?,
        Some(stripped) => authority(named(short).or_else(|| named(stripped))?)?,
    };
    name.clone_into(&mut secret.name);
    Some(secret)
}

/// Adds the secrets that clusters name. One that no manifest has is warned about: connections to its endpoints fail, in Envoy too.
pub(crate) fn add_of_clusters(
    context: &Context<'_>,
    clusters: &[Cluster],
    secrets: &mut Vec<Secret>,
    warnings: &mut Vec<Problem>,
) {
    for (cluster, name) in clusters.iter().flat_map(|cluster| named(cluster).map(move |name| (cluster, name))) {
        if secrets.iter().any(|known| known.name == name) {
            continue;
        }
        match find(context, name) {
            Some(secret) => secrets.push(secret),
            None => warnings.extend(missing(context, cluster, name).filter(|missing| !warnings.contains(missing))),
        }
    }
}

/// Said at the rule that names the secret; `None` for a cluster that no rule made (an EnvoyFilter's).
fn missing(context: &Context<'_>, cluster: &Cluster, name: &str) -> Option<Problem> {
    let service = context.registry.get(cluster.name.rsplit('|').next()?)?;
    let rule = context.rule_for(service)?;
    let name = name.rsplit("://").next().unwrap_or(name);
    let namespace = &context.node.namespace;
    let reason = format!("no Secret {namespace}/{name}: connections to the endpoints of this host fail");
    Some(rule.first.problem("spec.trafficPolicy", reason).cure("add the Secret to the manifests"))
}

/// Names of the secrets a cluster's transport asks for.
fn named(cluster: &Cluster) -> impl Iterator<Item = &str> {
    let socket = cluster.transport_socket.as_ref().and_then(|socket| socket.typed_config.as_ref());
    let common = match socket {
        Some(TransportSocketConfig::UpstreamTls(context)) => context.common_tls_context.as_ref(),
        _ => None,
    };
    let validation = common.into_iter().filter_map(|common| {
        let combined = common.combined_validation_context.as_ref();
        combined.and_then(|combined| combined.validation_context_sds_secret_config.as_ref())
    });
    let certificates = common.into_iter().flat_map(|common| &common.tls_certificate_sds_secret_configs);
    certificates.chain(validation).map(|config| config.name.as_str())
}

/// The text of a Secret of type `kubernetes.io/dockerconfigjson`; `None` when no manifest has such a one.
pub(crate) fn docker_config(context: &Context<'_>, namespace: &str, name: &str) -> Option<String> {
    let secret = context.resources.secrets.iter().find(|secret| {
        secret.metadata.name == name
            && secret.metadata.namespace == namespace
            && secret.spec.kind == "kubernetes.io/dockerconfigjson"
    })?;
    value(secret, ".dockerconfigjson")
}

fn pair(secret: &Object<kubernetes::Secret>) -> Option<Secret> {
    let keys = [("cert", "key"), ("tls.crt", "tls.key")];
    let (certificate, key) =
        keys.iter().find_map(|(certificate, key)| Some((value(secret, certificate)?, value(secret, key)?)))?;
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(certificate)),
        private_key: Some(inline(key)),
        ..TlsCertificate::default()
    };
    Some(Secret { tls_certificate: Some(certificate), ..Secret::default() })
}

fn authority(secret: &Object<kubernetes::Secret>) -> Option<Secret> {
    let keys = [("cacert", "crl"), ("ca.crt", "ca.crl")];
    let (trusted, crl) = keys.iter().find_map(|(ca, crl)| Some((value(secret, ca)?, value(secret, crl))))?;
    let validation = CertificateValidationContext {
        trusted_ca: Some(inline(trusted)),
        crl: crl.map(inline),
        ..CertificateValidationContext::default()
    };
    Some(Secret { validation_context: Some(validation), ..Secret::default() })
}

/// A non-empty value, decoded.
fn value(secret: &Object<kubernetes::Secret>, key: &str) -> Option<String> {
    if let Some(text) = secret.spec.string_data.get(key) {
        return Some(text.clone()).filter(|text| !text.is_empty());
    }
    let encoded: String = secret.spec.data.get(key)?.split_whitespace().collect();
    let bytes = BASE64_STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

fn inline(text: String) -> DataSource {
    DataSource { inline_string: Some(text), ..DataSource::default() }
}
