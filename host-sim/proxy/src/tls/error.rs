//! Why a TLS configuration cannot be used.

/// A configuration that is refused, said so that its author finds the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTls {
    /// A secret that nobody gave us. Envoy would wait for it, and close every connection meanwhile.
    #[error(
        "secret {name:?} is missing; give a Secret of this name, with tls.crt and tls.key (and ca.crt to check clients)"
    )]
    MissingSecret {
        /// As the configuration names it: `kubernetes://NAME`.
        name: String,
    },
    /// Names are asked of certificates that anybody may have signed.
    #[error("SAN-based verification of peer certificates without trusted CA is insecure and not allowed")]
    NamesWithoutTrust,
    /// A file that cannot be read, or an environment variable that is not set.
    #[error("{what}: {reason}")]
    Unreadable {
        /// The field, and the file or variable.
        what: String,
        /// The system's words.
        reason: String,
    },
    /// No PEM certificate where one should be, or one that is no X.509.
    #[error("{what}: {reason}")]
    BadCertificate {
        /// The field.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No PEM private key where one should be, or of a kind that cannot be used.
    #[error("{what}: {reason}")]
    BadKey {
        /// The field.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key belongs to another certificate.
    #[error("{what}: the private key does not fit the certificate of {subject:?}")]
    KeyMismatch {
        /// The secret or field.
        what: String,
        /// The certificate's subject.
        subject: String,
    },
    /// A value that is not supported or not sensible.
    #[error("{field}: {value:?}: {reason}")]
    Field {
        /// The field, under Envoy's name.
        field: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl InvalidTls {
    pub(super) fn field(field: &'static str, value: &str, reason: &str) -> Self {
        Self::Field { field, value: value.to_owned(), reason: reason.to_owned() }
    }
}

/// A certificate of ours whose time is over or has not come: Envoy serves it all the same, and clients refuse it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate {subject:?}, serial {serial}: {problem}")]
pub struct Untimely {
    /// As RFC 2253 writes it.
    pub subject: String,
    /// Lower-case hex.
    pub serial: String,
    /// What is wrong.
    pub problem: UntimelyProblem,
}

/// In which way a certificate is untimely; seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UntimelyProblem {
    /// Its time is over.
    #[error("expired {} day(s) ago", ago / 86_400)]
    Expired {
        /// Seconds since it ended.
        ago: i64,
    },
    /// Its time has not come.
    #[error("valid only in {} day(s)", after / 86_400 + 1)]
    NotYet {
        /// Seconds until it begins.
        after: i64,
    },
}
