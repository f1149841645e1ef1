//! Certificates made fresh for one run: servers' `cert-a` and `cert-m`, and the clients `client` (known to `cert-m`'s CA) and `stranger`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::case::{Tls, Version};

/// What every server and client of a run needs.
pub struct Certificates {
    ca: String,
    leaves: BTreeMap<&'static str, Leaf>,
}

/// A certificate with its key.
pub struct Leaf {
    /// PEM.
    pub certificate: String,
    /// PEM, PKCS#8.
    pub key: String,
    chain: Vec<CertificateDer<'static>>,
    der: Vec<u8>,
}

impl Certificates {
    /// New keys, new certificates.
    ///
    /// # Errors
    /// None that a working random source lets happen.
    pub fn fresh() -> Result<Self> {
        let (ca, known) = authority("ca")?;
        let (_, unknown) = authority("otherca")?;
        let mut leaves = BTreeMap::new();
        for (name, issuer) in [("cert-a", &known), ("cert-m", &known), ("client", &known), ("stranger", &unknown)] {
            leaves.insert(name, leaf(name, issuer)?);
        }
        Ok(Self { ca, leaves })
    }

    /// The CA that signed everybody but `stranger`, as PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A certificate by name.
    ///
    /// # Errors
    /// A name no run makes.
    pub fn leaf(&self, name: &str) -> Result<&Leaf> {
        self.leaves.get(name).with_context(|| format!("no certificate is called {name}"))
    }

    /// The Secret of this name in `istio-system`, as a YAML document; `cert-m` brings its CA.
    ///
    /// # Errors
    /// A name no run makes.
    pub fn secret(&self, name: &str) -> Result<String> {
        let leaf = self.leaf(name)?;
        let mut data = vec![("tls.crt", leaf.certificate.as_str()), ("tls.key", &leaf.key)];
        if name == "cert-m" {
            data.push(("ca.crt", &self.ca));
        }
        let data: String = data.into_iter().map(|(key, pem)| format!("  {key}: {}\n", BASE64.encode(pem))).collect();
        Ok(format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: istio-system\ntype: kubernetes.io/tls\ndata:\n{data}"
        ))
    }

    /// How a client speaks TLS in this run: it believes any server, shows a certificate when told to, and offers HTTP/2 when that is what it speaks.
    ///
    /// # Errors
    /// A client no run makes.
    pub fn client(&self, tls: &Tls, version: Version) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveAnybody));
        let mut config = match &tls.client {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let leaf = self.leaf(name)?;
                let key = PrivateKeyDer::try_from(leaf.der.clone()).map_err(anyhow::Error::msg)?;
                builder.with_client_auth_cert(leaf.chain.clone(), key)?
            }
        };
        config.enable_sni = tls.sni.is_some();
        if version == Version::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Arc::new(config))
    }
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = named(name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Issuer::new(params, key)))
}

fn leaf(name: &str, issuer: &Issuer<'_, KeyPair>) -> Result<Leaf> {
    let key = KeyPair::generate()?;
    let certificate = named(name)?.signed_by(&key, issuer)?;
    let chain = vec![certificate.der().clone()];
    Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem(), chain, der: key.serialize_der() })
}

/// The tests judge what a gateway answers, not who it is.
#[derive(Debug)]
struct BelieveAnybody;

impl ServerCertVerifier for BelieveAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
