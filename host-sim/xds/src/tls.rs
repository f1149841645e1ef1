//! `envoy.extensions.transport_sockets.tls.v3`: TLS on both sides, and secrets.

use serde_json::Value;

use crate::{ConfigSource, DataSource, StringMatcher, TypedExtensionConfig};

message!(TransportSocket { name: String, typed_config: Option<TransportSocketConfig> });
typed!(
    /// A transport socket's configuration.
    TransportSocketConfig {
        DownstreamTls(DownstreamTlsContext) = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        UpstreamTls(UpstreamTlsContext) = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        RawBuffer(RawBuffer) = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    }
);
message!(RawBuffer {});
message!(DownstreamTlsContext {
    common_tls_context: Option<CommonTlsContext>, require_client_certificate: Option<bool>, require_sni: Option<bool>,
    session_ticket_keys: Option<Value>, session_ticket_keys_sds_secret_config: Option<Value>,
    disable_stateless_session_resumption: Option<bool>, disable_stateful_session_resumption: bool,
    session_timeout: Option<crate::Duration>, ocsp_staple_policy: Option<String>,
    full_scan_certs_on_sni_mismatch: Option<bool>, prefer_client_ciphers: bool,
});
message!(UpstreamTlsContext {
    common_tls_context: Option<CommonTlsContext>, sni: String, auto_host_sni: bool, auto_sni_san_validation: bool,
    allow_renegotiation: bool, max_session_keys: Option<u32>, enforce_rsa_key_usage: Option<bool>,
});
message!(CommonTlsContext {
    tls_params: Option<TlsParameters>, tls_certificates: Vec<TlsCertificate>,
    tls_certificate_sds_secret_configs: Vec<SdsSecretConfig>, tls_certificate_provider_instance: Option<Value>,
    custom_tls_certificate_selector: Option<TypedExtensionConfig>, tls_certificate_certificate_provider: Option<Value>,
    tls_certificate_certificate_provider_instance: Option<Value>, validation_context: Option<CertificateValidationContext>,
    validation_context_sds_secret_config: Option<SdsSecretConfig>,
    combined_validation_context: Option<CombinedCertificateValidationContext>,
    validation_context_certificate_provider: Option<Value>,
    validation_context_certificate_provider_instance: Option<Value>, alpn_protocols: Vec<String>,
    custom_handshaker: Option<TypedExtensionConfig>, key_log: Option<Value>,
});
message!(CombinedCertificateValidationContext {
    default_validation_context: Option<CertificateValidationContext>,
    validation_context_sds_secret_config: Option<SdsSecretConfig>, validation_context_certificate_provider: Option<Value>,
    validation_context_certificate_provider_instance: Option<Value>,
});
message!(TlsParameters {
    tls_minimum_protocol_version: TlsProtocol, tls_maximum_protocol_version: TlsProtocol, cipher_suites: Vec<String>,
    ecdh_curves: Vec<String>, signature_algorithms: Vec<String>, compliance_policies: Vec<String>,
});
enumeration!(TlsProtocol {
    Auto = "TLS_AUTO", V1_0 = "TLSv1_0", V1_1 = "TLSv1_1", V1_2 = "TLSv1_2", V1_3 = "TLSv1_3",
});
message!(TlsCertificate {
    certificate_chain: Option<DataSource>, private_key: Option<DataSource>, pkcs12: Option<DataSource>,
    watched_directory: Option<Value>, private_key_provider: Option<Value>, password: Option<DataSource>,
    ocsp_staple: Option<DataSource>, signed_certificate_timestamp: Vec<DataSource>,
});
message!(CertificateValidationContext {
    trusted_ca: Option<DataSource>, ca_certificate_provider_instance: Option<Value>, system_root_certs: Option<Value>,
    watched_directory: Option<Value>, verify_certificate_spki: Vec<String>, verify_certificate_hash: Vec<String>,
    match_typed_subject_alt_names: Vec<SubjectAltNameMatcher>, match_subject_alt_names: Vec<StringMatcher>,
    require_signed_certificate_timestamp: Option<bool>, crl: Option<DataSource>, allow_expired_certificate: bool,
    trust_chain_verification: TrustChainVerification, custom_validator_config: Option<TypedExtensionConfig>,
    only_verify_leaf_cert_crl: bool, max_verify_depth: Option<u32>,
});
enumeration!(TrustChainVerification {
    VerifyTrustChain = "VERIFY_TRUST_CHAIN", AcceptUntrusted = "ACCEPT_UNTRUSTED",
});
message!(SubjectAltNameMatcher { san_type: String, matcher: Option<StringMatcher>, oid: String });
message!(SdsSecretConfig { name: String, sds_config: Option<ConfigSource> });
message!(Secret {
    name: String, tls_certificate: Option<TlsCertificate>, session_ticket_keys: Option<Value>,
    validation_context: Option<CertificateValidationContext>, generic_secret: Option<Value>,
});
