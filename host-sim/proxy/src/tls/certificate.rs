//! A certificate taken apart once: what verification, matching and `x-forwarded-client-cert` ask of it.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::{der, name};

/// A parsed certificate of any version.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) der: CertificateDer<'static>,
    /// What is signed, by which algorithm (the content of its AlgorithmIdentifier), and the signature.
    pub(super) signed: Vec<u8>,
    pub(super) signature_algorithm: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) key: PublicKey,
    /// Names as DER, to compare.
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// Names as people read them.
    pub(super) subject_text: String,
    pub(super) issuer_text: String,
    pub(super) common_name: Option<String>,
    /// Lower-case hex.
    pub(super) serial: String,
    /// Seconds since 1970, both inclusive.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) sans: Vec<San>,
    pub(super) extensions: Extensions,
}

/// A SubjectPublicKeyInfo.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    /// The whole structure.
    pub(super) info: Vec<u8>,
    /// The content of its AlgorithmIdentifier.
    pub(super) algorithm: Vec<u8>,
    /// The key itself.
    pub(super) octets: Vec<u8>,
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Default)]
pub(super) struct Extensions {
    /// Version 3; older ones have no extensions.
    pub(super) version3: bool,
    /// basicConstraints: whether it is a CA, and how many CAs may follow below it.
    pub(super) authority: Option<(bool, Option<u32>)>,
    /// keyUsage, when it is there.
    pub(super) key_usage: Option<KeyUsage>,
    /// extendedKeyUsage, when it is there.
    pub(super) purposes: Option<Purposes>,
    pub(super) name_constraints: bool,
    /// A critical extension nobody here knows.
    pub(super) unknown_critical: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct KeyUsage {
    pub(super) digital_signature: bool,
    pub(super) key_encipherment: bool,
    pub(super) key_agreement: bool,
    pub(super) cert_sign: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Purposes {
    pub(super) server: bool,
    pub(super) client: bool,
}

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum San {
    Uri(String),
    Dns(String),
    Ip(String),
    Email(String),
}

impl San {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Uri(text) | Self::Dns(text) | Self::Ip(text) | Self::Email(text) => text,
        }
    }
}

/// The bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub(super) struct NoCertificate;

impl Certificate {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoCertificate> {
        let parsed =
            X509Certificate::from_der(bytes).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, parsed)| parsed);
        let (parsed, raw) = parsed.zip(Raw::of(bytes)).ok_or(NoCertificate)?;
        Ok(Self {
            der: CertificateDer::from(bytes.to_vec()),
            signed: raw.signed.to_vec(),
            signature_algorithm: raw.algorithm.to_vec(),
            signature: raw.signature.to_vec(),
            key: PublicKey::parse(parsed.public_key().raw).ok_or(NoCertificate)?,
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject_text: name::rfc2253(parsed.subject()),
            issuer_text: name::rfc2253(parsed.issuer()),
            common_name: parsed
                .subject()
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
            serial: super::hex(parsed.raw_serial()).trim_start_matches("00").to_owned(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            sans: sans(&parsed),
            extensions: extensions(&parsed),
        })
    }

    /// Signed by its own name.
    pub(super) fn self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

impl PublicKey {
    pub(super) fn parse(info: &[u8]) -> Option<Self> {
        let (outer, _) = der::take_of(der::SEQUENCE, info)?;
        let (algorithm, rest) = der::take_of(der::SEQUENCE, outer.content)?;
        let (octets, _) = der::take_of(der::BIT_STRING, rest)?;
        Some(Self { info: info.to_vec(), algorithm: algorithm.content.to_vec(), octets: der::bits(octets)?.to_vec() })
    }
}

/// The three parts of every certificate, as they stand in its bytes.
struct Raw<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Raw<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (outer, _) = der::take_of(der::SEQUENCE, bytes)?;
        let (signed, rest) = der::take_of(der::SEQUENCE, outer.content)?;
        let (algorithm, rest) = der::take_of(der::SEQUENCE, rest)?;
        let (signature, _) = der::take_of(der::BIT_STRING, rest)?;
        Some(Self { signed: signed.whole, algorithm: algorithm.content, signature: der::bits(signature)? })
    }
}

fn sans(certificate: &X509Certificate<'_>) -> Vec<San> {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.iter().flat_map(|names| &names.value.general_names).filter_map(san).collect()
}

fn san(name: &GeneralName<'_>) -> Option<San> {
    match name {
        GeneralName::URI(uri) => Some(San::Uri((*uri).to_owned())),
        GeneralName::DNSName(name) => Some(San::Dns((*name).to_owned())),
        GeneralName::RFC822Name(name) => Some(San::Email((*name).to_owned())),
        GeneralName::IPAddress(octets) => {
            let address = match octets.len() {
                4 => <[u8; 4]>::try_from(*octets).ok().map(std::net::IpAddr::from),
                _ => <[u8; 16]>::try_from(*octets).ok().map(std::net::IpAddr::from),
            };
            address.map(|address| San::Ip(address.to_string()))
        }
        _ => None,
    }
}

fn extensions(certificate: &X509Certificate<'_>) -> Extensions {
    let mut found = Extensions { version3: certificate.version() == X509Version::V3, ..Extensions::default() };
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) => found.authority = Some((basic.ca, basic.path_len_constraint)),
            ParsedExtension::KeyUsage(usage) => {
                found.key_usage = Some(KeyUsage {
                    digital_signature: usage.digital_signature(),
                    key_encipherment: usage.key_encipherment(),
                    key_agreement: usage.key_agreement(),
                    cert_sign: usage.key_cert_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                found.purposes = Some(Purposes { server: usage.server_auth, client: usage.client_auth });
            }
            ParsedExtension::NameConstraints(_) => found.name_constraints = true,
            ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::InhibitAnyPolicy(_)
            | ParsedExtension::CRLDistributionPoints(_) => {}
            _ => found.unknown_critical |= extension.critical,
        }
    }
    found
}
