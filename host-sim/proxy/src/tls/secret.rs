//! Certificates and keys: by secret, in place, or in a file.

use std::collections::BTreeMap;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::Certificate;
use super::error::InvalidTls;
use crate::data_source;

/// The secrets a configuration may name, as a secret discovery service would serve them.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, xds::Secret>);

/// Where systems keep the CAs they trust.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Secrets {
    /// Secrets by their names; of two with one name the last counts.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a xds::Secret>) -> Self {
        Self(secrets.into_iter().map(|secret| (secret.name.clone(), secret.clone())).collect())
    }

    /// A certificate with its key, by name. `file-cert:CHAIN~KEY` names two files, as Istio does.
    pub(super) fn certificate(&self, name: &str) -> Result<xds::TlsCertificate, InvalidTls> {
        if let Some((chain, key)) = name.strip_prefix("file-cert:").and_then(|files| files.split_once('~')) {
            return Ok(xds::TlsCertificate {
                certificate_chain: Some(file(chain)),
                private_key: Some(file(key)),
                ..xds::TlsCertificate::default()
            });
        }
        let found = self.0.get(name).and_then(|secret| secret.tls_certificate.clone());
        found.ok_or_else(|| InvalidTls::MissingSecret { name: name.to_owned() })
    }

    /// What to check peers against, by name. `file-root:FILE` names a bundle of CAs, `file-root:system` the system's.
    pub(super) fn validation(&self, name: &str) -> Result<xds::CertificateValidationContext, InvalidTls> {
        match name.strip_prefix("file-root:") {
            Some("system") => Ok(xds::CertificateValidationContext {
                system_root_certs: Some(serde_json::Value::Object(serde_json::Map::new())),
                ..xds::CertificateValidationContext::default()
            }),
            Some(bundle) => Ok(xds::CertificateValidationContext {
                trusted_ca: Some(file(bundle)),
                ..xds::CertificateValidationContext::default()
            }),
            None => {
                let found = self.0.get(name).and_then(|secret| secret.validation_context.clone());
                found.ok_or_else(|| InvalidTls::MissingSecret { name: name.to_owned() })
            }
        }
    }

    /// Every certificate of a PEM source, in order.
    pub(super) fn certificates(source: &xds::DataSource, field: &str) -> Result<Vec<Certificate>, InvalidTls> {
        let what = described(source, field);
        let bad = |reason: String| InvalidTls::BadCertificate { what: what.clone(), reason };
        let pem = read(source, &what)?;
        let ders: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let ders = ders.map_err(|error| bad(format!("bad PEM: {error}")))?;
        if ders.is_empty() {
            return Err(bad("no PEM certificate (-----BEGIN CERTIFICATE-----)".to_owned()));
        }
        let parsed = ders
            .iter()
            .zip(1..)
            .map(|(der, at)| Certificate::parse(der).map_err(|error| bad(format!("certificate {at}: {error}"))));
        parsed.collect()
    }

    /// The private key of a PEM source: PKCS#8, PKCS#1 or SEC1.
    pub(super) fn key(source: &xds::DataSource, field: &str) -> Result<PrivateKeyDer<'static>, InvalidTls> {
        let what = described(source, field);
        let pem = read(source, &what)?;
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| InvalidTls::BadKey {
            what,
            reason: match error {
                rustls::pki_types::pem::Error::NoItemsFound => {
                    "no PEM private key (an encrypted one cannot be used)".to_owned()
                }
                other => format!("bad PEM: {other}"),
            },
        })
    }

    /// The CAs this system trusts.
    pub(super) fn system_roots() -> Result<Vec<Certificate>, InvalidTls> {
        let bundle = SYSTEM_ROOTS.iter().find(|path| std::path::Path::new(path).is_file());
        let missing = || InvalidTls::Unreadable {
            what: "system_root_certs".to_owned(),
            reason: format!("none of {} exists", SYSTEM_ROOTS.join(", ")),
        };
        Self::certificates(&file(bundle.ok_or_else(missing)?), "system_root_certs")
    }
}

fn file(path: &str) -> xds::DataSource {
    xds::DataSource { filename: Some(path.to_owned()), ..xds::DataSource::default() }
}

/// The field, and the file when there is one.
fn described(source: &xds::DataSource, field: &str) -> String {
    match (&source.filename, &source.environment_variable) {
        (Some(file), _) => format!("{field}: {file}"),
        (None, Some(variable)) => format!("{field}: ${variable}"),
        _ => field.to_owned(),
    }
}

fn read(source: &xds::DataSource, what: &str) -> Result<Vec<u8>, InvalidTls> {
    data_source::read(source).map_err(|reason| InvalidTls::Unreadable { what: what.to_owned(), reason })
}
