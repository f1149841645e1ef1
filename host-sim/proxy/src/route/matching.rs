//! The conditions of one route, compiled from `xds` onto the shared matchers of `policy`.

use policy::RequestMatcher;

use super::error::{Errors, Path};
use super::lower;
use super::trail::Miss;
use crate::headers;

/// The conditions of one route: the shared ones and those that only a gateway has.
#[derive(Debug, Clone, Default)]
pub struct RouteMatcher {
    /// Path, headers, query parameters, cookies.
    pub request: RequestMatcher,
    /// The share of streams that match at all.
    pub fraction: Option<Fraction>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Only CONNECT requests.
    pub connect: bool,
    /// A client certificate must (or must not) have been presented.
    pub certificate_presented: Option<bool>,
    /// A client certificate must (or must not) have been validated.
    pub certificate_validated: Option<bool>,
    /// Dynamic metadata that must be there. No filter that runs here leaves any before a route is chosen, so this fails.
    pub metadata: Option<String>,
}

/// A share of requests: `numerator` out of `denominator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    /// How many.
    pub numerator: u64,
    /// Of how many: 100, 10,000 or 1,000,000.
    pub denominator: u64,
}

impl Fraction {
    /// Everything.
    pub const ALL: Fraction = Fraction { numerator: 100, denominator: 100 };
    /// Nothing.
    pub const NONE: Fraction = Fraction { numerator: 0, denominator: 100 };

    /// Reads Envoy's message.
    pub fn of(percent: &xds::FractionalPercent) -> Fraction {
        Fraction { numerator: percent.numerator.into(), denominator: percent.denominator_value() }
    }

    /// The same with a runtime key, whose default is what counts here; without a default it is nothing.
    pub fn of_runtime(percent: &xds::RuntimeFractionalPercent) -> Fraction {
        percent.default_value.as_ref().map_or(Fraction::NONE, Fraction::of)
    }

    /// Does this draw fall into the share? Envoy's test.
    pub fn takes(self, random: u64) -> bool {
        random.checked_rem(self.denominator).is_some_and(|draw| draw < self.numerator)
    }
}

/// What a request shows a route's conditions.
#[derive(Debug)]
pub struct Shown<'a> {
    /// Headers, path, query.
    pub request: policy::Request<'a, bytes::Bytes, bytes::Bytes>,
    /// The stream's random number.
    pub random: u64,
    /// A client certificate was presented.
    pub certificate_presented: bool,
    /// And its chain verified.
    pub certificate_validated: bool,
}

impl RouteMatcher {
    /// Do all conditions hold?
    pub fn matches(&self, shown: &Shown<'_>) -> bool {
        self.own_miss(shown).is_none() && self.request.matches(&shown.request)
    }

    /// The same answer, with the first condition that failed.
    pub fn explain(&self, shown: &Shown<'_>) -> Result<(), Miss> {
        if let Some(own) = self.own_miss(shown) {
            return Err(own.describe());
        }
        self.request.explain(&shown.request).map_err(Miss::from)
    }

    fn own_miss(&self, shown: &Shown<'_>) -> Option<OwnMiss<'_>> {
        if let Some(fraction) = self.fraction.filter(|fraction| !fraction.takes(shown.random)) {
            return Some(OwnMiss::Fraction(fraction));
        }
        let is_connect = || headers::is_connect(shown.request.headers);
        if self.connect && !is_connect() {
            return Some(OwnMiss::Connect);
        }
        if self.grpc && !crate::local_reply::is_grpc(shown.request.headers) {
            return Some(OwnMiss::Grpc);
        }
        if let Some(want) = self.certificate_presented.filter(|want| *want != shown.certificate_presented) {
            return Some(OwnMiss::Presented(want));
        }
        if let Some(want) = self.certificate_validated.filter(|want| *want != shown.certificate_validated) {
            return Some(OwnMiss::Validated(want));
        }
        self.metadata.as_deref().map(OwnMiss::Metadata)
    }

    pub(super) fn compile(route: &xds::RouteMatch, at: &Path<'_>, errors: &mut Errors) -> RouteMatcher {
        errors.unsupported(at, "filter_state", !route.filter_state.is_empty());
        let mut request = RequestMatcher { path: lower::path(route, at, errors), ..RequestMatcher::default() };
        for (n, matcher) in route.headers.iter().enumerate() {
            request.headers.extend(lower::header(matcher, &at.item("headers", n), errors));
        }
        for (n, matcher) in route.query_parameters.iter().enumerate() {
            request.query.extend(lower::query(matcher, &at.item("query_parameters", n), errors));
        }
        for (n, matcher) in route.cookies.iter().enumerate() {
            request.cookies.extend(lower::cookie(matcher, &at.item("cookies", n), errors));
        }
        RouteMatcher {
            request,
            fraction: route.runtime_fraction.as_ref().map(Fraction::of_runtime),
            grpc: route.grpc.is_some(),
            connect: route.connect_matcher.is_some(),
            certificate_presented: route.tls_context.as_ref().and_then(|tls| tls.presented),
            certificate_validated: route.tls_context.as_ref().and_then(|tls| tls.validated),
            metadata: route.dynamic_metadata.iter().find(|matcher| !is_inverted(matcher)).map(metadata_name),
        }
    }
}

/// Metadata that is not there satisfies an inverted matcher alone.
fn is_inverted(matcher: &serde_json::Value) -> bool {
    matcher.get("invert").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// `envoy.filters.http.jwt_authn`
fn metadata_name(matcher: &serde_json::Value) -> String {
    matcher.get("filter").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// A condition of this file that failed.
#[derive(Debug, Clone, Copy)]
enum OwnMiss<'m> {
    Metadata(&'m str),
    Fraction(Fraction),
    Connect,
    Grpc,
    Presented(bool),
    Validated(bool),
}

impl OwnMiss<'_> {
    fn describe(self) -> Miss {
        let miss = |field: &str, expected: String| Miss { field: field.to_owned(), expected, actual: None };
        match self {
            OwnMiss::Fraction(Fraction { numerator, denominator }) => {
                miss("runtimeFraction", format!("a draw below {numerator} of {denominator}"))
            }
            OwnMiss::Connect => miss("method", "CONNECT".to_owned()),
            OwnMiss::Grpc => miss("headers.content-type", "application/grpc".to_owned()),
            OwnMiss::Presented(want) => miss("clientCertificate.presented", want.to_string()),
            OwnMiss::Metadata(filter) => miss("metadata", format!("left by {filter}")),
            OwnMiss::Validated(want) => miss("clientCertificate.validated", want.to_string()),
        }
    }
}
