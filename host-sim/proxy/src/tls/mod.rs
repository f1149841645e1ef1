//! TLS on both sides, with rustls under Envoy's rules.
//!
//! * [`Downstream`] is one filter chain's side towards clients, [`Upstream`] one cluster's side towards its endpoints. Both are built from Envoy's
//!   contexts and [`Secrets`], once, and refuse what cannot work with [`InvalidTls`].
//! * [`peek_client_hello`] reads the name a client asks for and keeps what it read; [`FilterChains`] picks the chain for it.
//! * [`failure`] says in Envoy's words why a handshake or a connection failed (`TLS_error:|…:TLS_error_end`).
//!
//! Certificates are judged by BoringSSL's rules (`chain.rs`), not webpki's. The cryptography is ring's, named wherever a configuration is built; the
//! process-wide default is never asked.
//!
//! Not here, because rustls has none of it: TLS 1.0 and 1.1, RSA key exchange and CBC suites, renegotiation. Not here yet: OCSP staples, revocation
//! lists, PKCS#12, encrypted keys, session ticket keys shared between processes.

mod certificate;
mod chain;
mod client_hello;
mod der;
mod downstream;
mod error;
mod facts;
mod failure;
mod filter_chains;
mod handshake;
mod identity;
mod name;
mod parameters;
mod prefixed;
mod secret;
mod upstream;
mod validation;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client_hello::{ClientHello, peek_client_hello};
pub use downstream::{Accepted, Downstream, Session};
pub use error::{InvalidTls, Untimely, UntimelyProblem};
pub use failure::{Failure, FailureKind, failure};
pub use filter_chains::{AmbiguousFilterChains, Asked, FilterChains};
pub use prefixed::Prefixed;
pub use secret::Secrets;
pub use upstream::{Ask, Connected, Upstream};

/// The one source of cryptography.
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn shared(provider: CryptoProvider) -> Arc<CryptoProvider> {
    Arc::new(provider)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
