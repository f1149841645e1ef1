//! Writes down an exchange in the corpus's form: what differs from run to run becomes `*` or `NODE`.

use std::net::{IpAddr, UdpSocket};
use std::sync::LazyLock;

use regex::Regex;

use crate::case::{Headers, Outcome, Seen};
use crate::client::Response;
use crate::replay::Bodies;

/// The header by which the origins' records find their exchange. Never part of a record.
pub const KEY: &str = "x-origin-key";

/// The address Envoy writes into `x-forwarded-for` when its peer is loopback: the one this machine would reach the world with.
#[must_use]
pub fn node_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?; // picks a source address, sends nothing
    Some(socket.local_addr().ok()?.ip())
}

static NODE: LazyLock<Option<String>> = LazyLock::new(|| node_address().map(|ip| ip.to_string()));
#[expect(clippy::expect_used, reason = "constant patterns; the tests below run each")]
static PATTERNS: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("a constant pattern");
    [
        (regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"), "*"),
        (regex("Cert=\"[^\"]*\""), "Cert=\"*\""),
        (regex("Hash=[0-9a-f]{64}"), "Hash=*"),
        (regex("=\"[0-9a-f]{16}\""), "=\"*\""),
    ]
});

/// One header value as a record has it.
fn value(name: &str, value: &str) -> String {
    let [id, cert, hash, cookie] = &*PATTERNS;
    let replace = |text: &str, (regex, with): &(Regex, &str)| regex.replace_all(text, *with).into_owned();
    match name {
        "x-envoy-upstream-service-time" => "*".into(),
        "x-forwarded-for" | "x-envoy-external-address" => match &*NODE {
            Some(node) => value.replace(node, "NODE"),
            None => value.into(),
        },
        "x-request-id" => replace(value, id),
        "x-forwarded-client-cert" => replace(&replace(value, cert), hash),
        "set-cookie" => replace(value, cookie),
        _ => value.into(),
    }
}

/// Header lines as a record has them: sorted by name (repeats keep their order), without `date` and the key.
#[must_use]
pub fn headers(lines: &Headers) -> Headers {
    let mut kept: Headers = lines
        .iter()
        .filter(|(name, _)| name != "date" && name != KEY)
        .map(|(name, text)| (name.clone(), value(name, text)))
        .collect();
    kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    kept
}

/// A response as a record has it.
#[must_use]
pub fn response(got: &Response, bodies: Bodies) -> Outcome {
    let by_origin = got.headers.iter().any(|(name, _)| name == "x-origin");
    let body = (bodies == Bodies::All || !by_origin).then(|| got.body.clone());
    Outcome::Response { status: got.status, headers: headers(&got.headers), body }
}

/// What an origin saw, as a record has it.
#[must_use]
pub fn seen(raw: Seen) -> Seen {
    Seen { headers: headers(&raw.headers), ..raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
        let hash = "0123456789abcdef".repeat(4);
        let xfcc = format!("Hash={hash};Cert=\"-----BEGIN%20\";Subject=\"CN=client\";URI=");
        let rows = [
            ("x-envoy-upstream-service-time", "12", "*"),
            ("x-request-id", "01234567-89ab-cdef-0123-456789abcdef", "*"),
            ("x-request-id", "mine", "mine"),
            ("x-forwarded-client-cert", &xfcc, "Hash=*;Cert=\"*\";Subject=\"CN=client\";URI="),
            ("set-cookie", "sid=\"0123456789abcdef\"; HttpOnly", "sid=\"*\"; HttpOnly"),
            ("set-cookie", "sid=1; Path=/", "sid=1; Path=/"),
            ("x-other", "01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdef"),
        ];
        for (name, got, recorded) in rows {
            assert_eq!(value(name, got), recorded, "{name}");
        }
    }

    #[test]
    fn this_machine_is_called_node() {
        let Some(ip) = node_address() else { return };
        assert_eq!(value("x-forwarded-for", &format!("1.2.3.4, {ip}")), "1.2.3.4, NODE");
        assert_eq!(value("host", &ip.to_string()), ip.to_string());
    }

    #[test]
    fn lines_are_sorted_by_name_and_repeats_keep_their_order() {
        let line = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let lines = vec![line("b", "2"), line("date", "now"), line("a", "1"), line("b", "1"), line(KEY, "k")];
        assert_eq!(headers(&lines), [line("a", "1"), line("b", "2"), line("b", "1")]);
    }
}
