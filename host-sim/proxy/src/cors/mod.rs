//! Cross-origin requests: preflights answered, answers marked.
//!
//! Source: Envoy's `filters/http/cors/cors_filter.cc`. Every field is taken from the most specific policy that has it: route before virtual
//! host before route configuration.

use std::sync::Arc;

use bytes::Bytes;
use policy::text::StringMatcher;

use crate::headers::{self, HeaderList};
use crate::local_reply::{Author, LocalReply};
use crate::route::error::{Errors, Path};
use crate::route::{Fraction, lower};

/// One level's policy, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct CorsPolicy {
    origins: Vec<StringMatcher>,
    allow_methods: Bytes,
    allow_headers: Bytes,
    expose_headers: Bytes,
    max_age: Bytes,
    allow_credentials: Option<bool>,
    allow_private_network: Option<bool>,
    forward_not_matching_preflights: Option<bool>,
    enabled: Option<Fraction>,
}

/// What the filter makes of a request.
///
/// A preflight's answer is not a local reply in Envoy's eyes: the route's response header operations do not touch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do, now or on the answer.
    Pass,
    /// It goes on; its answer gets these headers.
    Mark(HeaderList),
    /// A preflight, answered here.
    Preflight(LocalReply),
}

const ORIGIN: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";
const METHODS: &str = "access-control-allow-methods";
const HEADERS: &str = "access-control-allow-headers";
const EXPOSE: &str = "access-control-expose-headers";
const MAX_AGE: &str = "access-control-max-age";
const PRIVATE_NETWORK: &str = "access-control-allow-private-network";

impl CorsPolicy {
    pub(crate) fn compile(policy: &xds::CorsPolicy, at: &Path<'_>, errors: &mut Errors) -> CorsPolicy {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let origins = policy.allow_origin_string_match.iter().enumerate();
        let origins = origins
            .filter_map(|(n, origin)| lower::string(origin, &at.item("allow_origin_string_match", n), errors))
            .collect();
        CorsPolicy {
            origins,
            allow_methods: bytes(&policy.allow_methods),
            allow_headers: bytes(&policy.allow_headers),
            expose_headers: bytes(&policy.expose_headers),
            max_age: bytes(&policy.max_age),
            allow_credentials: policy.allow_credentials,
            allow_private_network: policy.allow_private_network_access,
            forward_not_matching_preflights: policy.forward_not_matching_preflights,
            enabled: policy.filter_enabled.as_ref().map(Fraction::of_runtime),
        }
    }

    fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|matcher| matcher.matches(b"*") || matcher.matches(origin))
    }
}

/// Looks at a request; `policies` with the most specific first.
pub fn request(policies: &[Arc<CorsPolicy>], request: &[(Bytes, Bytes)], random: u64) -> Verdict {
    let levels = Levels(policies);
    let enabled = policies.first().is_some_and(|policy| policy.enabled.is_none_or(|share| share.takes(random)));
    let origin = headers::get(request, "origin").filter(|origin| !origin.is_empty());
    let (true, Some(origin)) = (enabled, origin) else { return Verdict::Pass };
    let allowed = policies.iter().find(|policy| !policy.origins.is_empty()).is_some_and(|policy| policy.allows(origin));
    let options = headers::get(request, ":method").is_some_and(|method| method == "OPTIONS");
    let asked = headers::get(request, "access-control-request-method").filter(|method| !method.is_empty());
    match asked.filter(|_| options) {
        Some(method) if allowed || !levels.flag(|policy| policy.forward_not_matching_preflights, true) => {
            Verdict::Preflight(levels.preflight(request, origin, method, allowed))
        }
        _ if allowed => Verdict::Mark(levels.mark(origin)),
        _ => Verdict::Pass,
    }
}

/// Writes the headers of [`Verdict::Mark`] over what the upstream said.
pub fn mark(response: &mut HeaderList, marks: HeaderList) {
    for (name, value) in marks {
        headers::put(response, name, value);
    }
}

struct Levels<'p>(&'p [Arc<CorsPolicy>]);

impl Levels<'_> {
    fn flag(&self, of: impl Fn(&CorsPolicy) -> Option<bool>, default: bool) -> bool {
        self.0.iter().find_map(|policy| of(policy)).unwrap_or(default)
    }

    fn text(&self, of: impl Fn(&CorsPolicy) -> &Bytes) -> Option<Bytes> {
        self.0.iter().map(|policy| of(policy)).find(|text| !text.is_empty()).cloned()
    }

    fn mark(&self, origin: &Bytes) -> HeaderList {
        let mut out = vec![(name(ORIGIN), origin.clone())];
        if self.flag(|policy| policy.allow_credentials, false) {
            out.push((name(CREDENTIALS), Bytes::from_static(b"true")));
        }
        out.extend(self.text(|policy| &policy.expose_headers).map(|value| (name(EXPOSE), value)));
        out
    }

    fn preflight(&self, request: &[(Bytes, Bytes)], origin: &Bytes, method: &Bytes, allowed: bool) -> LocalReply {
        let mut reply = LocalReply::new(200, "cors_response").by(Author::Preflight);
        if allowed {
            reply.headers.push((name(ORIGIN), origin.clone()));
        }
        if self.flag(|policy| policy.allow_credentials, false) {
            reply.headers.push((name(CREDENTIALS), Bytes::from_static(b"true")));
        }
        // A star stands for what was asked, even for nothing.
        let echoed =
            |value: Bytes, asked: Option<&Bytes>| if value == "*" { asked.cloned().unwrap_or_default() } else { value };
        let methods = self.text(|policy| &policy.allow_methods).map(|value| echoed(value, Some(method)));
        let asked = headers::get(request, "access-control-request-headers");
        let allow_headers = self.text(|policy| &policy.allow_headers).map(|value| echoed(value, asked));
        let max_age = self.text(|policy| &policy.max_age);
        let expose = self.text(|policy| &policy.expose_headers).filter(|_| allowed);
        let fields = [(METHODS, methods), (HEADERS, allow_headers), (MAX_AGE, max_age), (EXPOSE, expose)];
        reply.headers.extend(fields.into_iter().filter_map(|(key, value)| Some((name(key), value?))));
        let wants_private =
            headers::get(request, "access-control-request-private-network").is_some_and(|value| value == "true");
        if wants_private && self.flag(|policy| policy.allow_private_network, false) {
            reply.headers.push((name(PRIVATE_NETWORK), Bytes::from_static(b"true")));
        }
        reply
    }
}

fn name(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(json: serde_json::Value) -> Arc<CorsPolicy> {
        let mut errors = Errors::default();
        let policy: xds::CorsPolicy = serde_json::from_value(json).unwrap();
        let compiled = CorsPolicy::compile(&policy, &Path::Root, &mut errors);
        errors.into_result(Arc::new(compiled)).unwrap()
    }

    fn list(pairs: &[(&str, &str)]) -> HeaderList {
        pairs
            .iter()
            .map(|(k, v)| (Bytes::copy_from_slice(k.as_bytes()), Bytes::copy_from_slice(v.as_bytes())))
            .collect()
    }

    fn ask(policy: &Arc<CorsPolicy>, method: &str, headers: &[(&str, &str)]) -> Verdict {
        let request = list(&[&[(":method", method)], headers].concat());
        super::request(std::slice::from_ref(policy), &request, 0)
    }

    fn check_preflight(verdict: Verdict, want: &[(&str, &str)]) {
        let Verdict::Preflight(reply) = verdict else { panic!("not a preflight: {verdict:?}") };
        assert_eq!((reply.status, reply.headers), (200, list(want)));
    }

    fn full() -> Arc<CorsPolicy> {
        policy(
            serde_json::json!({"allow_origin_string_match": [{"exact": "a"}], "allow_methods": "GET", "allow_headers": "*",
            "expose_headers": "e", "max_age": "5", "allow_credentials": true, "forward_not_matching_preflights": false}),
        )
    }

    const ASKED: [(&str, &str); 2] =
        [("access-control-request-method", "PUT"), ("access-control-request-headers", "q")];

    #[test]
    fn a_preflight_is_answered_here() {
        let want =
            [(ORIGIN, "a"), (CREDENTIALS, "true"), (METHODS, "GET"), (HEADERS, "q"), (MAX_AGE, "5"), (EXPOSE, "e")];
        check_preflight(ask(&full(), "OPTIONS", &[&[("origin", "a")], &ASKED[..]].concat()), &want);
    }

    #[test]
    fn a_stranger_learns_everything_but_that_it_is_allowed() {
        let want = [(CREDENTIALS, "true"), (METHODS, "GET"), (HEADERS, "q"), (MAX_AGE, "5")];
        check_preflight(ask(&full(), "OPTIONS", &[&[("origin", "b")], &ASKED[..]].concat()), &want);
    }

    #[test]
    fn a_star_echoes_what_was_asked_even_nothing() {
        let stars = policy(
            serde_json::json!({"allow_origin_string_match": [{"exact": "*"}], "allow_methods": "*", "allow_headers": "*"}),
        );
        let want = [(ORIGIN, "x"), (METHODS, "PUT"), (HEADERS, "")];
        check_preflight(ask(&stars, "OPTIONS", &[("origin", "x"), ASKED[0]]), &want);
    }

    #[test]
    fn by_default_a_strangers_preflight_goes_on() {
        let plain = policy(serde_json::json!({"allow_origin_string_match": [{"exact": "a"}]}));
        assert_eq!(ask(&plain, "OPTIONS", &[("origin", "b"), ASKED[0]]), Verdict::Pass);
    }

    #[test]
    fn simple_requests_go_on_and_allowed_ones_are_marked() {
        let marks = Verdict::Mark(list(&[(ORIGIN, "a"), (CREDENTIALS, "true"), (EXPOSE, "e")]));
        for (method, headers, want) in [
            ("GET", vec![("origin", "a")], marks.clone()),
            ("OPTIONS", vec![("origin", "a")], marks),
            ("GET", vec![("origin", "b")], Verdict::Pass),
            ("GET", vec![("origin", "")], Verdict::Pass),
            ("GET", vec![], Verdict::Pass),
        ] {
            assert_eq!(ask(&full(), method, &headers), want, "{method} {headers:?}");
        }
    }

    #[test]
    fn a_mark_replaces_what_the_upstream_said() {
        let mut response = list(&[("x", "1"), (ORIGIN, "up")]);
        mark(&mut response, list(&[(ORIGIN, "a")]));
        assert_eq!(response, list(&[("x", "1"), (ORIGIN, "a")]));
    }
}
