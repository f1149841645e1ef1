//! Versions, cipher suites and curves, by the names OpenSSL and Envoy give them.

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite as suite, kx_group};
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};
use xds::TlsProtocol;

use super::error::InvalidTls;

/// Suites both libraries have, in Envoy's order of preference.
static TLS12: [(&str, &SupportedCipherSuite); 6] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", &suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", &suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", &suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", &suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", &suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", &suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
];
static TLS13: [&SupportedCipherSuite; 3] =
    [&suite::TLS13_AES_256_GCM_SHA384, &suite::TLS13_AES_128_GCM_SHA256, &suite::TLS13_CHACHA20_POLY1305_SHA256];
/// Suites Envoy takes and rustls does not have: a list that names them works with the others it names.
const BORING_ONLY: [&str; 11] = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "ECDHE-PSK-CHACHA20-POLY1305",
];

/// Which end of a connection the parameters are for: they have different defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// The cryptography and the versions a context allows.
pub(super) fn parameters(
    params: Option<&xds::TlsParameters>,
    side: Side,
) -> Result<(CryptoProvider, Vec<&'static SupportedProtocolVersion>), InvalidTls> {
    let unset = xds::TlsParameters::default();
    let params = params.unwrap_or(&unset);
    let suites = cipher_suites(&params.cipher_suites)?;
    let mut provider = super::provider();
    provider.cipher_suites = TLS13.iter().copied().copied().chain(suites).collect();
    if !params.ecdh_curves.is_empty() {
        provider.kx_groups = curves(&params.ecdh_curves)?;
    }
    Ok((provider, versions(params, side)?))
}

/// By default a server speaks 1.2 and 1.3, a client 1.2 alone, as in Envoy.
fn versions(params: &xds::TlsParameters, side: Side) -> Result<Vec<&'static SupportedProtocolVersion>, InvalidTls> {
    let low = match params.tls_minimum_protocol_version {
        TlsProtocol::Auto => 12,
        given => number(given),
    };
    let high = match (params.tls_maximum_protocol_version, side) {
        (TlsProtocol::Auto, Side::Server) => 13,
        (TlsProtocol::Auto, Side::Client) => low.max(12),
        (given, _) => number(given),
    };
    let allowed: Vec<_> = [(13, &rustls::version::TLS13), (12, &rustls::version::TLS12)]
        .into_iter()
        .filter(|(version, _)| (low..=high).contains(version))
        .map(|(_, version)| version)
        .collect();
    if allowed.is_empty() {
        let value = format!("{:?} to {:?}", params.tls_minimum_protocol_version, params.tls_maximum_protocol_version);
        return Err(InvalidTls::field("tls_params", &value, "no version left: TLS 1.2 and 1.3 are supported"));
    }
    Ok(allowed)
}

fn number(version: TlsProtocol) -> u8 {
    match version {
        TlsProtocol::Auto | TlsProtocol::V1_2 => 12,
        TlsProtocol::V1_0 => 10,
        TlsProtocol::V1_1 => 11,
        TlsProtocol::V1_3 => 13,
    }
}

/// The TLS 1.2 suites a list allows. `[A|B]` is two names of equal rank.
fn cipher_suites(names: &[String]) -> Result<Vec<SupportedCipherSuite>, InvalidTls> {
    if names.is_empty() {
        return Ok(TLS12.iter().map(|(_, suite)| **suite).collect());
    }
    let mut suites = Vec::new();
    for name in names.iter().flat_map(|name| name.trim_matches(['[', ']']).split('|')) {
        match TLS12.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) => suites.push(**suite),
            None if BORING_ONLY.contains(&name) => {}
            None => {
                let reason = "Envoy rejects this cipher suite when tried individually";
                return Err(InvalidTls::field("tls_params.cipher_suites", name, reason));
            }
        }
    }
    if suites.is_empty() {
        let supported: Vec<&str> = TLS12.iter().map(|(name, _)| *name).collect();
        let reason = format!("Envoy takes these, but none is supported here; one of {}", supported.join(", "));
        return Err(InvalidTls::field("tls_params.cipher_suites", &names.join(", "), &reason));
    }
    Ok(suites)
}

fn curves(names: &[String]) -> Result<Vec<&'static dyn rustls::crypto::SupportedKxGroup>, InvalidTls> {
    let mut groups = Vec::new();
    for name in names {
        match name.as_str() {
            "X25519" => groups.push(kx_group::X25519),
            "P-256" => groups.push(kx_group::SECP256R1),
            "P-384" => groups.push(kx_group::SECP384R1),
            // Post-quantum groups and P-521: Envoy's, not ours.
            "X25519MLKEM768" | "X25519Kyber768Draft00" | "P-521" => {}
            other => return Err(InvalidTls::field("tls_params.ecdh_curves", other, "Envoy knows no such curve")),
        }
    }
    if groups.is_empty() {
        let reason = "none of these is supported here; X25519, P-256 and P-384 are";
        return Err(InvalidTls::field("tls_params.ecdh_curves", &names.join(", "), reason));
    }
    Ok(groups)
}

/// A suite under its OpenSSL name.
pub(super) fn cipher_name(negotiated: CipherSuite) -> String {
    let known = TLS12.iter().find(|(_, suite)| suite.suite() == negotiated).map(|(name, _)| (*name).to_owned());
    known.unwrap_or_else(|| negotiated.as_str().unwrap_or_default().replace("TLS13_", "TLS_"))
}

/// `TLSv1.3`
pub(super) fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions_of(low: TlsProtocol, high: TlsProtocol, side: Side) -> Result<Vec<&'static str>, InvalidTls> {
        let params = xds::TlsParameters {
            tls_minimum_protocol_version: low,
            tls_maximum_protocol_version: high,
            ..xds::TlsParameters::default()
        };
        Ok(parameters(Some(&params), side)?.1.iter().map(|version| version_name(version.version)).collect())
    }

    #[test]
    fn a_client_stops_at_1_2_unless_told_otherwise() {
        use TlsProtocol::{Auto, V1_0, V1_1, V1_2, V1_3};
        assert_eq!(versions_of(Auto, Auto, Side::Server).unwrap(), ["TLSv1.3", "TLSv1.2"]);
        assert_eq!(versions_of(Auto, Auto, Side::Client).unwrap(), ["TLSv1.2"]);
        assert_eq!(versions_of(Auto, V1_3, Side::Client).unwrap(), ["TLSv1.3", "TLSv1.2"]);
        assert_eq!(versions_of(V1_3, Auto, Side::Client).unwrap(), ["TLSv1.3"]);
        assert_eq!(versions_of(V1_0, V1_2, Side::Server).unwrap(), ["TLSv1.2"]);
        assert!(versions_of(V1_0, V1_1, Side::Server).unwrap_err().to_string().contains("no version left"));
    }

    #[test]
    fn suites_go_by_their_openssl_names() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            cipher_suites(&names)
                .map(|suites| suites.iter().map(|suite| cipher_name(suite.suite())).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]).unwrap().len(), 6);
        assert_eq!(of(&["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"]).unwrap(), ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(of(&["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]"]).unwrap().len(), 2);
        assert!(of(&["AES128-SHA"]).unwrap_err().to_string().contains("none is supported here"));
        assert!(of(&["ROT13"]).unwrap_err().to_string().contains("\"ROT13\""));
    }

    #[test]
    fn a_suite_of_1_3_has_its_plain_name() {
        assert_eq!(cipher_name(CipherSuite::TLS13_AES_256_GCM_SHA384), "TLS_AES_256_GCM_SHA384");
    }
}
