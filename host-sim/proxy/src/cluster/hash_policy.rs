//! Hash policies: which part of a request decides its endpoint under a consistent hash.
//!
//! Source: Envoy's `http/hash_policy.cc` and, for cookies that are made, `router/router.cc` (`addDownstreamSetCookie`) and
//! `Utility::makeSetCookieValue`.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use policy::hash::xx64;
use policy::path::split_target;
use policy::regex::{Regex, Substitution};

use crate::edge::ConnectionInfo;
use crate::headers;
use crate::route::error::{Errors, Path};

/// One part of a request that is hashed.
#[derive(Debug, Clone, PartialEq)]
pub struct HashPolicy {
    by: HashBy,
    /// With a hash so far, later policies are not asked.
    terminal: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum HashBy {
    Header { name: String, rewrite: Option<(Regex, Substitution)> },
    Cookie(Cookie),
    SourceIp,
    Query(String),
}

/// A cookie that may be made for a client without one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    name: String,
    /// `None`: never made. Zero: for the browser's session.
    ttl: Option<Duration>,
    path: String,
    attributes: Vec<(String, String)>,
}

/// The hash of a request, and the cookies its answer must set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashed {
    /// `None`: the request shows nothing to hash; any endpoint will do.
    pub hash: Option<u64>,
    /// Values of `set-cookie`.
    pub set_cookies: Vec<Bytes>,
}

impl HashPolicy {
    pub(crate) fn compile(policy: &xds::HashPolicy, at: &Path<'_>, errors: &mut Errors) -> Option<HashPolicy> {
        let by = if let Some(header) = &policy.header {
            let rewrite = header.regex_rewrite.as_ref();
            let rewrite = rewrite.map(|rewrite| crate::route::regex_rewrite(rewrite, &at.field("header"), errors));
            HashBy::Header { name: lower_name(&header.header_name), rewrite: rewrite.flatten() }
        } else if let Some(cookie) = &policy.cookie {
            HashBy::Cookie(Cookie {
                name: cookie.name.clone(),
                ttl: cookie.ttl.map(|ttl| ttl.0),
                path: cookie.path.clone(),
                attributes: cookie.attributes.iter().map(|one| (one.name.clone(), one.value.clone())).collect(),
            })
        } else if let Some(query) = &policy.query_parameter {
            HashBy::Query(query.name.clone())
        } else if let Some(properties) = &policy.connection_properties {
            if !properties.source_ip {
                return None; // nothing of the connection is hashed: as if the policy were not there
            }
            HashBy::SourceIp
        } else {
            errors.refuse(at, "only header, cookie, query_parameter and connection_properties.source_ip are supported");
            return None;
        };
        Some(HashPolicy { by, terminal: policy.terminal })
    }

    /// The hash of a client's address.
    pub(crate) fn of_address(client: IpAddr) -> u64 {
        xx64(client.to_string().as_bytes(), 0)
    }

    /// Hashes a request by these policies, one after the other.
    pub fn hash(
        policies: &[HashPolicy],
        request: &[(Bytes, Bytes)],
        connection: &ConnectionInfo,
        client: IpAddr,
    ) -> Hashed {
        let mut out = Hashed::default();
        for policy in policies {
            if let Some(new) = policy.by.evaluate(request, connection, client, &mut out.set_cookies) {
                // Rotating the old value keeps equal policies from cancelling each other out.
                out.hash = Some(out.hash.map_or(0, |old| old.rotate_left(1)) ^ new);
            }
            if policy.terminal && out.hash.is_some() {
                break;
            }
        }
        out
    }
}

impl HashBy {
    fn evaluate(
        &self,
        request: &[(Bytes, Bytes)],
        connection: &ConnectionInfo,
        client: IpAddr,
        set_cookies: &mut Vec<Bytes>,
    ) -> Option<u64> {
        match self {
            HashBy::Header { name, rewrite } => header(request, name, rewrite.as_ref()),
            HashBy::Cookie(cookie) => match cookie.value(request) {
                Some(value) => Some(xx64(value, 0)),
                None => cookie.make(connection, set_cookies),
            },
            HashBy::SourceIp => Some(HashPolicy::of_address(client)),
            HashBy::Query(name) => {
                let query = split_target(headers::get(request, ":path")?).1?;
                policy::query::first_value(query, name.as_bytes()).map(|value| xx64(value, 0))
            }
        }
    }
}

/// Every copy is hashed, in sorted order, each seeded with the hash so far.
fn header(request: &[(Bytes, Bytes)], name: &str, rewrite: Option<&(Regex, Substitution)>) -> Option<u64> {
    let mut values: Vec<Bytes> = headers::all(request, name.as_bytes()).cloned().collect();
    if values.is_empty() {
        return None;
    }
    if let Some((regex, with)) = rewrite {
        values = values.iter().map(|value| Bytes::from(regex.replace_all(value, with))).collect();
    }
    values.sort_unstable();
    Some(values.iter().fold(0, |seed, value| xx64(value, seed)))
}

impl Cookie {
    /// The client's value, if it sent one that is not empty.
    fn value<'r>(&self, request: &'r [(Bytes, Bytes)]) -> Option<&'r [u8]> {
        let cookies = headers::all(request, b"cookie").flat_map(|value| value.split(|&b| b == b';'));
        let value = cookies.map(<[u8]>::trim_ascii).find_map(|pair| {
            let at = pair.iter().position(|&b| b == b'=')?;
            let (name, value) = pair.split_at_checked(at)?;
            (name == self.name.as_bytes()).then(|| value.get(1..)).flatten()
        })?;
        let value = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value);
        (!value.is_empty()).then_some(value)
    }

    /// Makes one from the connection's addresses, so that requests racing on one connection agree.
    fn make(&self, connection: &ConnectionInfo, set_cookies: &mut Vec<Bytes>) -> Option<u64> {
        let ttl = self.ttl?;
        let seed = format!("{}{}", connection.remote, connection.local);
        let value = format!("{:016x}", xx64(seed.as_bytes(), 0));
        let mut cookie = format!("{}=\"{value}\"", self.name);
        if ttl.as_secs() > 0 {
            let written = write!(cookie, "; Max-Age={}", ttl.as_secs());
            debug_assert!(written.is_ok(), "writing to a String does not fail");
        }
        if !self.path.is_empty() {
            cookie.push_str("; Path=");
            cookie.push_str(&self.path);
        }
        for (name, value) in &self.attributes {
            cookie.push_str("; ");
            cookie.push_str(name);
            if !value.is_empty() {
                cookie.push('=');
                cookie.push_str(value);
            }
        }
        cookie.push_str("; HttpOnly");
        set_cookies.push(Bytes::from(cookie));
        Some(xx64(value.as_bytes(), 0))
    }
}

fn lower_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower == "host" { ":authority".to_owned() } else { lower }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    fn compiled(policy: serde_json::Value) -> Option<HashPolicy> {
        let mut errors = Errors::default();
        let policy = HashPolicy::compile(&serde_json::from_value(policy).unwrap(), &Path::Root, &mut errors);
        errors.into_result(policy).unwrap()
    }

    #[test]
    fn a_cookie_that_is_made_lives_for_whole_seconds_or_for_the_session() {
        let connection = ConnectionInfo {
            id: 1,
            remote: "127.0.0.1:40000".parse().unwrap(),
            relay: None,
            local: "127.0.0.1:80".parse().unwrap(),
            node_address: "10.0.0.1".parse().unwrap(),
            protocol: crate::edge::Protocol::Http11,
            tls: None,
        };
        for (cookie, after_the_value) in [
            (json!({"name": "c"}), None),
            (json!({"name": "c", "ttl": "0s"}), Some("; HttpOnly")),
            (json!({"name": "c", "ttl": "0.005s"}), Some("; HttpOnly")),
            (json!({"name": "c", "ttl": "1.5s"}), Some("; Max-Age=1; HttpOnly")),
            (json!({"name": "c", "ttl": "60s", "path": "/p"}), Some("; Max-Age=60; Path=/p; HttpOnly")),
        ] {
            let policy = compiled(json!({"cookie": cookie})).unwrap();
            let hashed = HashPolicy::hash(&[policy], &[], &connection, connection.remote.ip());
            let made = hashed.set_cookies.first().map(|made| String::from_utf8(made.to_vec()).unwrap());
            let rest = made.as_deref().map(|made| made.split_once("\";").map_or("", |(_, rest)| rest));
            assert_eq!(rest.map(|rest| format!(";{rest}")).as_deref(), after_the_value, "{cookie}");
        }
    }

    #[test]
    fn connection_properties_without_the_source_ip_are_no_policy() {
        assert!(compiled(json!({"connection_properties": {}})).is_none());
        assert!(compiled(json!({"connection_properties": {"source_ip": true}})).is_some());
    }
}
