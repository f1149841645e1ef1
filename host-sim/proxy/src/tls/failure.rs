//! Why TLS failed, in Envoy's words: the transport failure reason of a response, a log or a counter.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::validation::Refused;

/// BoringSSL's number of a reason: its SSL library, and the reason.
const SSL: u32 = 16 << 24;
/// Alerts are reasons from here on.
const ALERTS: u32 = 1000;

/// A failed handshake, or a connection that TLS broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// `TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:…:TLS_error_end`; empty when the peer just went away.
    pub text: String,
    /// Which of the `ssl.` counters goes up.
    pub kind: FailureKind,
}

/// The counter of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// `connection_error`
    Connection,
    /// `fail_verify_error`
    Verify,
    /// `fail_verify_no_cert`
    NoCertificate,
    /// `fail_verify_san`
    San,
    /// `fail_verify_cert_hash`
    Hash,
    /// None: the peer closed the connection.
    Closed,
}

impl Failure {
    fn new(reason: u32, name: &str, detail: &str, kind: FailureKind) -> Self {
        let number = SSL + reason;
        let text = format!("TLS_error:|{number}:SSL routines:OPENSSL_internal:{name}{detail}:TLS_error_end");
        Self { text, kind }
    }

    pub(super) fn refused(refused: &Refused) -> Self {
        let kind = match refused {
            Refused::Chain(_) | Refused::Unreadable => FailureKind::Verify,
            Refused::San(_) => FailureKind::San,
            Refused::Hash => FailureKind::Hash,
        };
        Self::new(125, "CERTIFICATE_VERIFY_FAILED", &format!(":{refused}"), kind)
    }

    /// A connection that was made before its cluster's secret was there.
    pub(super) fn secret_missing() -> Self {
        Self { text: "TLS error: Secret is not supplied by SDS".to_owned(), kind: FailureKind::Closed }
    }

    fn verify(reason: &str) -> Self {
        let detail =
            format!(":verify cert failed: X509_verify_cert: certificate verification error at depth 0: {reason}");
        Self::new(125, "CERTIFICATE_VERIFY_FAILED", &detail, FailureKind::Verify)
    }

    /// Counts the failure.
    pub fn count(&self, stats: &crate::stats::TlsStats) {
        match self.kind {
            FailureKind::Connection => stats.connection_error.inc(),
            FailureKind::Verify => stats.fail_verify_error.inc(),
            FailureKind::NoCertificate => stats.fail_verify_no_cert.inc(),
            FailureKind::San => stats.fail_verify_san.inc(),
            FailureKind::Hash => stats.fail_verify_cert_hash.inc(),
            FailureKind::Closed => {}
        }
    }
}

/// What an error of a TLS stream means. An alert may come long after the handshake: in TLS 1.3 a server refuses a client's certificate only then.
pub fn failure(error: &io::Error) -> Failure {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return Failure { text: String::new(), kind: FailureKind::Closed };
    };
    match tls {
        Error::InvalidCertificate(reason) => certificate(reason),
        Error::AlertReceived(alert) => {
            let (number, name) = alert_name(*alert);
            Failure::new(ALERTS + u32::from(number), name, "", FailureKind::Connection)
        }
        Error::NoCertificatesPresented => {
            let detail = ":peer did not provide required client certificate";
            Failure::new(192, "PEER_DID_NOT_RETURN_A_CERTIFICATE", detail, FailureKind::NoCertificate)
        }
        Error::InvalidMessage(_) => Failure::new(247, "WRONG_VERSION_NUMBER", "", FailureKind::Connection),
        Error::PeerIncompatible(reason) => incompatible(reason),
        Error::NoApplicationProtocol => Failure::new(307, "NO_APPLICATION_PROTOCOL", "", FailureKind::Connection),
        other => Failure { text: format!("TLS_error:|{other}:TLS_error_end"), kind: FailureKind::Connection },
    }
}

fn certificate(reason: &CertificateError) -> Failure {
    match reason {
        CertificateError::Other(other) => match other.0.downcast_ref::<Refused>() {
            Some(refused) => Failure::refused(refused),
            None => Failure::verify("unspecified certificate verification error"),
        },
        CertificateError::Expired => Failure::verify("certificate has expired"),
        CertificateError::NotValidYet => Failure::verify("certificate is not yet valid"),
        CertificateError::BadSignature => Failure::verify("certificate signature failure"),
        CertificateError::InvalidPurpose => Failure::verify("unsupported certificate purpose"),
        CertificateError::UnhandledCriticalExtension => Failure::verify("unhandled critical extension"),
        _ => Failure::verify("unable to get local issuer certificate"),
    }
}

fn incompatible(reason: &rustls::PeerIncompatible) -> Failure {
    use rustls::PeerIncompatible as Why;
    let (number, name) = match reason {
        Why::NoCipherSuitesInCommon => (184, "NO_SHARED_CIPHER"),
        Why::NoKxGroupsInCommon => (321, "NO_SHARED_GROUP"),
        _ => (240, "UNSUPPORTED_PROTOCOL"),
    };
    Failure::new(number, name, "", FailureKind::Connection)
}

/// An alert's number and what BoringSSL calls it.
fn alert_name(alert: AlertDescription) -> (u8, &'static str) {
    const NAMES: [(u8, &str); 29] = [
        (0, "SSLV3_ALERT_CLOSE_NOTIFY"),
        (10, "SSLV3_ALERT_UNEXPECTED_MESSAGE"),
        (20, "SSLV3_ALERT_BAD_RECORD_MAC"),
        (21, "TLSV1_ALERT_DECRYPTION_FAILED"),
        (22, "TLSV1_ALERT_RECORD_OVERFLOW"),
        (30, "SSLV3_ALERT_DECOMPRESSION_FAILURE"),
        (40, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (41, "SSLV3_ALERT_NO_CERTIFICATE"),
        (42, "SSLV3_ALERT_BAD_CERTIFICATE"),
        (43, "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
        (44, "SSLV3_ALERT_CERTIFICATE_REVOKED"),
        (45, "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        (46, "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
        (47, "SSLV3_ALERT_ILLEGAL_PARAMETER"),
        (48, "TLSV1_ALERT_UNKNOWN_CA"),
        (49, "TLSV1_ALERT_ACCESS_DENIED"),
        (50, "TLSV1_ALERT_DECODE_ERROR"),
        (51, "TLSV1_ALERT_DECRYPT_ERROR"),
        (70, "TLSV1_ALERT_PROTOCOL_VERSION"),
        (71, "TLSV1_ALERT_INSUFFICIENT_SECURITY"),
        (80, "TLSV1_ALERT_INTERNAL_ERROR"),
        (86, "TLSV1_ALERT_INAPPROPRIATE_FALLBACK"),
        (90, "TLSV1_ALERT_USER_CANCELLED"),
        (100, "TLSV1_ALERT_NO_RENEGOTIATION"),
        (110, "TLSV1_ALERT_UNSUPPORTED_EXTENSION"),
        (112, "TLSV1_ALERT_UNRECOGNIZED_NAME"),
        (113, "TLSV1_ALERT_BAD_CERTIFICATE_STATUS_RESPONSE"),
        (116, "TLSV1_ALERT_CERTIFICATE_REQUIRED"),
        (120, "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"),
    ];
    let number = u8::from(alert);
    let name =
        NAMES.iter().find(|(known, _)| *known == number).map_or("SSLV3_ALERT_HANDSHAKE_FAILURE", |(_, name)| *name);
    (number, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(error: Error, text: &str) {
        let got = failure(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(got.text, format!("TLS_error:|{text}:TLS_error_end"));
    }

    /// As Envoy 1.40 wrote them into its access log.
    #[test]
    fn failures_read_as_envoys() {
        reads(
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            "268436496:SSL routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE",
        );
        reads(
            Error::NoCertificatesPresented,
            "268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not provide required client certificate",
        );
        reads(
            Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
            "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER",
        );
        reads(
            Refused::San(vec!["spiffe://b".to_owned(), "a.example".to_owned()]).to_server(),
            "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: SAN matcher, certificate SANs are [spiffe://b, a.example]",
        );
        reads(
            Error::InvalidCertificate(CertificateError::Expired),
            "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired",
        );
    }

    #[test]
    fn a_peer_that_goes_away_is_no_error_of_tls() {
        let gone = failure(&io::ErrorKind::UnexpectedEof.into());
        assert_eq!((gone.text.as_str(), gone.kind), ("", FailureKind::Closed));
    }
}
