//! How a registry wants to be asked: the challenges of its `www-authenticate`, read.

use thiserror::Error;

use super::web;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token of this place.
    Bearer { realm: String, service: String },
}

/// A registry that asks for what must not be given.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Unacceptable {
    #[error("it asks for {0:?}; Basic and Bearer are known")]
    Scheme(String),
    #[error("its tokens come from {realm:?}: {why}")]
    Realm { realm: String, why: &'static str },
}

/// The first challenge that can be met; Bearer goes before Basic.
pub(super) fn read(challenges: &[String], registry: &str) -> Result<Challenge, Unacceptable> {
    let scheme = |name: &str| {
        challenges.iter().find_map(|challenge| {
            let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
            scheme.eq_ignore_ascii_case(name).then_some(rest)
        })
    };
    if let Some(parameters) = scheme("bearer") {
        let realm = parameter(parameters, "realm").unwrap_or_default();
        if let Some(why) = refused(&realm, registry) {
            return Err(Unacceptable::Realm { realm, why });
        }
        return Ok(Challenge::Bearer { realm, service: parameter(parameters, "service").unwrap_or_default() });
    }
    match scheme("basic") {
        Some(_) => Ok(Challenge::Basic),
        None => Err(Unacceptable::Scheme(challenges.join(", "))),
    }
}

/// `name="value"` of a list of such.
fn parameter(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim().trim_start_matches(',').trim().eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = after;
    }
}

/// A registry could send credentials anywhere. Istio refuses places inside a network, and so do we; only a registry on this
/// machine may have its tokens on this machine.
fn refused(realm: &str, registry: &str) -> Option<&'static str> {
    let Ok(url) = realm.parse::<ureq::http::Uri>() else { return Some("no URL") };
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = web::is_loopback(host);
    match url.scheme_str() {
        Some("https") => {}
        Some("http") if here => {}
        Some("http") => return Some("without TLS"),
        _ => return Some("neither http nor https"),
    }
    if here {
        return (!web::is_loopback(registry)).then_some("this machine, and the registry is elsewhere");
    }
    match bare.parse::<std::net::IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(std::net::IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => Some("a private address"),
        Ok(std::net::IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => Some("a private address"),
        _ if host == "metadata.google.internal" => Some("a metadata service"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(text: &str) -> Result<Challenge, Unacceptable> {
        read(&[text.to_owned()], "registry.example")
    }

    #[test]
    fn a_challenge_names_where_tokens_are() {
        let bearer = |service: &str| {
            Ok(Challenge::Bearer { realm: "https://auth.example/token".to_owned(), service: service.to_owned() })
        };
        for (text, expected) in [
            (r#"Bearer realm="https://auth.example/token",service="registry.example""#, bearer("registry.example")),
            (r#"bearer service="a,b", scope="x=y", Realm="https://auth.example/token""#, bearer("a,b")),
            (r"Bearer realm=https://auth.example/token,service=s", bearer("s")),
            (r#"Basic realm="Registry""#, Ok(Challenge::Basic)),
            ("Digest x", Err(Unacceptable::Scheme("Digest x".to_owned()))),
        ] {
            assert_eq!(challenge(text), expected, "{text}");
        }
    }

    #[test]
    fn credentials_are_not_sent_into_a_network() {
        for realm in [
            "http://auth.example/token",
            "file:///etc/passwd",
            "https://10.0.0.1/",
            "https://169.254.169.254/",
            "https://metadata.google.internal/",
            "https://[fe80::1]/",
            "http://localhost:1/",
            "http://127.0.0.1/",
            "",
        ] {
            let answer = challenge(&format!(r#"Bearer realm="{realm}""#));
            assert!(matches!(answer, Err(Unacceptable::Realm { .. })), "{realm}");
        }
    }

    #[test]
    fn a_registry_on_this_machine_may_have_its_tokens_here() {
        let challenge = [r#"Bearer realm="http://127.0.0.1:5001/token""#.to_owned()];
        assert!(read(&challenge, "127.0.0.1:5000").is_ok());
        assert!(read(&challenge, "registry.example").is_err());
    }
}
