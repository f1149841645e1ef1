//! TLS that ends at the gateway.

use xds::{
    CertificateValidationContext, CombinedCertificateValidationContext, CommonTlsContext, DataSource,
    DownstreamTlsContext, SdsSecretConfig, Secret, StringMatcher, TlsCertificate, TlsParameters,
    TrustChainVerification,
};

use super::{Context, gateways::BoundServer, secrets};
use crate::{
    problem::Problem,
    resource::{
        gateway::{ServerTls, TlsMode, TlsProtocol},
        mesh::MeshTlsProtocol,
    },
};

/// What a filter chain needs to end TLS.
pub(crate) struct ServerContext {
    pub(crate) context: DownstreamTlsContext,
    /// Secrets the context names.
    pub(crate) secrets: Vec<Secret>,
}

/// Suites that Envoy's BoringSSL knows; istiod drops the others.
const CIPHERS: [&str; 15] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// `Err` says why the server cannot present itself: a secret that no manifest has.
pub(crate) fn context(
    context: &Context<'_>,
    bound: &BoundServer<'_>,
    tls: &ServerTls,
) -> Result<ServerContext, Box<Problem>> {
    let mut common =
        CommonTlsContext { alpn_protocols: vec!["h2".into(), "http/1.1".into()], ..CommonTlsContext::default() };
    let names = if tls.credential_names.is_empty() {
        std::slice::from_ref(&tls.credential_name)
    } else {
        tls.credential_names.as_slice()
    };
    let mut found = Vec::new();
    if names.iter().all(String::is_empty) {
        by_file(&mut common, tls);
    } else {
        let authority = match tls.ca_cert_credential_name.as_str() {
            "" => secrets::ca_resource_name(names.first().map_or("", String::as_str)),
            own => secrets::resource_name(own),
        };
        by_credential(&mut common, tls, names, &authority);
        let wanted = common.tls_certificate_sds_secret_configs.iter().map(|config| config.name.clone());
        for name in wanted.chain(asks_for_client(tls.mode).then_some(authority)) {
            match secrets::find(context, &name) {
                Some(secret) => found.push(secret),
                None => return Err(Box::new(missing(context, bound, &name))),
            }
        }
    }
    parameters(context, &mut common, tls);
    let require = matches!(tls.mode, TlsMode::Mutual | TlsMode::IstioMutual);
    let downstream = DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: Some(require),
        ..DownstreamTlsContext::default()
    };
    Ok(ServerContext { context: downstream, secrets: found })
}

fn missing(context: &Context<'_>, bound: &BoundServer<'_>, name: &str) -> Problem {
    let name = name.rsplit("://").next().unwrap_or(name);
    let reason = format!(
        "no Secret {}/{name} with a certificate for this server: its connections are closed",
        context.node.namespace
    );
    bound
        .gateway
        .problem(&format!("spec.servers[{}].tls.credentialName", bound.index), reason)
        .cure("add the Secret to the manifests")
}

fn asks_for_client(mode: TlsMode) -> bool {
    matches!(mode, TlsMode::Mutual | TlsMode::OptionalMutual)
}

fn exact(names: &[String]) -> Vec<StringMatcher> {
    names.iter().map(|name| StringMatcher { exact: Some(name.clone()), ..StringMatcher::default() }).collect()
}

fn validation(tls: &ServerTls) -> CertificateValidationContext {
    CertificateValidationContext {
        match_subject_alt_names: exact(&tls.subject_alt_names),
        verify_certificate_spki: tls.verify_certificate_spki.clone(),
        verify_certificate_hash: tls.verify_certificate_hash.clone(),
        trust_chain_verification: match tls.insecure_skip_verify {
            Some(true) => TrustChainVerification::AcceptUntrusted,
            _ => TrustChainVerification::VerifyTrustChain,
        },
        ..CertificateValidationContext::default()
    }
}

fn by_credential(common: &mut CommonTlsContext, tls: &ServerTls, names: &[String], authority: &str) {
    let secret = |name: String| SdsSecretConfig { name, ..SdsSecretConfig::default() };
    common.tls_certificate_sds_secret_configs = names.iter().map(|name| secret(secrets::resource_name(name))).collect();
    if asks_for_client(tls.mode) {
        common.combined_validation_context = Some(CombinedCertificateValidationContext {
            default_validation_context: Some(validation(tls)),
            validation_context_sds_secret_config: Some(secret(authority.to_owned())),
            ..CombinedCertificateValidationContext::default()
        });
    } else if !tls.subject_alt_names.is_empty() {
        common.validation_context = Some(CertificateValidationContext {
            match_subject_alt_names: exact(&tls.subject_alt_names),
            ..CertificateValidationContext::default()
        });
    }
}

fn by_file(common: &mut CommonTlsContext, tls: &ServerTls) {
    let file = |path: &str| Some(DataSource { filename: Some(path.to_owned()), ..DataSource::default() });
    let pair = |certificate: &str, key: &str| TlsCertificate {
        certificate_chain: file(certificate),
        private_key: file(key),
        ..TlsCertificate::default()
    };
    common.tls_certificates = match tls.tls_certificates.as_slice() {
        [] => vec![pair(&tls.server_certificate, &tls.private_key)],
        listed => listed.iter().map(|own| pair(&own.server_certificate, &own.private_key)).collect(),
    };
    if asks_for_client(tls.mode) {
        let mut context = validation(tls);
        context.trusted_ca = file(&tls.ca_certificates);
        context.crl = Some(&tls.ca_crl).filter(|path| !path.is_empty()).and_then(|path| file(path));
        common.validation_context = Some(context);
    }
}

/// The mesh's defaults, then the server's own.
fn parameters(context: &Context<'_>, common: &mut CommonTlsContext, tls: &ServerTls) {
    let mut params = TlsParameters::default();
    if let Some(defaults) = &context.resources.mesh.tls_defaults {
        params.ecdh_curves.clone_from(&defaults.ecdh_curves);
        params.cipher_suites.clone_from(&defaults.cipher_suites);
        params.tls_minimum_protocol_version = match defaults.min_protocol_version {
            MeshTlsProtocol::Auto => xds::TlsProtocol::Auto,
            MeshTlsProtocol::V1_2 => xds::TlsProtocol::V1_2,
            MeshTlsProtocol::V1_3 => xds::TlsProtocol::V1_3,
        };
    }
    if tls.min_protocol_version != TlsProtocol::Auto {
        params.tls_minimum_protocol_version = version(tls.min_protocol_version);
    }
    params.tls_maximum_protocol_version = version(tls.max_protocol_version);
    if !tls.ecdh_curves.is_empty() {
        params.ecdh_curves.clone_from(&tls.ecdh_curves);
    }
    let mut ciphers: Vec<String> = Vec::new();
    for cipher in tls.cipher_suites.iter().filter(|cipher| CIPHERS.contains(&cipher.as_str())) {
        if !ciphers.contains(cipher) {
            ciphers.push(cipher.clone());
        }
    }
    if !ciphers.is_empty() {
        params.cipher_suites = ciphers;
    }
    common.tls_params = (params != TlsParameters::default()).then_some(params);
}

fn version(version: TlsProtocol) -> xds::TlsProtocol {
    match version {
        TlsProtocol::Auto => xds::TlsProtocol::Auto,
        TlsProtocol::V1_0 => xds::TlsProtocol::V1_0,
        TlsProtocol::V1_1 => xds::TlsProtocol::V1_1,
        TlsProtocol::V1_2 => xds::TlsProtocol::V1_2,
        TlsProtocol::V1_3 => xds::TlsProtocol::V1_3,
    }
}
