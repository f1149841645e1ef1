//! Is an answer what a case expects? Every difference, with what would have to stand in the file.

use serde_saphyr::{Location, Spanned};

use super::case::{Case, Destination, Filter, Reply, Share, Want};
use crate::explain::Answer;

/// One expectation that does not hold.
#[derive(Debug)]
pub(super) struct Miss {
    /// `status`, `upstream.path`
    pub(super) field: String,
    pub(super) expected: String,
    pub(super) actual: String,
    /// Where the expected value stands and what would be right, if it is one plain value.
    pub(super) place: Option<(Location, String)>,
}

/// Compares.
pub(super) fn check(case: &Case, answer: &Answer) -> Vec<Miss> {
    let mut misses = Vec::new();
    let mut plain = |field: &str, wanted: Option<(String, Location)>, actual: String| {
        if let Some((expected, at)) = wanted.filter(|(expected, _)| *expected != actual) {
            misses.push(Miss { field: field.to_owned(), expected, place: Some((at, actual.clone())), actual });
        }
    };
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| (value.value.clone(), value.referenced));
    let number = |value: &Option<Spanned<u16>>| value.as_ref().map(|value| (value.value.to_string(), value.referenced));
    let status = answer.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    plain("status", number(&case.status), status);
    plain(
        "route",
        text(&case.route),
        answer.route.as_ref().map_or_else(|| "none".to_owned(), |route| route.name.clone()),
    );
    let class = answer.why_not.as_ref().map_or("none", |why| why.class);
    plain("whyNot", text(&case.why_not), class.to_owned());
    if let Some(wanted) = &case.upstream {
        let seen = answer.upstream_request.as_ref();
        plain(
            "upstream.method",
            text(&wanted.method),
            seen.map_or_else(|| "none".to_owned(), |seen| seen.method.clone()),
        );
        plain("upstream.path", text(&wanted.path), seen.map_or_else(|| "none".to_owned(), |seen| seen.path.clone()));
    }
    if let Some(wanted) = &case.destination {
        misses.extend(destination(wanted, answer.cluster.as_deref()));
    }
    if let Some(wanted) = &case.upstream {
        let seen = answer.upstream_request.as_ref();
        let mut list: Vec<_> = seen.map(|seen| seen.headers.clone()).unwrap_or_default();
        list.extend(seen.map(|seen| ("host".to_owned(), seen.authority.clone())));
        misses.extend(wanted.headers.iter().filter_map(|(name, want)| header("upstream.headers", name, want, &list)));
    }
    if let Some(wanted) = &case.response {
        let empty = Vec::new();
        let seen = answer.response.as_ref();
        let list = seen.map_or(&empty, |response| &response.headers);
        misses.extend(wanted.headers.iter().filter_map(|(name, want)| header("response.headers", name, want, list)));
        let body = seen.map(|response| response.body.as_str()).unwrap_or_default();
        if let Some(want) = wanted.body.as_ref().filter(|want| !want.value.takes(&[body])) {
            misses.push(miss("response.body", want, body.to_owned()));
        }
    }
    for (name, wanted) in &case.filter {
        misses.extend(filter(name, wanted, answer));
    }
    if let Some(wanted) = &case.fault {
        let seen = answer.fault.as_ref();
        let delay = seen.and_then(|fault| fault.delay.clone());
        let abort = seen.and_then(|fault| fault.abort);
        if wanted.delay != delay || wanted.abort != abort {
            let told = |delay: &Option<String>, abort: Option<u16>| {
                let abort = abort.map(|abort| abort.to_string());
                format!("delay {}, abort {}", delay.as_deref().unwrap_or("none"), abort.as_deref().unwrap_or("none"))
            };
            misses.push(Miss {
                field: "fault".to_owned(),
                expected: told(&wanted.delay, wanted.abort),
                actual: told(&delay, abort),
                place: None,
            });
        }
    }
    misses
}

fn miss(field: &str, want: &Spanned<Want>, actual: String) -> Miss {
    let replaceable = matches!(want.value, Want::Exact(_));
    let place = replaceable.then(|| (want.referenced, actual.clone()));
    Miss { field: field.to_owned(), expected: want.value.to_string(), actual, place }
}

fn header(field: &str, name: &str, want: &Spanned<Want>, list: &[(String, String)]) -> Option<Miss> {
    let values: Vec<&str> =
        list.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect();
    if want.value.takes(&values) {
        return None;
    }
    let field = format!("{field}.{name}");
    if values.is_empty() {
        return Some(Miss { field, expected: want.value.to_string(), actual: "nothing".to_owned(), place: None });
    }
    Some(miss(&field, want, values.join(", ")))
}

/// `outbound|80|v1|shop.default.svc.cluster.local` in its parts.
pub(super) fn parts(cluster: Option<&str>) -> (String, String, String) {
    let parts: Vec<_> = cluster.unwrap_or_default().split('|').collect();
    match parts.as_slice() {
        [_, port, subset, host] => ((*host).to_owned(), (*subset).to_owned(), (*port).to_owned()),
        [""] => ("none".to_owned(), String::new(), "none".to_owned()),
        _ => (parts.join("|"), String::new(), String::new()),
    }
}

/// A short name is its service's: `cart` and `cart.shop` are `cart.shop.svc.cluster.local`.
fn is_host(wanted: &str, full: &str) -> bool {
    wanted == full || full.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
}

fn destination(wanted: &Destination, cluster: Option<&str>) -> Vec<Miss> {
    let (host, subset, port) = parts(cluster);
    let mut misses = Vec::new();
    let mut differs = |field: &str, expected: String, actual: &str, at: &Location| {
        let place = Some((*at, actual.to_owned()));
        misses.push(Miss { field: field.to_owned(), expected, actual: actual.to_owned(), place });
    };
    if let Some(wanted) = wanted.host.as_ref().filter(|wanted| !is_host(&wanted.value, &host)) {
        differs("destination.host", wanted.value.clone(), &host, &wanted.referenced);
    }
    if let Some(wanted) = wanted.subset.as_ref().filter(|wanted| wanted.value != subset) {
        differs("destination.subset", wanted.value.clone(), &subset, &wanted.referenced);
    }
    if let Some(wanted) = wanted.port.as_ref().filter(|wanted| wanted.value.to_string() != port) {
        differs("destination.port", wanted.value.to_string(), &port, &wanted.referenced);
    }
    misses
}

fn filter(name: &str, wanted: &Filter, answer: &Answer) -> Vec<Miss> {
    let field = |what: &str| format!("filter.{name}{what}");
    let named = |known: &str| known == name || known.rsplit('/').next() == Some(name);
    let Some(seen) = answer.filters.iter().find(|filter| named(&filter.name)) else {
        let known: Vec<_> = answer.filters.iter().map(|filter| filter.name.as_str()).collect();
        let actual =
            format!("the request met {}", if known.is_empty() { "no filter".to_owned() } else { known.join(", ") });
        return vec![Miss { field: field(""), expected: "to be met".to_owned(), actual, place: None }];
    };
    let mut misses = Vec::new();
    for counted in wanted.counted.iter().filter(|counted| !seen.counted.contains(counted)) {
        let actual = if seen.counted.is_empty() { "nothing".to_owned() } else { seen.counted.join(", ") };
        misses.push(Miss { field: field(".counted"), expected: counted.clone(), actual, place: None });
    }
    let told = |reply: Option<u16>| reply.map_or_else(|| "none".to_owned(), |status| status.to_string());
    let replied = seen.reply.as_ref().map(|reply| reply.status);
    let expected = wanted.reply.map(|reply| match reply {
        Reply::None => None,
        Reply::Status(status) => Some(status),
    });
    if let Some(expected) = expected.filter(|expected| *expected != replied) {
        misses.push(Miss { field: field(".reply"), expected: told(expected), actual: told(replied), place: None });
    }
    for (header, want) in &wanted.sets {
        let change = seen.changed.iter().find(|change| change.name.eq_ignore_ascii_case(header));
        let after = change.and_then(|change| change.after.as_deref());
        if !want.takes(after.as_slice()) {
            let actual = after.unwrap_or("not set by it").to_owned();
            misses.push(Miss {
                field: field(&format!(".sets.{header}")),
                expected: want.to_string(),
                actual,
                place: None,
            });
        }
    }
    misses
}

/// Does an answer count for this share?
pub(super) fn counts(share: &Share, answer: &Answer) -> bool {
    let route = || answer.route.as_ref().map(|route| route.name.as_str());
    share.destination.as_ref().is_none_or(|wanted| destination(wanted, answer.cluster.as_deref()).is_empty())
        && share.route.as_deref().is_none_or(|wanted| route() == Some(wanted))
        && share.status.is_none_or(|wanted| answer.status == Some(wanted))
}

/// What a share is of, for a person.
pub(super) fn subject(share: &Share) -> String {
    let mut parts = Vec::new();
    if let Some(destination) = &share.destination {
        let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.value.clone());
        let host = text(&destination.host).unwrap_or_else(|| "any host".to_owned());
        parts.push(text(&destination.subset).map_or_else(|| host.clone(), |subset| format!("{host}/{subset}")));
    }
    parts.extend(share.route.iter().map(|route| format!("route {route}")));
    parts.extend(share.status.iter().map(|status| format!("status {status}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_its_service_s() {
        for (wanted, taken) in [
            ("cart", true),
            ("cart.shop", true),
            ("cart.shop.svc.cluster.local", true),
            ("car", false),
            ("shop", false),
        ] {
            assert_eq!(is_host(wanted, "cart.shop.svc.cluster.local"), taken, "{wanted}");
        }
    }

    #[test]
    fn a_cluster_is_a_host_a_subset_and_a_port() {
        let expected = ("cart.shop".to_owned(), "v1".to_owned(), "80".to_owned());
        assert_eq!(parts(Some("outbound|80|v1|cart.shop")), expected);
        assert_eq!(parts(None).0, "none");
    }
}
