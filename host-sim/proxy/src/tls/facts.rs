//! A certificate in the forms that headers and logs have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use rustls::pki_types::CertificateDer;

use super::certificate::{Certificate, NoCertificate, San};
use crate::edge::PeerCertificate;

/// What is said of a peer that sent these certificates, its own first.
pub(super) fn peer(sent: &[CertificateDer<'_>]) -> Result<Option<PeerCertificate>, NoCertificate> {
    let Some(leaf) = sent.first() else { return Ok(None) };
    let parsed = Certificate::parse(leaf)?;
    let digest_of = |algorithm| super::hex(digest::digest(algorithm, leaf).as_ref());
    Ok(Some(PeerCertificate {
        sha256: digest_of(&digest::SHA256),
        sha1: digest_of(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        url_encoded_pem: url_encoded_pem(leaf),
        url_encoded_chain: sent.iter().map(|der| url_encoded_pem(der)).collect(),
        uri_sans: uris(&parsed),
        dns_sans: dns_names(&parsed),
        ip_sans: names(&parsed, |san| matches!(san, San::Ip(_))),
        email_sans: names(&parsed, |san| matches!(san, San::Email(_))),
        not_before: parsed.not_before,
        not_after: parsed.not_after,
        serial: parsed.serial,
        subject: parsed.subject_text,
        issuer: parsed.issuer_text,
    }))
}

/// The URI names of a certificate.
pub(super) fn uris(certificate: &Certificate) -> Vec<String> {
    names(certificate, |san| matches!(san, San::Uri(_)))
}

/// The DNS names of a certificate.
pub(super) fn dns_names(certificate: &Certificate) -> Vec<String> {
    names(certificate, |san| matches!(san, San::Dns(_)))
}

fn names(certificate: &Certificate, kind: impl Fn(&San) -> bool) -> Vec<String> {
    certificate.sans.iter().filter(|san| kind(san)).map(|san| san.text().to_owned()).collect()
}

/// PEM, with the five characters percent-encoded that Envoy encodes.
fn url_encoded_pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    for (at, letter) in encoded.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push_str("%0A");
        }
        match letter {
            '+' => pem.push_str("%2B"),
            '/' => pem.push_str("%2F"),
            '=' => pem.push_str("%3D"),
            other => pem.push(other),
        }
    }
    pem.push_str("%0A-----END%20CERTIFICATE-----%0A");
    pem
}
