//! The commands that print the downstream TLS session and its certificates.

use super::clock;
use crate::edge::{PeerCertificate, TlsInfo};

/// `%DOWNSTREAM_PEER_SUBJECT%` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateField {
    ServerName,
    Version,
    Cipher,
    SessionId,
    LocalUriSan,
    LocalDnsSan,
    LocalSubject,
    PeerUriSan,
    PeerDnsSan,
    PeerIpSan,
    PeerEmailSan,
    PeerSubject,
    PeerIssuer,
    PeerSerial,
    PeerSha256,
    PeerSha1,
    PeerPem,
    PeerNotBefore,
    PeerNotAfter,
}

const NAMES: [(&str, CertificateField); 19] = [
    ("REQUESTED_SERVER_NAME", CertificateField::ServerName),
    ("DOWNSTREAM_TLS_VERSION", CertificateField::Version),
    ("DOWNSTREAM_TLS_CIPHER", CertificateField::Cipher),
    ("DOWNSTREAM_TLS_SESSION_ID", CertificateField::SessionId),
    ("DOWNSTREAM_LOCAL_URI_SAN", CertificateField::LocalUriSan),
    ("DOWNSTREAM_LOCAL_DNS_SAN", CertificateField::LocalDnsSan),
    ("DOWNSTREAM_LOCAL_SUBJECT", CertificateField::LocalSubject),
    ("DOWNSTREAM_PEER_URI_SAN", CertificateField::PeerUriSan),
    ("DOWNSTREAM_PEER_DNS_SAN", CertificateField::PeerDnsSan),
    ("DOWNSTREAM_PEER_IP_SAN", CertificateField::PeerIpSan),
    ("DOWNSTREAM_PEER_EMAIL_SAN", CertificateField::PeerEmailSan),
    ("DOWNSTREAM_PEER_SUBJECT", CertificateField::PeerSubject),
    ("DOWNSTREAM_PEER_ISSUER", CertificateField::PeerIssuer),
    ("DOWNSTREAM_PEER_SERIAL", CertificateField::PeerSerial),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", CertificateField::PeerSha256),
    ("DOWNSTREAM_PEER_FINGERPRINT_1", CertificateField::PeerSha1),
    ("DOWNSTREAM_PEER_CERT", CertificateField::PeerPem),
    ("DOWNSTREAM_PEER_CERT_V_START", CertificateField::PeerNotBefore),
    ("DOWNSTREAM_PEER_CERT_V_END", CertificateField::PeerNotAfter),
];

impl CertificateField {
    pub(crate) fn parse(name: &str) -> Option<CertificateField> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    /// Prints the value; `false` if there is none.
    pub(crate) fn write(self, tls: Option<&TlsInfo>, out: &mut Vec<u8>) -> bool {
        let value = tls.and_then(|tls| self.of(tls)).filter(|value| !value.is_empty());
        out.extend_from_slice(value.as_deref().unwrap_or_default().as_bytes());
        value.is_some()
    }

    fn of(self, tls: &TlsInfo) -> Option<String> {
        Some(match self {
            CertificateField::ServerName => tls.server_name.clone(),
            CertificateField::Version => tls.version.clone(),
            CertificateField::Cipher => tls.cipher.clone(),
            CertificateField::SessionId => tls.session_id.clone(),
            CertificateField::LocalUriSan => tls.local_uri_sans.join(","),
            CertificateField::LocalDnsSan => tls.local_dns_sans.join(","),
            CertificateField::LocalSubject => tls.local_subject.clone(),
            field => field.of_peer(tls.peer.as_ref()?),
        })
    }

    fn of_peer(self, peer: &PeerCertificate) -> String {
        match self {
            CertificateField::PeerUriSan => peer.uri_sans.join(","),
            CertificateField::PeerDnsSan => peer.dns_sans.join(","),
            CertificateField::PeerIpSan => peer.ip_sans.join(","),
            CertificateField::PeerEmailSan => peer.email_sans.join(","),
            CertificateField::PeerSubject => peer.subject.clone(),
            CertificateField::PeerIssuer => peer.issuer.clone(),
            CertificateField::PeerSerial => peer.serial.clone(),
            CertificateField::PeerSha256 => peer.sha256.clone(),
            CertificateField::PeerSha1 => peer.sha1.clone(),
            CertificateField::PeerPem => peer.url_encoded_pem.clone(),
            CertificateField::PeerNotBefore => instant(peer.not_before),
            CertificateField::PeerNotAfter => instant(peer.not_after),
            _ => String::new(),
        }
    }
}

fn instant(seconds: i64) -> String {
    let since_1970 = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    clock::strftime("%Y-%m-%dT%H:%M:%E3SZ", since_1970)
}
