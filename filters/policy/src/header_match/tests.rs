//! What `header-match` does, sentence by sentence.

use super::*;
use crate::dice::Dice;
use crate::exchange::Change;
use crate::sentences;

const REQUEST: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    ("x-forwarded-proto", "http"),
    (":authority", "shop:80"),
    (":path", "/cart?i=1"),
    ("x-user", "ann"),
];

fn configured(config: &str) -> HeaderMatch {
    HeaderMatch::parse(config.as_bytes(), &mut Metrics::default()).unwrap()
}

/// The changes and the reply, in words.
fn run(config: &str, more: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
    let headers = REQUEST.iter().chain(more).map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut exchange = Exchange::new(headers, Dice::new(3)).with_facts("10.0.0.1".parse().ok(), None);
    let reply = configured(config).apply(&mut exchange);
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut said: Vec<String> = exchange
        .changes()
        .into_iter()
        .map(|change| match change {
            Change::Remove(name) => format!("-{}", text(name)),
            Change::Set(name, value) => format!("{}={}", text(name), text(value)),
            Change::Add(name, value) => format!("{}+{}", text(name), text(value)),
        })
        .collect();
    said.extend(exchange.response.iter().map(|op| format!("response {op:?}")));
    let reply = reply.map(|reply| {
        let headers: Vec<_> = reply.headers.iter().map(|(name, value)| format!(" {name}={}", text(value))).collect();
        format!("{}{} {}", reply.status, headers.concat(), text(&reply.body))
    });
    (said, reply)
}

fn changes(config: &str, more: &[(&str, &str)], expected: &[&str]) {
    let (said, reply) = run(config, more);
    assert_eq!((said.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), reply), (expected, None), "{config}");
}

fn reply(config: &str, expected: &str) {
    assert_eq!(run(config, &[]).1.as_deref(), Some(expected), "{config}");
}

fn refused(config: &str, expected: &str) {
    let said = HeaderMatch::parse(config.as_bytes(), &mut Metrics::default()).unwrap_err().to_string();
    assert!(said.contains(expected), "{config}\n  said: {said}\n  expected: {expected}");
}

/// A rule of this match that sets `x-hit`.
fn hit(condition: &str, more: &[(&str, &str)], expected: bool) {
    let config = format!(
        r#"{{"rules": [{{"name": "r", "match": [{condition}], "headers": {{"request": {{"set": {{"x-hit": "1"}}}}}}}}]}}"#
    );
    changes(&config, more, if expected { &["x-hit=1"] } else { &[] });
}

const MARK: &str = r#"{"rules": [{"name": "beta", "match": [{"headers": {"x-user": {"exact": "ann"}}}],
    "headers": {"request": {"set": {"X-Group": "beta"}}}}]}"#;

sentences! {
    fn an_empty_configuration_does_nothing() {
        for config in ["", " \n", "{}", r#"{"rules": []}"#] {
            changes(config, &[], &[]);
        }
        assert!(!configured("").asks().headers);
    }

    fn a_match_marks_the_request() {
        changes(MARK, &[], &["x-group=beta"]);
    }

    fn a_client_cannot_bring_the_mark() {
        changes(&MARK.replace("ann", "bob"), &[("x-group", "beta")], &["-x-group"]);
        changes(&MARK.replace("ann", "bob"), &[("x_group", "beta"), ("x-group", "a")], &["-x_group", "-x-group"]);
        changes(MARK, &[("x-group", "alpha"), ("x-group", "gamma")], &["x-group=beta"]);
    }

    fn a_header_that_conditions_ask_for_is_the_clients_to_send() {
        let config = r#"{"rules": [{"name": "r", "match": [{"headers": {"x-user": {"prefix": "an"}}}],
            "headers": {"request": {"set": {"x-user": "someone"}}}}]}"#;
        changes(config, &[], &["x-user=someone"]);
    }

    fn the_first_match_wins_unless_it_continues() {
        let two = |more: &str| format!(
            r#"{{"rules": [{{"name": "a", {more} "headers": {{"request": {{"add": {{"x-a": "1"}}}}}}}},
                           {{"name": "b", "headers": {{"request": {{"add": {{"x-b": "1"}}}}}}}}]}}"#);
        changes(&two(""), &[], &["x-a=1"]);
        changes(&two(r#""continue": true,"#), &[], &["x-a=1", "x-b=1"]);
    }

    fn operations_are_a_virtual_services() {
        let config = r#"{"rules": [{"name": "r", "headers": {
            "request": {"remove": ["x-user"], "set": {"x-b": "100%%", "x-empty": "", "host": "other"}, "add": {"x-a": "1"}},
            "response": {"set": {"x-r": "1"}, "remove": ["server"]}}}]}"#;
        changes(config, &[("x-a", "0")], &["-x-user", ":authority=other", "x-b=100%", "x-a=0", "x-a+1",
            r#"response Remove("server")"#, r#"response Set("x-r", [49])"#]);
    }

    fn a_rule_may_answer() {
        reply(r#"{"rules": [{"name": "r", "directResponse": {"status": 403}}]}"#, "403 ");
        reply(r#"{"rules": [{"name": "r", "directResponse": {"status": 200, "body": {"string": "hi"}, "headers": {"content-type": "a/b"}}}]}"#, "200 content-type=a/b hi");
        reply(r#"{"rules": [{"name": "r", "directResponse": {"status": 200, "body": {"bytes": "/w=="}}}]}"#, r"200 \xff");
    }

    fn a_rule_may_redirect() {
        let to = |redirect: &str| format!(r#"{{"rules": [{{"name": "r", "redirect": {redirect}}}]}}"#);
        reply(&to(r#"{"uri": "/new"}"#), "301 location=http://shop:80/new?i=1 ");
        reply(&to(r#"{"uri": "/new?x", "redirectCode": 308}"#), "308 location=http://shop:80/new?x ");
        reply(&to(r#"{"scheme": "https"}"#), "301 location=https://shop/cart?i=1 ");
        reply(&to(r#"{"scheme": "https", "port": 443, "authority": "a"}"#), "301 location=https://a/cart?i=1 ");
        reply(&to(r#"{"port": 8443}"#), "301 location=http://shop:8443/cart?i=1 ");
    }

    fn every_field_of_a_match_counts() {
        hit("{}", &[], true);
        hit(r#"{"uri": {"exact": "/cart"}}"#, &[], true);
        hit(r#"{"uri": {"exact": "/Cart"}}"#, &[], false);
        hit(r#"{"uri": {"exact": "/Cart"}, "ignoreUriCase": true}"#, &[], true);
        hit(r#"{"uri": {"prefix": "/ca"}}"#, &[], true);
        hit(r#"{"uri": {"segmentPrefix": "/ca"}}"#, &[], false);
        hit(r#"{"uri": {"segmentPrefix": "/cart"}}"#, &[], true);
        hit(r#"{"uri": {"template": "/{page}"}}"#, &[], true);
        hit(r#"{"uri": {}}"#, &[], true);
        hit(r#"{"scheme": {"exact": "http"}, "method": {"exact": "GET"}, "authority": {"prefix": "shop"}}"#, &[], true);
        hit(r#"{"method": {"exact": "get"}}"#, &[], false);
        hit(r#"{"headers": {"X-User": {}}}"#, &[], true);
        hit(r#"{"headers": {"x-user": {"regex": "*"}}}"#, &[], true);
        hit(r#"{"headers": {"x-user": {"exact": "ann"}}}"#, &[("x-user", "bob")], true);
        hit(r#"{"headers": {"x-user": {"exact": "bob"}}}"#, &[("x-user", "bob")], true);
        hit(r#"{"headers": {"x-user": {"exact": "ann,bob"}}}"#, &[("x-user", "bob")], false);
        hit(r#"{"withoutHeaders": {"x-user": {"exact": "bob"}}}"#, &[("x-user", "bob")], false);
        hit(r#"{"headers": {"x-user": {"prefix": "a", "all": true}}}"#, &[("x-user", "bob")], false);
        hit(r#"{"headers": {"x-user": {"prefix": "a", "all": true}}}"#, &[("x-user", "amy")], true);
        hit(r#"{"withoutHeaders": {"x-user": {}}}"#, &[], false);
        hit(r#"{"withoutHeaders": {"x-none": {}}}"#, &[], true);
        hit(r#"{"withoutHeaders": {"x-none": {"exact": "a"}}}"#, &[], true);
        hit(r#"{"withoutHeaders": {"x-none": {"exact": ""}}}"#, &[], false);
        hit(r#"{"queryParams": {"i": {"exact": "1"}}}"#, &[], true);
        hit(r#"{"queryParams": {"j": {}}}"#, &[], false);
        hit(r#"{"cookies": {"sid": {"exact": "7"}}}"#, &[("cookie", "a=1; sid=\"7\"")], true);
        hit(r#"{"cookies": {"sid": {}}}"#, &[("cookie", "sidd=7")], false);
        hit(r#"{"clientIp": ["10.0.0.0/8"]}"#, &[], true);
        hit(r#"{"clientIp": ["10.0.0.0/8"]}"#, &[("x-forwarded-for", "1.2.3.4")], true);
        hit(r#"{"clientIp": ["192.168.0.0/16", "::1"]}"#, &[], false);
        hit(r#"{"percentage": {"value": 100}}"#, &[], true);
        hit(r#"{"percentage": {"value": 0}}"#, &[], false);
    }

    fn entries_are_alternatives() {
        hit(r#"{"uri": {"exact": "/x"}}, {"uri": {"exact": "/cart"}}"#, &[], true);
        hit(r#"{"uri": {"exact": "/x"}}, {"uri": {"exact": "/y"}}"#, &[], false);
    }

    fn bytes_beyond_utf8_match_like_any_other() {
        let headers = vec![(&b":path"[..], &b"/"[..]), (b"x", b"caf\xe9")];
        let config = r#"{"rules": [{"name": "r", "match": [{"headers": {"x": {"prefix": "caf"}}}], "directResponse": {"status": 200}}]}"#;
        assert!(configured(config).apply(&mut Exchange::new(headers, Dice::new(1))).is_some());
    }

    fn what_is_wrong_is_said_with_its_place() {
        refused("{", "not JSON: EOF while parsing an object");
        refused("[]", "invalid type: sequence");
        refused(r#"{"rulez": []}"#, "rulez: unknown field `rulez`, expected `rules`; did you mean `rules`?");
        refused(r#"{"rules": [{"headers": {}}]}"#, "rules[0]: missing field `name`");
        refused(r#"{"rules": [{"name": "a", "matches": []}]}"#, "rules[0].matches: unknown field `matches`");
        refused(r#"{"rules": [{"name": "a", "match": {}}]}"#, "rules[0].match: invalid type: map, expected a sequence");
        refused(r#"{"rules": [{"name": "a", "match": [{"uri": {"prefix": "api"}}], "headers": {}}]}"#,
            "rules[0].match[0].uri.prefix: a path starts with \"/\", this one is \"api\"");
        refused(r#"{"rules": [{"name": "a", "match": [{"uri": {"exact": "/a?b=1"}}], "headers": {}}]}"#,
            "rules[0].match[0].uri.exact: the path is compared without query and fragment, so \"/a?b=1\" never matches; write \"/a\"");
        refused(r#"{"rules": [{"name": "a", "match": [{"uri": {"prefix": "/a", "exact": "/b"}}], "headers": {}}]}"#, "uri: only one of");
        refused(r#"{"rules": [{"name": "A", "headers": {}}]}"#, "rules[0].name: a name is 1 to 63 of");
        refused(r#"{"rules": [{"name": "a", "headers": {}}, {"name": "a", "headers": {}}]}"#,
            "rules[1].name: \"a\" is the name of rules[0] already");
        refused(r#"{"rules": [{"name": "a"}]}"#, "rules[0]: a rule does exactly one of headers, directResponse and redirect");
        refused(r#"{"rules": [{"name": "a", "headers": {}, "redirect": {"uri": "/"}}]}"#, "exactly one of");
        refused(r#"{"rules": [{"name": "a", "directResponse": {"status": 99}}]}"#, "rules[0].directResponse.status: a status is 200 to 599");
        refused(r#"{"rules": [{"name": "a", "directResponse": {"status": "ok"}}]}"#, "rules[0].directResponse.status: invalid type: string \"ok\"");
        refused(r#"{"rules": [{"name": "a", "directResponse": {"status": 200, "body": {"bytes": "?"}}}]}"#, "body.bytes: this is not base64");
        refused(r#"{"rules": [{"name": "a", "redirect": {}}]}"#, "rules[0].redirect: a redirect changes at least one");
        refused(r#"{"rules": [{"name": "a", "redirect": {"uri": "/", "redirectCode": 304}}]}"#, "redirectCode: Envoy redirects with");
        refused(r#"{"rules": [{"name": "a", "headers": {"request": {"set": {"x y": "1"}}}}]}"#,
            "rules[0].headers.request.set.\"x y\": \"x y\" is not the name of a header");
        refused(r#"{"rules": [{"name": "a", "headers": {"request": {"set": {":path": "/"}}}}]}"#, "use uri-rewrite");
        refused(r#"{"rules": [{"name": "a", "headers": {"request": {"remove": ["Content-Length"]}}}]}"#, "remove[0]: \"Content-Length\" frames the message");
        refused(r#"{"rules": [{"name": "a", "headers": {"request": {"remove": ["host"]}}}]}"#, "remove[0]: a request cannot go without");
        refused(r#"{"rules": [{"name": "a", "headers": {"response": {"set": {"x": "%REQ(y)%"}}}}]}"#, "write %% for a percent sign");
        refused(r#"{"rules": [{"name": "a", "headers": {"response": {"set": {"x": "1", "x": "2"}}}}]}"#, "`x` stands here twice");
        refused(r#"{"rules": [{"name": "a", "match": [{"headers": {"x": {"prefix": ""}}}], "headers": {}}]}"#,
            "rules[0].match[0].headers.x.prefix: an empty prefix is refused by Envoy; write {} for presence");
        refused(r#"{"rules": [{"name": "a", "match": [{"clientIp": ["10.0.0.0/40"]}], "headers": {}}]}"#, "clientIp[0]: a prefix of 40 bits");
        refused(r#"{"rules": [{"name": "a", "match": [{"percentage": {"value": 101}}], "headers": {}}]}"#, "percentage.value: a percentage is 0 to 100");
        refused(r#"{"rules": [{"name": "a", "match": [{"path": "loose"}], "headers": {}}]}"#, "rules[0].match[0].path: unknown variant `loose`, expected `strict`");
        refused(r#"{"rules": [{"name": "a", "key": [{"header": "x", "cookie": "y"}], "headers": {}}]}"#, "rules[0].key[0]: a source is exactly one of");
    }
}

#[cfg(feature = "regex")]
sentences! {
    fn regexes_match_whole_values() {
        hit(r#"{"uri": {"regex": "/c.*t"}}"#, &[], true);
        hit(r#"{"uri": {"regex": "/c"}}"#, &[], false);
        hit(r#"{"headers": {"x-user": {"regex": "a(n+)"}}}"#, &[], true);
        refused(r#"{"rules": [{"name": "a", "match": [{"uri": {"regex": "/(?=a)"}}], "headers": {}}]}"#,
            "rules[0].match[0].uri.regex: invalid or unsupported Perl syntax: `(?=`; RE2 has no look-around");
    }
}

#[cfg(not(feature = "regex"))]
sentences! {
    fn a_build_without_regexes_says_so() {
        refused(r#"{"rules": [{"name": "a", "match": [{"uri": {"regex": "/a"}}], "headers": {}}]}"#, "carries no regex engine");
    }
}
