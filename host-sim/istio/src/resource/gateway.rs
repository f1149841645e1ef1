//! `Gateway`: the ports a gateway workload listens on and the hosts it takes there.

use std::collections::BTreeMap;

use crate::manifest::decode::{choices, messages};

messages! {
    /// The `spec`.
    struct Gateway {
        servers: Vec<Server> = "servers",
        selector: BTreeMap<String, String> = "selector",
    }

    /// One port with the hosts taken on it.
    struct Server {
        port: Port = "port" required,
        bind: String = "bind",
        hosts: Vec<String> = "hosts" required,
        tls: Option<ServerTls> = "tls",
        default_endpoint: String = "defaultEndpoint",
        name: String = "name",
    }

    /// A server's port.
    struct Port {
        number: u32 = "number" required,
        protocol: String = "protocol" required,
        name: String = "name" required,
        target_port: u32 = "targetPort",
    }

    /// How the server ends TLS, or does not.
    struct ServerTls {
        https_redirect: bool = "httpsRedirect",
        mode: TlsMode = "mode",
        server_certificate: String = "serverCertificate",
        private_key: String = "privateKey",
        ca_certificates: String = "caCertificates",
        ca_crl: String = "caCrl",
        credential_name: String = "credentialName",
        credential_names: Vec<String> = "credentialNames",
        ca_cert_credential_name: String = "caCertCredentialName",
        tls_certificates: Vec<TlsCertificate> = "tlsCertificates",
        subject_alt_names: Vec<String> = "subjectAltNames",
        verify_certificate_spki: Vec<String> = "verifyCertificateSpki",
        verify_certificate_hash: Vec<String> = "verifyCertificateHash",
        min_protocol_version: TlsProtocol = "minProtocolVersion",
        max_protocol_version: TlsProtocol = "maxProtocolVersion",
        cipher_suites: Vec<String> = "cipherSuites",
        ecdh_curves: Vec<String> = "ecdhCurves",
        insecure_skip_verify: Option<bool> = "insecureSkipVerify",
    }

    /// A certificate by file.
    struct TlsCertificate {
        server_certificate: String = "serverCertificate",
        private_key: String = "privateKey",
        ca_certificates: String = "caCertificates",
    }
}

choices! {
    /// What a server does with TLS.
    enum TlsMode {
        Passthrough = "PASSTHROUGH",
        Simple = "SIMPLE",
        Mutual = "MUTUAL",
        AutoPassthrough = "AUTO_PASSTHROUGH",
        IstioMutual = "ISTIO_MUTUAL",
        OptionalMutual = "OPTIONAL_MUTUAL",
    }
    /// A TLS version, or the proxy's choice.
    enum TlsProtocol { Auto = "TLS_AUTO", V1_0 = "TLSV1_0", V1_1 = "TLSV1_1", V1_2 = "TLSV1_2", V1_3 = "TLSV1_3" }
}

impl Server {
    pub(crate) fn protocol(&self) -> super::protocol::Protocol {
        super::protocol::Protocol::parse(&self.port.protocol)
    }

    /// The connection is passed on without ending TLS.
    pub(crate) fn is_passthrough(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| matches!(tls.mode, TlsMode::Passthrough | TlsMode::AutoPassthrough))
    }

    /// HTTPS whose TLS ends here: one filter chain and one route table of its own.
    pub(crate) fn terminates_https(&self) -> bool {
        self.tls.is_some() && self.protocol() == super::protocol::Protocol::Https && !self.is_passthrough()
    }

    /// TLS is asked for and is more than the redirect flag of an HTTP server.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some() && !self.protocol().is_http()
    }

    /// HTTP, or HTTPS that ends here.
    pub(crate) fn is_http(&self) -> bool {
        self.protocol().is_http() || (self.protocol() == super::protocol::Protocol::Https && !self.is_passthrough())
    }
}
