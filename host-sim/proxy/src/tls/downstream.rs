//! The side towards clients: one filter chain's certificates and rules.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::error::{InvalidTls, Untimely};
use super::facts;
use super::failure::{Failure, failure};
use super::handshake::Clients;
use super::identity::{Identities, Identity};
use super::parameters::{Side, cipher_name, parameters, version_name};
use super::secret::Secrets;
use super::validation::Validation;
use crate::edge::TlsInfo;

/// How one filter chain speaks TLS. Built once, shared by all workers.
#[derive(Clone)]
pub struct Downstream {
    acceptor: TlsAcceptor,
    local: TlsInfo,
    identities: Arc<Identities>,
    /// Who asks clients for certificates; none where nobody does.
    clients: Option<Arc<Clients>>,
    verifies: bool,
    require_sni: bool,
}

/// A client's connection after its handshake.
pub type Accepted<S> = (TlsStream<S>, Session);

/// What the handshake agreed on.
#[derive(Debug, Clone)]
pub struct Session {
    /// For headers, logs and filters.
    pub info: Arc<TlsInfo>,
    /// The application protocol chosen: `h2`, `http/1.1`; none: the client offered none of ours.
    pub alpn: Option<Vec<u8>>,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
}

impl Downstream {
    /// Builds a filter chain's side.
    ///
    /// # Errors
    /// What Envoy refuses, and what rustls cannot do; a secret that is missing is told apart.
    pub fn build(context: &xds::DownstreamTlsContext, secrets: &Secrets) -> Result<Self, InvalidTls> {
        let unset = xds::CommonTlsContext::default();
        let common = context.common_tls_context.as_ref().unwrap_or(&unset);
        let (provider, versions) = parameters(common.tls_params.as_ref(), Side::Server)?;
        let identities = Identity::load_all(common, secrets, &provider)?;
        if identities.is_empty() {
            return Err(InvalidTls::field("common_tls_context", "", "no TLS certificates found for server context"));
        }
        let local = local_facts(&identities);
        let identities = Arc::new(Identities(identities));
        let validation = Validation::resolve(common, secrets)?;
        let required = context.require_client_certificate == Some(true);
        let required = validation.as_ref().is_some_and(|validation| validation.requires(required));
        let verifies = validation.as_ref().is_some_and(Validation::asks);
        let builder = ServerConfig::builder_with_provider(super::shared(provider))
            .with_protocol_versions(&versions)
            .map_err(|error| InvalidTls::field("tls_params", "", &error.to_string()))?;
        let clients = verifies.then(|| Arc::new(Clients::new(validation, required)));
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::<Clients>::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::<Identities>::clone(&identities));
        config.alpn_protocols = common.alpn_protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        config.ignore_client_order = !context.prefer_client_ciphers;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            local,
            identities,
            clients,
            verifies,
            require_sni: context.require_sni == Some(true),
        })
    }

    /// Our certificates whose time is over or has not come, at `now` in seconds since 1970.
    pub fn untimely(&self, now: i64) -> Vec<Untimely> {
        self.identities.0.iter().filter_map(|identity| identity.untimely(now)).collect()
    }

    /// Whole days until the first of our certificates runs out, 0 when one has: `server.days_until_first_cert_expiring`.
    pub fn days_left(&self, now: i64) -> u64 {
        let first = self.identities.0.iter().map(|identity| identity.leaf.not_after - now).min();
        first.and_then(|seconds| u64::try_from(seconds / 86_400).ok()).unwrap_or_default()
    }

    /// Shakes hands. How long that may take is the caller's business (`transport_socket_connect_timeout`).
    ///
    /// # Errors
    /// Why the client was refused or went away. The client has been told, as far as TLS tells anything.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<Accepted<S>, Failure> {
        let stream = self.acceptor.accept(stream).await.map_err(|error| failure(&error))?;
        let (_, connection) = stream.get_ref();
        let server_name = connection.server_name().unwrap_or_default().to_owned();
        if self.require_sni && server_name.is_empty() {
            return Err(failure(&std::io::ErrorKind::ConnectionAborted.into()));
        }
        let info = TlsInfo {
            server_name,
            version: connection.protocol_version().map(version_name).unwrap_or_default().to_owned(),
            cipher: connection.negotiated_cipher_suite().map(|suite| cipher_name(suite.suite())).unwrap_or_default(),
            ..self.with_peer(connection.peer_certificates().unwrap_or_default())
        };
        let session = Session {
            info: Arc::new(info),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        };
        Ok((stream, session))
    }

    /// What a handshake with a client that has these certificates, its own first, would come to. That the client has the key is taken for granted.
    ///
    /// # Errors
    /// Why the client would be refused.
    pub fn judge(&self, server_name: &str, certificates: &[CertificateDer<'_>]) -> Result<TlsInfo, Failure> {
        let refused = |error: rustls::Error| failure(&std::io::Error::other(error));
        if self.require_sni && server_name.is_empty() {
            return Err(failure(&std::io::ErrorKind::ConnectionAborted.into()));
        }
        // A client shows its certificate to those who ask.
        let shown = if self.clients.is_some() { certificates } else { &[] };
        if let Some(clients) = &self.clients {
            match shown.split_first() {
                Some((leaf, others)) => {
                    clients.verify_client_cert(leaf, others, UnixTime::now()).map_err(refused)?;
                }
                None if clients.client_auth_mandatory() => return Err(refused(rustls::Error::NoCertificatesPresented)),
                None => {}
            }
        }
        Ok(TlsInfo { server_name: server_name.to_owned(), ..self.with_peer(shown) })
    }

    fn with_peer(&self, sent: &[CertificateDer<'_>]) -> TlsInfo {
        let peer = facts::peer(sent).ok().flatten();
        TlsInfo { peer_validated: peer.is_some() && self.verifies, peer, ..self.local.clone() }
    }
}

/// What is said of our own certificate: the first one's, which nearly always is the only one.
fn local_facts(identities: &[Identity]) -> TlsInfo {
    let Some(leaf) = identities.first().map(|identity| &identity.leaf) else { return TlsInfo::default() };
    TlsInfo {
        local_uri_sans: facts::uris(leaf),
        local_dns_sans: facts::dns_names(leaf),
        local_subject: leaf.subject_text.clone(),
        ..TlsInfo::default()
    }
}
