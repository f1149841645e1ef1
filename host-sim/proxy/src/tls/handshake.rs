//! What rustls asks during a handshake: is this peer welcome, and did it sign with the key of its certificate.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::certificate::PublicKey;
use super::chain::Role;
use super::validation::Validation;

/// Checks handshake signatures against the key alone, so that a certificate's version does not matter.
#[derive(Debug)]
struct Signatures(WebPkiSupportedAlgorithms);

impl Signatures {
    fn new() -> Self {
        Self(super::provider().signature_verification_algorithms)
    }

    fn tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_of(certificate)?;
        let algorithms =
            self.0.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme).map(|(_, algorithms)| *algorithms);
        let mut fitting = algorithms
            .unwrap_or_default()
            .iter()
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm);
        match fitting.any(|algorithm| algorithm.verify_signature(&key.octets, message, signed.signature()).is_ok()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let info = SubjectPublicKeyInfoDer::from(key_of(certificate)?.info);
        verify_tls13_signature_with_raw_key(message, &info, signed, &self.0)
    }
}

fn key_of(certificate: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    let parsed = super::certificate::Certificate::parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(parsed.key)
}

/// Asks clients for a certificate.
#[derive(Debug)]
pub(super) struct Clients {
    validation: Option<Validation>,
    required: bool,
    authorities: Vec<DistinguishedName>,
    signatures: Signatures,
}

impl Clients {
    /// `validation` judges what is presented; without one anything is taken.
    pub(super) fn new(validation: Option<Validation>, required: bool) -> Self {
        let authorities = validation.as_ref().map(Validation::authorities).unwrap_or_default();
        Self { validation, required, authorities, signatures: Signatures::new() }
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(validation) = &self.validation {
            validation.judge(leaf, sent, Role::Client, now).map_err(|refused| refused.to_client())?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.0.supported_schemes()
    }
}

/// Judges servers. The name in the handshake plays no part: Envoy compares names only where a rule says so.
#[derive(Debug)]
pub(super) struct Servers {
    validation: Option<Validation>,
    signatures: Signatures,
}

impl Servers {
    /// Without a validation every server is believed.
    pub(super) fn new(validation: Option<Validation>) -> Arc<Self> {
        Arc::new(Self { validation, signatures: Signatures::new() })
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(validation) = &self.validation {
            validation.judge(leaf, sent, Role::Server, now).map_err(|refused| refused.to_server())?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.0.supported_schemes()
    }
}
