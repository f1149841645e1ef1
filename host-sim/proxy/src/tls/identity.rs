//! Our own certificates: loaded with their keys, and chosen by what a client asks for.

use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, San};
use super::error::{InvalidTls, Untimely, UntimelyProblem};
use super::secret::Secrets;

/// A certificate chain and the key to it.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) leaf: Certificate,
    pub(super) key: Arc<CertifiedKey>,
}

impl Identity {
    /// All certificates of a context, in place first.
    pub(super) fn load_all(
        common: &xds::CommonTlsContext,
        secrets: &Secrets,
        provider: &CryptoProvider,
    ) -> Result<Vec<Self>, InvalidTls> {
        let in_place =
            common.tls_certificates.iter().map(|certificate| Self::load(certificate, "tls_certificates", provider));
        let by_name = common.tls_certificate_sds_secret_configs.iter().map(|config| {
            let what = format!("secret {}", config.name);
            Self::load(&secrets.certificate(&config.name)?, &what, provider)
        });
        in_place.chain(by_name).collect()
    }

    fn load(certificate: &xds::TlsCertificate, what: &str, provider: &CryptoProvider) -> Result<Self, InvalidTls> {
        if certificate.pkcs12.is_some() || certificate.private_key_provider.is_some() || certificate.password.is_some()
        {
            return Err(InvalidTls::field(
                "tls_certificates",
                what,
                "pkcs12, password and private_key_provider are not supported",
            ));
        }
        let unset = xds::DataSource::default();
        let chain_source = certificate.certificate_chain.as_ref().unwrap_or(&unset);
        let key_source = certificate.private_key.as_ref().unwrap_or(&unset);
        let chain = Secrets::certificates(chain_source, &format!("{what}: certificate_chain"))?;
        let key = Secrets::key(key_source, &format!("{what}: private_key"))?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| InvalidTls::BadKey {
            what: format!("{what}: private_key"),
            reason: format!("RSA of 2048 bits or more, ECDSA P-256 or P-384 or Ed25519 is needed ({error})"),
        })?;
        let ders = chain.iter().map(|certificate| certificate.der.clone()).collect();
        let leaf = chain
            .into_iter()
            .next()
            .ok_or_else(|| InvalidTls::BadCertificate { what: what.to_owned(), reason: "empty".to_owned() })?;
        // Compared here and not by rustls, which would refuse certificates of version 1.
        if key.public_key().is_some_and(|public| public.as_ref() != leaf.key.info.as_slice()) {
            return Err(InvalidTls::KeyMismatch { what: what.to_owned(), subject: leaf.subject_text });
        }
        Ok(Self { leaf, key: Arc::new(CertifiedKey::new(ders, key)) })
    }

    /// What is wrong with the certificate's dates at `now`, in seconds since 1970.
    pub(super) fn untimely(&self, now: i64) -> Option<Untimely> {
        let problem = match (now - self.leaf.not_after, self.leaf.not_before - now) {
            (ago @ 1.., _) => UntimelyProblem::Expired { ago },
            (_, after @ 1..) => UntimelyProblem::NotYet { after },
            _ => return None,
        };
        Some(Untimely { subject: self.leaf.subject_text.clone(), serial: self.leaf.serial.clone(), problem })
    }

    /// The names the certificate is for: its DNS names, or its common name when it has none.
    fn names(&self) -> Vec<&str> {
        let dns: Vec<&str> = self
            .leaf
            .sans
            .iter()
            .filter_map(|san| if let San::Dns(name) = san { Some(name.as_str()) } else { None })
            .collect();
        if dns.is_empty() { self.leaf.common_name.as_deref().into_iter().collect() } else { dns }
    }
}

/// Picks the certificate for a client.
#[derive(Debug)]
pub(super) struct Identities(pub(super) Vec<Identity>);

impl ResolvesServerCert for Identities {
    /// The first whose name and kind of key suit the client; then the first whose kind of key does; then the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let named = |identity: &&Identity| {
            asked.is_some_and(|asked| identity.names().iter().any(|name| super::validation::dns_matches(asked, name)))
        };
        let speaks = |identity: &&Identity| identity.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let ecdsa = |identity: &&Identity| identity.key.key.algorithm() == SignatureAlgorithm::ECDSA;
        let among = |named_only: bool| {
            let fits = |identity: &&Identity| speaks(identity) && (!named_only || named(identity));
            self.0.iter().filter(fits).find(ecdsa).or_else(|| self.0.iter().find(fits))
        };
        let chosen = among(true).or_else(|| self.0.iter().find(speaks)).or(self.0.first());
        chosen.map(|identity| Arc::clone(&identity.key))
    }
}
