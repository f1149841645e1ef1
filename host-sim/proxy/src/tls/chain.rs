//! Whether a certificate leads to one we trust, by BoringSSL's rules, which are laxer than webpki's in one way that matters: certificates of
//! version 1, as `openssl x509 -req` makes them, are as good as others.
//!
//! Every certificate in the trusted bundle ends a chain, a CA's or not. Order of judgement, as in BoringSSL: the chain, then what each certificate may
//! be used for, then signatures and dates.

use std::fmt;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};

use super::certificate::Certificate;

/// Who presents the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// Why a chain is refused, and how far from the leaf (0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokenChain {
    pub(super) depth: usize,
    pub(super) reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NoIssuer,
    SelfSigned,
    SelfSignedInChain,
    TooLong,
    BadSignature,
    Expired,
    NotYetValid,
    InvalidAuthority,
    PathTooLong,
    Purpose,
    UnknownCritical,
    NameConstraints,
}

impl fmt::Display for BrokenChain {
    /// In BoringSSL's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::NoIssuer => "unable to get local issuer certificate",
            Reason::SelfSigned => "self signed certificate",
            Reason::SelfSignedInChain => "self signed certificate in certificate chain",
            Reason::TooLong => "certificate chain too long",
            Reason::BadSignature => "certificate signature failure",
            Reason::Expired => "certificate has expired",
            Reason::NotYetValid => "certificate is not yet valid",
            Reason::InvalidAuthority => "invalid CA certificate",
            Reason::PathTooLong => "path length constraint exceeded",
            Reason::Purpose => "unsupported certificate purpose",
            Reason::UnknownCritical => "unhandled critical extension",
            Reason::NameConstraints => "permitted subtree violation",
        };
        write!(f, "X509_verify_cert: certificate verification error at depth {}: {reason}", self.depth)
    }
}

/// What is trusted, and how strictly.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) anchors: Vec<Certificate>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// `allow_expired_certificate`
    pub(super) any_date: bool,
    /// `max_verify_depth`: how many CAs may stand between the leaf and the anchor.
    pub(super) depth: usize,
}

impl Trust {
    /// Judges a leaf and what was sent along with it.
    pub(super) fn verify(
        &self,
        leaf: &Certificate,
        sent: &[Certificate],
        role: Role,
        now: UnixTime,
    ) -> Result<(), BrokenChain> {
        let chain = self.chain(leaf, sent)?;
        for (depth, certificate) in chain.iter().enumerate() {
            usable(certificate, depth, role).map_err(|reason| BrokenChain { depth, reason })?;
        }
        if chain.iter().any(|certificate| certificate.extensions.name_constraints) {
            self.name_constraints(&chain, role, now)?;
        }
        self.signatures_and_dates(&chain, now)
    }

    /// From the leaf up to something trusted.
    fn chain<'a>(
        &'a self,
        leaf: &'a Certificate,
        sent: &'a [Certificate],
    ) -> Result<Vec<&'a Certificate>, BrokenChain> {
        let mut chain = vec![leaf];
        let mut top = leaf;
        loop {
            let depth = chain.len() - 1;
            let broken = |reason| Err(BrokenChain { depth, reason });
            if self.anchors.iter().any(|anchor| anchor.der == top.der) {
                return Ok(chain);
            }
            if depth > self.depth {
                return broken(Reason::TooLong);
            }
            // An anchor ends the chain; without one a certificate that was sent may lead on.
            if let Some(anchor) = self.issuer(top, &self.anchors) {
                chain.push(anchor);
                return Ok(chain);
            }
            if top.self_issued() {
                return broken(if depth == 0 { Reason::SelfSigned } else { Reason::SelfSignedInChain });
            }
            match self.issuer(top, sent) {
                Some(next) if !chain.iter().any(|seen| seen.der == next.der) => {
                    chain.push(next);
                    top = next;
                }
                _ => return broken(Reason::NoIssuer),
            }
        }
    }

    /// The certificate of the right name; of several, the one whose key fits.
    fn issuer<'a>(&self, of: &Certificate, among: &'a [Certificate]) -> Option<&'a Certificate> {
        let named = || among.iter().filter(|candidate| candidate.subject == of.issuer && candidate.der != of.der);
        named().find(|candidate| self.signed_by(of, candidate)).or_else(|| named().next())
    }

    fn signed_by(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm.as_slice()
                && algorithm.public_key_alg_id().as_ref() == issuer.key.algorithm.as_slice()
        };
        self.algorithms.all.iter().filter(fits).any(|algorithm| {
            algorithm.verify_signature(&issuer.key.octets, &certificate.signed, &certificate.signature).is_ok()
        })
    }

    /// From the anchor down: the anchor's own signature proves nothing and is not looked at.
    fn signatures_and_dates(&self, chain: &[&Certificate], now: UnixTime) -> Result<(), BrokenChain> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        for (depth, certificate) in chain.iter().enumerate().rev() {
            let broken = |reason| Err(BrokenChain { depth, reason });
            if chain.get(depth + 1).is_some_and(|issuer| !self.signed_by(certificate, issuer)) {
                return broken(Reason::BadSignature);
            }
            if self.any_date {
                continue;
            }
            if now < certificate.not_before {
                return broken(Reason::NotYetValid);
            }
            if now > certificate.not_after {
                return broken(Reason::Expired);
            }
        }
        Ok(())
    }

    /// Rare enough to be left to webpki, which knows only certificates of version 3.
    fn name_constraints(&self, chain: &[&Certificate], role: Role, now: UnixTime) -> Result<(), BrokenChain> {
        let judged = || -> Result<(), webpki::Error> {
            let (Some((leaf, above)), Some(anchor)) = (chain.split_first(), chain.last()) else { return Ok(()) };
            let anchor = webpki::anchor_from_trusted_cert(&anchor.der)?;
            let between: Vec<CertificateDer<'_>> = above.iter().map(|certificate| certificate.der.clone()).collect();
            let usage = match role {
                Role::Client => webpki::KeyUsage::client_auth(),
                Role::Server => webpki::KeyUsage::server_auth(),
            };
            let leaf = webpki::EndEntityCert::try_from(&leaf.der)?;
            leaf.verify_for_usage(self.algorithms.all, &[anchor], &between, now, usage, None, None)?;
            Ok(())
        };
        judged().map_err(|_| BrokenChain { depth: 0, reason: Reason::NameConstraints })
    }
}

/// Whether a certificate may stand at this depth of a chain.
fn usable(certificate: &Certificate, depth: usize, role: Role) -> Result<(), Reason> {
    let extensions = &certificate.extensions;
    if extensions.unknown_critical {
        return Err(Reason::UnknownCritical);
    }
    if depth > 0 {
        authority(certificate)?;
        if let Some((_, Some(below))) = extensions.authority {
            // The leaf does not count.
            if depth.saturating_sub(1) > usize::try_from(below).unwrap_or(usize::MAX) {
                return Err(Reason::PathTooLong);
            }
        }
    }
    let purpose = extensions.purposes.is_none_or(|purposes| match role {
        Role::Client => purposes.client,
        Role::Server => purposes.server,
    });
    let key = depth > 0
        || extensions.key_usage.is_none_or(|usage| match role {
            Role::Client => usage.digital_signature || usage.key_agreement,
            Role::Server => usage.digital_signature || usage.key_agreement || usage.key_encipherment,
        });
    if purpose && key { Ok(()) } else { Err(Reason::Purpose) }
}

/// A CA says so itself; before version 3 nobody could, and a self-signed certificate is believed.
fn authority(certificate: &Certificate) -> Result<(), Reason> {
    let extensions = &certificate.extensions;
    let may_sign = extensions.key_usage.is_none_or(|usage| usage.cert_sign);
    let says_so = match extensions.authority {
        Some((authority, _)) => authority,
        None => !extensions.version3 && certificate.self_issued(),
    };
    if may_sign && says_so { Ok(()) } else { Err(Reason::InvalidAuthority) }
}
