//! TLS towards a service.

use xds::{
    CertificateValidationContext, Cluster, CombinedCertificateValidationContext, CommonTlsContext, DataSource,
    SdsSecretConfig, StringMatcher, TlsParameters, TlsProtocol, TransportSocket, TransportSocketConfig,
    UpstreamHttpOptions, UpstreamTlsContext,
};

use super::{Maker, plain_text_match, policy::Policy};
use crate::{
    problem::Problem,
    resource::destination_rule::{ClientTls, ClientTlsMode},
    translate::secrets,
};

/// What `--allow-unsupported` calls mutual TLS with mesh certificates.
const ISTIO_MUTUAL: &str = "ISTIO_MUTUAL";

/// As a path of CA certificates: those the operating system trusts, as Istio's agent reads it.
const SYSTEM: &str = "system";

/// Without settings a service of the mesh gets plain text by match, as automatic mutual TLS leaves it for endpoints without a sidecar.
pub(super) fn apply(
    maker: &Maker<'_, '_>,
    cluster: &mut Cluster,
    options: &mut UpstreamHttpOptions,
    policy: &Policy<'_>,
    problems: &mut Vec<Problem>,
) {
    match policy.tls {
        None => {
            let automatic =
                !maker.service.mesh_external && maker.context.resources.mesh.enable_auto_mtls != Some(false);
            if automatic && cluster.r#type != Some(xds::DiscoveryType::OriginalDst) {
                cluster.transport_socket_matches = vec![plain_text_match()];
            }
        }
        Some(tls) => match tls.mode {
            ClientTlsMode::Disable => {}
            ClientTlsMode::IstioMutual if maker.context.options.allows(ISTIO_MUTUAL) => {
                cluster.transport_socket_matches = vec![plain_text_match()];
            }
            ClientTlsMode::IstioMutual => {
                let reason = "ISTIO_MUTUAL needs a mesh certificate, which only istiod issues";
                refuse(maker, reason, "--allow-unsupported ISTIO_MUTUAL speaks plain text instead", problems);
            }
            ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                let context = upstream(maker, tls, options);
                cluster.transport_socket = Some(TransportSocket {
                    name: "envoy.transport_sockets.tls".into(),
                    typed_config: Some(TransportSocketConfig::UpstreamTls(Box::new(context))),
                });
            }
        },
    }
    if policy.proxy_protocol.is_some() {
        refuse(maker, "proxyProtocol towards a service is not supported", "take it out for this run", problems);
    }
}

fn refuse(maker: &Maker<'_, '_>, reason: &str, cure: &str, problems: &mut Vec<Problem>) {
    if let Some(rule) = maker.rule {
        problems.push(rule.first.problem("spec.trafficPolicy", reason).cure(cure));
    }
}

fn upstream(maker: &Maker<'_, '_>, tls: &ClientTls, options: &mut UpstreamHttpOptions) -> UpstreamTlsContext {
    let insecure = tls.insecure_skip_verify == Some(true);
    let auto_sni = tls.sni.is_empty();
    let auto_san = auto_sni && tls.subject_alt_names.is_empty() && !insecure;
    if auto_sni || auto_san {
        let upstream = options.upstream_http_protocol_options.get_or_insert_default();
        upstream.auto_sni = auto_sni;
        upstream.auto_san_validation = auto_san;
    }
    let names = match (tls.subject_alt_names.as_slice(), maker.service.is_kubernetes) {
        ([], false) => &maker.service.subject_alt_names,
        _ => &tls.subject_alt_names,
    };
    let mut common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::V1_2,
            tls_maximum_protocol_version: TlsProtocol::V1_3,
            ..TlsParameters::default()
        }),
        ..CommonTlsContext::default()
    };
    if tls.credential_name.is_empty() {
        by_file(&mut common, tls, names, insecure);
    } else {
        by_credential(&mut common, tls, names, insecure);
    }
    if let Some(defaults) = &maker.context.resources.mesh.tls_defaults {
        let params = common.tls_params.get_or_insert_default();
        for (own, default) in
            [(&mut params.ecdh_curves, &defaults.ecdh_curves), (&mut params.cipher_suites, &defaults.cipher_suites)]
        {
            if !default.is_empty() {
                own.clone_from(default);
            }
        }
    }
    if options.explicit_http_config.as_ref().is_some_and(|config| config.http2_protocol_options.is_some()) {
        common.alpn_protocols = vec!["h2".into()];
    }
    UpstreamTlsContext { common_tls_context: Some(common), sni: tls.sni.clone(), ..UpstreamTlsContext::default() }
}

fn exact(names: &[String]) -> Vec<StringMatcher> {
    names.iter().map(|name| StringMatcher { exact: Some(name.clone()), ..StringMatcher::default() }).collect()
}

fn by_credential(common: &mut CommonTlsContext, tls: &ClientTls, names: &[String], insecure: bool) {
    let secret = |name: String| SdsSecretConfig { name, ..SdsSecretConfig::default() };
    if tls.mode == ClientTlsMode::Mutual {
        common.tls_certificate_sds_secret_configs = vec![secret(secrets::resource_name(&tls.credential_name))];
    }
    if !insecure {
        common.combined_validation_context = Some(CombinedCertificateValidationContext {
            default_validation_context: Some(CertificateValidationContext {
                match_subject_alt_names: exact(names),
                ..CertificateValidationContext::default()
            }),
            validation_context_sds_secret_config: Some(secret(secrets::ca_resource_name(&tls.credential_name))),
            ..CombinedCertificateValidationContext::default()
        });
    }
}

fn by_file(common: &mut CommonTlsContext, tls: &ClientTls, names: &[String], insecure: bool) {
    let file = |path: &str| DataSource { filename: Some(path.to_owned()), ..DataSource::default() };
    if tls.mode == ClientTlsMode::Mutual {
        common.tls_certificates = vec![xds::TlsCertificate {
            certificate_chain: Some(file(&tls.client_certificate)),
            private_key: Some(file(&tls.private_key)),
            ..xds::TlsCertificate::default()
        }];
    }
    let mut validation = CertificateValidationContext::default();
    if !insecure {
        validation.match_subject_alt_names = exact(names);
        validation.crl = Some(&tls.ca_crl).filter(|path| !path.is_empty()).map(|path| file(path));
        if tls.ca_certificates.is_empty() || tls.ca_certificates == SYSTEM {
            validation.system_root_certs = Some(serde_json::json!({}));
        } else {
            validation.trusted_ca = Some(file(&tls.ca_certificates));
        }
    }
    common.validation_context = Some(validation);
}
