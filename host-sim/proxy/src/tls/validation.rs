//! What a peer's certificate must be: Envoy's `CertificateValidationContext`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use policy::text::StringMatcher;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, OtherError};
use sha2::{Digest, Sha256};

use super::certificate::{Certificate, San};
use super::chain::{BrokenChain, Reason, Role, Trust};
use super::error::InvalidTls;
use super::secret::Secrets;

/// The rules one context has for its peers.
#[derive(Debug)]
pub(super) struct Validation {
    /// Without a CA any chain will do.
    trust: Option<Trust>,
    /// `ACCEPT_UNTRUSTED`: nothing about a certificate is a reason to refuse it.
    accept_untrusted: bool,
    sans: Vec<SanRule>,
    /// SHA-256 over the certificate.
    hashes: Vec<Vec<u8>>,
    /// SHA-256 over its public key.
    keys: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct SanRule {
    kind: SanKind,
    matcher: Matcher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SanKind {
    Any,
    Uri,
    Dns,
    Ip,
    Email,
}

/// A DNS name in a certificate may be a wildcard, and is one only against an exact name.
#[derive(Debug)]
enum Matcher {
    DnsName(String),
    Text(StringMatcher),
}

/// Why a peer is refused; displayed in Envoy's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("verify cert failed: {0}")]
    Chain(BrokenChain),
    #[error("verify cert failed: SAN matcher, certificate SANs are [{}]", .0.join(", "))]
    San(Vec<String>),
    #[error("verify cert failed: cert hash and spki")]
    Hash,
    #[error("verify cert failed: not an X.509 certificate")]
    Unreadable,
}

impl Validation {
    /// Resolves a context's validation: in place, by secret, or both.
    pub(super) fn resolve(common: &xds::CommonTlsContext, secrets: &Secrets) -> Result<Option<Self>, InvalidTls> {
        let combined = common.combined_validation_context.as_ref();
        let in_place = common.validation_context.as_ref();
        let own = in_place.or_else(|| combined.and_then(|combined| combined.default_validation_context.as_ref()));
        let by_secret = common
            .validation_context_sds_secret_config
            .as_ref()
            .or_else(|| combined.and_then(|combined| combined.validation_context_sds_secret_config.as_ref()));
        let named = by_secret.map(|config| secrets.validation(&config.name)).transpose()?;
        if own.is_none() && named.is_none() {
            return Ok(None);
        }
        Self::build(own, named.as_ref()).map(Some)
    }

    /// `named` is the secret's part: its CA goes before, its lists are added.
    fn build(
        own: Option<&xds::CertificateValidationContext>,
        named: Option<&xds::CertificateValidationContext>,
    ) -> Result<Self, InvalidTls> {
        let contexts: Vec<&xds::CertificateValidationContext> = named.into_iter().chain(own).collect();
        let mut built =
            Self { trust: None, accept_untrusted: false, sans: Vec::new(), hashes: Vec::new(), keys: Vec::new() };
        for context in &contexts {
            unsupported(context)?;
            built.accept_untrusted |= context.trust_chain_verification == xds::TrustChainVerification::AcceptUntrusted;
            built.add_lists(context)?;
        }
        let ca = contexts.iter().find_map(|context| context.trusted_ca.as_ref());
        let system = contexts.iter().any(|context| context.system_root_certs.is_some());
        let anchors = match ca {
            Some(source) => Some(Secrets::certificates(source, "trusted_ca")?),
            None if system => Some(Secrets::system_roots()?),
            None => None,
        };
        if anchors.is_none() && !built.sans.is_empty() {
            return Err(InvalidTls::NamesWithoutTrust);
        }
        built.trust = anchors.map(|anchors| Trust {
            anchors,
            algorithms: super::provider().signature_verification_algorithms,
            any_date: contexts.iter().any(|context| context.allow_expired_certificate),
            depth: contexts
                .iter()
                .find_map(|context| context.max_verify_depth)
                .and_then(|depth| usize::try_from(depth).ok())
                .unwrap_or(100),
        });
        Ok(built)
    }

    fn add_lists(&mut self, context: &xds::CertificateValidationContext) -> Result<(), InvalidTls> {
        for hash in &context.verify_certificate_hash {
            let digits: String = hash.chars().filter(|c| *c != ':').collect();
            let decoded = unhex(&digits).filter(|hash| hash.len() == 32);
            self.hashes.push(decoded.ok_or_else(|| {
                InvalidTls::field("verify_certificate_hash", hash, "a SHA-256 digest has 64 hex digits")
            })?);
        }
        for key in &context.verify_certificate_spki {
            let decoded = STANDARD.decode(key).ok().filter(|key| key.len() == 32);
            self.keys.push(decoded.ok_or_else(|| {
                InvalidTls::field("verify_certificate_spki", key, "a SHA-256 digest has 44 base64 characters")
            })?);
        }
        for typed in &context.match_typed_subject_alt_names {
            let kind = match typed.san_type.as_str() {
                "DNS" => SanKind::Dns,
                "URI" => SanKind::Uri,
                "IP_ADDRESS" => SanKind::Ip,
                "EMAIL" => SanKind::Email,
                other => {
                    return Err(InvalidTls::field(
                        "match_typed_subject_alt_names.san_type",
                        other,
                        "DNS, URI, IP_ADDRESS and EMAIL are supported",
                    ));
                }
            };
            self.sans.push(SanRule::new(kind, typed.matcher.as_ref().unwrap_or(&xds::StringMatcher::default()))?);
        }
        for untyped in &context.match_subject_alt_names {
            self.sans.push(SanRule::new(SanKind::Any, untyped)?);
        }
        Ok(())
    }

    /// The names of the CAs, for a server to say whom it trusts.
    pub(super) fn authorities(&self) -> Vec<rustls::DistinguishedName> {
        let anchors = self.trust.iter().flat_map(|trust| &trust.anchors);
        anchors.map(|anchor| rustls::DistinguishedName::from(anchor.subject.clone())).collect()
    }

    /// Whether there is any rule: Envoy asks a client for its certificate only then, or when it must have one.
    pub(super) fn asks(&self) -> bool {
        self.trust.is_some() || self.accept_untrusted || self.has_rules()
    }

    fn has_rules(&self) -> bool {
        !self.sans.is_empty() || !self.hashes.is_empty() || !self.keys.is_empty()
    }

    /// Must a client show a certificate? `asked` is `require_client_certificate`, which counts only where there is a CA to judge by. Rules on
    /// names, certificates and keys require one by themselves, unless strangers are accepted.
    pub(super) fn requires(&self, asked: bool) -> bool {
        (asked && self.trust.is_some()) || (self.has_rules() && !self.accept_untrusted)
    }

    /// Judges what a peer presented.
    pub(super) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), Refused> {
        let leaf = Certificate::parse(leaf).map_err(|_| Refused::Unreadable)?;
        if self.accept_untrusted {
            return Ok(());
        }
        if let Some(trust) = &self.trust {
            let sent: Vec<Certificate> = sent.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
            trust.verify(&leaf, &sent, role, now).map_err(Refused::Chain)?;
        }
        if !self.sans.is_empty() && !self.sans.iter().any(|rule| rule.matches(&leaf.sans)) {
            return Err(Refused::San(leaf.sans.iter().map(|san| san.text().to_owned()).collect()));
        }
        let listed = |list: &[Vec<u8>], bytes: &[u8]| {
            list.iter().any(|hash| hash.as_slice() == Sha256::digest(bytes).as_slice())
        };
        let pinned = !self.hashes.is_empty() || !self.keys.is_empty();
        if pinned && !listed(&self.hashes, &leaf.der) && !listed(&self.keys, &leaf.key.info) {
            return Err(Refused::Hash);
        }
        Ok(())
    }
}

/// Whether a certificate has this DNS name, as `auto_sni_san_validation` asks.
pub(super) fn has_name(leaf: &CertificateDer<'_>, name: &str) -> Result<(), Refused> {
    let leaf = Certificate::parse(leaf).map_err(|_| Refused::Unreadable)?;
    let same = |san: &San| match san {
        San::Dns(pattern) => dns_matches(name, pattern),
        San::Ip(address) => address == name,
        _ => false,
    };
    if leaf.sans.iter().any(same) {
        return Ok(());
    }
    Err(Refused::San(leaf.sans.iter().map(|san| san.text().to_owned()).collect()))
}

impl SanRule {
    fn new(kind: SanKind, matcher: &xds::StringMatcher) -> Result<Self, InvalidTls> {
        let matcher = match (&matcher.exact, kind) {
            (Some(name), SanKind::Dns) => Matcher::DnsName(name.clone()),
            _ => Matcher::Text(lower(matcher)?),
        };
        Ok(Self { kind, matcher })
    }

    fn matches(&self, sans: &[San]) -> bool {
        sans.iter().any(|san| self.kind.covers(san) && self.matcher.matches(san.text()))
    }
}

impl SanKind {
    fn covers(self, san: &San) -> bool {
        matches!(
            (self, san),
            (Self::Any, _)
                | (Self::Uri, San::Uri(_))
                | (Self::Dns, San::Dns(_))
                | (Self::Ip, San::Ip(_))
                | (Self::Email, San::Email(_))
        )
    }
}

impl Matcher {
    fn matches(&self, san: &str) -> bool {
        match self {
            Self::DnsName(name) => dns_matches(name, san),
            Self::Text(matcher) => matcher.matches(san.as_bytes()),
        }
    }
}

/// Whether a name falls under a certificate's DNS name; `*.` stands for one label.
pub(super) fn dns_matches(name: &str, pattern: &str) -> bool {
    if name.eq_ignore_ascii_case(pattern) {
        return true;
    }
    let rest_of = |name: &str| name.split_once('.').map(|(_, rest)| rest.to_ascii_lowercase());
    pattern.starts_with("*.") && rest_of(name) == rest_of(pattern) && !name.starts_with('.')
}

fn lower(matcher: &xds::StringMatcher) -> Result<StringMatcher, InvalidTls> {
    let ignore_case = matcher.ignore_case;
    let text = |value: &Option<String>| value.clone().map(String::into_bytes);
    if let Some(value) = text(&matcher.exact) {
        return Ok(StringMatcher::exact(value, ignore_case));
    }
    if let Some(value) = text(&matcher.prefix) {
        return Ok(StringMatcher::prefix(value, ignore_case));
    }
    if let Some(value) = text(&matcher.suffix) {
        return Ok(StringMatcher::suffix(value, ignore_case));
    }
    if let Some(value) = text(&matcher.contains) {
        return Ok(StringMatcher::contains(value, ignore_case));
    }
    let pattern = matcher.safe_regex.as_ref().map_or("", |regex| regex.regex.as_str());
    let regex = policy::regex::Regex::full(pattern)
        .map_err(|error| InvalidTls::field("match_typed_subject_alt_names.matcher", pattern, &error.to_string()))?;
    Ok(StringMatcher::regex(regex))
}

fn unsupported(context: &xds::CertificateValidationContext) -> Result<(), InvalidTls> {
    let refuse = |field: &'static str| Err(InvalidTls::field(field, "", "this field is not supported"));
    if context.crl.is_some() {
        return refuse("validation_context.crl");
    }
    if context.ca_certificate_provider_instance.is_some() {
        return refuse("validation_context.ca_certificate_provider_instance");
    }
    if context.custom_validator_config.is_some() {
        return refuse("validation_context.custom_validator_config");
    }
    Ok(())
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

impl Refused {
    /// For a server: the alert its client gets follows from the kind of error.
    pub(super) fn to_client(&self) -> rustls::Error {
        let kind = match self {
            Self::Chain(broken) => match broken.reason {
                Reason::Expired => CertificateError::Expired,
                Reason::NotYetValid => CertificateError::NotValidYet,
                Reason::BadSignature => CertificateError::BadSignature,
                Reason::Purpose => CertificateError::InvalidPurpose,
                Reason::UnknownCritical => CertificateError::UnhandledCriticalExtension,
                _ => CertificateError::UnknownIssuer,
            },
            Self::Unreadable => CertificateError::BadEncoding,
            Self::San(_) | Self::Hash => CertificateError::Other(OtherError(Arc::new(self.clone()))),
        };
        rustls::Error::InvalidCertificate(kind)
    }

    /// For a client, whose user reads the reason.
    pub(super) fn to_server(&self) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self.clone()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let rows = [
            ("a.example", "a.example", true),
            ("A.Example", "a.example", true),
            ("a.example", "*.example", true),
            ("a.b.example", "*.example", false),
            ("example", "*.example", false),
            (".example", "*.example", false),
            ("a.example", "a*.example", false),
        ];
        for (name, pattern, matches) in rows {
            assert_eq!(dns_matches(name, pattern), matches, "{name} {pattern}");
        }
    }
}
