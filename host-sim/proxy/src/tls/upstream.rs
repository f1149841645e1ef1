//! The side towards endpoints: one cluster's names, certificates and rules.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::InvalidTls;
use super::failure::{Failure, failure};
use super::handshake::Servers;
use super::identity::Identity;
use super::parameters::{Side, cipher_name, parameters, version_name};
use super::secret::Secrets;
use super::validation::{Validation, has_name};

/// How one cluster speaks TLS. Built once, shared by all workers.
#[derive(Clone)]
pub struct Upstream {
    /// None while a secret is missing.
    connector: Option<TlsConnector>,
    sni: Option<String>,
    host_sni: bool,
    checks_sni: bool,
    names_alpn: bool,
}

/// What one connection asks beyond its cluster's context. The default asks nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// The name taken from the request (`auto_sni` of the cluster's protocol options); it goes before the context's.
    pub sni: Option<&'a str>,
    /// The endpoint's own name, for `auto_host_sni`.
    pub hostname: Option<&'a str>,
    /// A name the certificate must have because of the request (`auto_san_validation`).
    pub san: Option<&'a str>,
    /// What the connection pool speaks, best first, for a context that names no protocol.
    pub alpn: &'a [&'a [u8]],
}

/// A connection to an endpoint after its handshake.
#[derive(Debug)]
pub struct Connected<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// The application protocol chosen; none: the server chose none.
    pub alpn: Option<Vec<u8>>,
    /// `TLSv1.2`
    pub version: &'static str,
    /// The cipher suite under its OpenSSL name.
    pub cipher: String,
}

impl Upstream {
    /// Builds a cluster's side.
    ///
    /// # Errors
    /// What Envoy refuses, and what rustls cannot do. A secret that is missing is no error: the cluster is there, and every connection to it fails.
    pub fn build(context: &xds::UpstreamTlsContext, secrets: &Secrets) -> Result<Self, InvalidTls> {
        let connector = match Self::connector(context, secrets) {
            Ok(connector) => Some(connector),
            Err(error @ InvalidTls::MissingSecret { .. }) => {
                log::warn!("connections to a cluster fail: {error}");
                None
            }
            Err(error) => return Err(error),
        };
        let names_alpn = context.common_tls_context.as_ref().is_some_and(|common| !common.alpn_protocols.is_empty());
        Ok(Self {
            connector,
            sni: Some(context.sni.clone()).filter(|sni| !sni.is_empty()),
            host_sni: context.auto_host_sni,
            checks_sni: context.auto_sni_san_validation,
            names_alpn,
        })
    }

    fn connector(context: &xds::UpstreamTlsContext, secrets: &Secrets) -> Result<TlsConnector, InvalidTls> {
        let unset = xds::CommonTlsContext::default();
        let common = context.common_tls_context.as_ref().unwrap_or(&unset);
        let (provider, versions) = parameters(common.tls_params.as_ref(), Side::Client)?;
        let identities = Identity::load_all(common, secrets, &provider)?;
        let validation = Validation::resolve(common, secrets)?;
        let own: Vec<Vec<u8>> = common.alpn_protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        let mut config = ClientConfig::builder_with_provider(super::shared(provider))
            .with_protocol_versions(&versions)
            .map_err(|error| InvalidTls::field("tls_params", "", &error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Servers::new(validation))
            .with_client_cert_resolver(Arc::new(Ours(identities.into_iter().next().map(|identity| identity.key))));
        config.alpn_protocols = own;
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Shakes hands with an endpoint. How long that may take is the caller's business (`connect_timeout`).
    ///
    /// # Errors
    /// Why the server was refused, refused us, or went away.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        ask: Ask<'_>,
    ) -> Result<Connected<S>, Failure> {
        let Some(connector) = &self.connector else { return Err(Failure::secret_missing()) };
        let sni = ask.sni.or_else(|| ask.hostname.filter(|_| self.host_sni)).or(self.sni.as_deref());
        let connecting = if self.names_alpn {
            connector.connect(server_name(sni), stream)
        } else {
            let protocols = ask.alpn.iter().map(|protocol| protocol.to_vec()).collect();
            connector.with_alpn(protocols).connect(server_name(sni), stream)
        };
        let stream = connecting.await.map_err(|error| failure(&error))?;
        let (_, connection) = stream.get_ref();
        let required = ask.san.or_else(|| sni.filter(|_| self.checks_sni));
        if let (Some(name), Some(leaf)) = (required, connection.peer_certificates().and_then(<[_]>::first)) {
            has_name(leaf, name).map_err(|refused| Failure::refused(&refused))?;
        }
        let alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
        let version = connection.protocol_version().map(version_name).unwrap_or_default();
        let cipher = connection.negotiated_cipher_suite().map(|suite| cipher_name(suite.suite())).unwrap_or_default();
        Ok(Connected { stream, alpn, version, cipher })
    }
}

/// The name to ask for. An address is never sent as a name, and stands for asking for none.
fn server_name(sni: Option<&str>) -> ServerName<'static> {
    let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
    sni.and_then(|name| ServerName::try_from(name.to_owned()).ok()).unwrap_or(nobody)
}

/// The certificate we show when a server asks for one.
#[derive(Debug)]
struct Ours(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Ours {
    fn resolve(&self, _: &[&[u8]], schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone().filter(|key| key.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
