//! What `uri-rewrite` does, sentence by sentence.

use super::*;
use crate::sentences;
use crate::stage::{Still, refusal, run};

fn ran(config: &str, target: &str) -> crate::stage::Done {
    let headers = [(":path", target), (":authority", "shop"), (":scheme", "http")];
    run::<UriRewrite>(config, &headers, &mut Still::default(), 1)
}

/// The new target, or the old one.
fn target(config: &str, old: &str) -> String {
    let done = ran(config, old);
    let new = done.changes.iter().find_map(|change| change.strip_prefix(":path="));
    new.unwrap_or(old).to_owned()
}

fn rule(condition: &str, rewrite: &str) -> String {
    format!(r#"{{"rules": [{{"match": [{condition}], "rewrite": {rewrite}}}]}}"#)
}

fn check(condition: &str, rewrite: &str, pairs: &[(&str, &str)]) {
    for (old, new) in pairs {
        assert_eq!(target(&rule(condition, rewrite), old), *new, "{old} by {condition} to {rewrite}");
    }
}

sentences! {
    fn a_prefix_is_replaced_with_one_slash_at_the_seam() {
        let pairs = [("/api/a?q=//", "/v2/a?q=//"), ("/api", "/v2"), ("/api//a", "/v2/a"), ("/other", "/other")];
        check(r#"{"uri": {"prefix": "/api"}}"#, r#"{"uri": "/v2"}"#, &pairs);
        check(r#"{"uri": {"segmentPrefix": "/api"}}"#, r#"{"uri": "/v2/"}"#, &[("/api/a", "/v2/a"), ("/apis", "/apis")]);
        check(r#"{"uri": {"prefix": "/common"}}"#, r#"{"uri": "/"}"#, &[("/common/api", "/api"), ("/common", "/")]);
        check(r#"{"uri": {"prefix": "/API"}, "ignoreUriCase": true}"#, r#"{"uri": "/v2"}"#, &[("/aPi/a", "/v2/a")]);
        check("{}", r#"{"uri": "/new"}"#, &[("/a/b", "/new/a/b")]);
    }

    fn an_exact_or_regex_match_is_replaced_whole() {
        check(r#"{"uri": {"exact": "/a/b"}}"#, r#"{"uri": "/c"}"#, &[("/a/b?x", "/c?x")]);
    }

    fn a_template_puts_names_where_they_go() {
        check(r#"{"uri": {"template": "/api/{version}/{rest=**}"}}"#, r#"{"template": "/v2/{rest}"}"#,
            &[("/api/v1/a/b?x", "/v2/a/b?x"), ("/api/v1/", "/v2/")]);
    }

    fn envoys_own_join_can_be_had() {
        let config = |condition: &str, to: &str| {
            format!(r#"{{"compat": "envoy", "rules": [{{"match": [{condition}], "rewrite": {{"uri": "{to}"}}}}]}}"#)
        };
        assert_eq!(target(&config(r#"{"uri": {"prefix": "/common"}}"#, "/"), "/common/api"), "//api");
        assert_eq!(target(&config("{}", "/new"), "/a/b"), "/newa/b");
        assert_eq!(target(&config(r#"{"uri": {"prefix": "/v2"}}"#, "/v3"), "/v2example"), "/v3example");
    }

    fn what_would_be_no_target_is_not_sent() {
        let config = rule(r#"{"uri": {"prefix": "/api"}}"#, r#"{"uri": "/v2", "authority": "other"}"#);
        for old in ["/api/../admin", "/api..;/admin/..", "/api/%2e%2e/admin", "/api..%2fx/.."] {
            let done = ran(&config, old);
            assert_eq!((done.changes, done.reply), (vec![], None), "{old}");
            assert_eq!(done.counts.get("rule-0.rewrite_refused"), Some(&1), "{old}");
            assert_eq!(done.warnings.len(), 1, "{old}");
        }
        let reject = config.replace(r#""rules""#, r#""onInvalid": "reject", "rules""#);
        assert_eq!(ran(&reject, "/api/../x").reply.as_deref(), Some("400 "));
    }

    fn the_strict_spelling_is_rewritten_where_it_matched() {
        check(r#"{"uri": {"prefix": "/api"}, "path": "strict"}"#, r#"{"uri": "/v2"}"#, &[("/x/..%2fapi//a;v=1?q", "/v2/a?q")]);
    }

    fn the_old_path_is_kept_in_a_header() {
        let config = rule(r#"{"uri": {"prefix": "/api"}}"#, r#"{"uri": "/v2"}"#);
        assert_eq!(ran(&config, "/api/a?q").changes, [":path=/v2/a?q", "x-envoy-original-path=/api/a?q"]);
        let named = config.replace(r#""rules""#, r#""originalPathHeader": "X-Old", "rules""#);
        assert_eq!(ran(&named, "/api").changes, [":path=/v2", "x-old=/api"]);
        let off = config.replace(r#""rules""#, r#""originalPathHeader": "", "rules""#);
        assert_eq!(ran(&off, "/api").changes, [":path=/v2"]);
    }

    fn a_client_cannot_bring_the_old_path() {
        let config = rule(r#"{"uri": {"prefix": "/api"}}"#, r#"{"uri": "/v2"}"#);
        let headers = [(":path", "/"), ("x-envoy-original-path", "/secret"), ("x_envoy_original_path", "/secret")];
        let done = run::<UriRewrite>(&config, &headers, &mut Still::default(), 1);
        assert_eq!(done.changes, ["-x-envoy-original-path", "-x_envoy_original_path"]);
    }

    fn an_authority_can_be_new_alone() {
        let done = ran(&rule("{}", r#"{"authority": "other:80"}"#), "/a");
        assert_eq!(done.changes, [":authority=other:80"]);
        assert!(done.reroutes);
    }

    fn faults_are_named() {
        let said = |condition: &str, rewrite: &str| refusal::<UriRewrite>(&rule(condition, rewrite));
        assert!(said("{}", "{}").contains("rules[0].rewrite: a rewrite names at least one of"));
        assert!(said("{}", r#"{"uri": ""}"#).contains("rules[0].rewrite.uri: an empty path is none; write \"/\""));
        assert!(said("{}", r#"{"uri": "a"}"#).contains("a path starts with \"/\", this one is \"a\""));
        assert!(said("{}", r#"{"uri": "/a?b"}"#).contains("is more than a path"));
        assert!(said("{}", r#"{"uri": "/", "template": "/"}"#).contains("only one of"));
        assert!(said("{}", r#"{"template": "/{x}"}"#).contains("rules[0].rewrite.template: every entry of match needs a uri.template"));
        assert!(said(r#"{"uri": {"template": "/{y}"}}"#, r#"{"template": "/{x}"}"#).contains("which has y"));
        assert!(said("{}", r#"{"authority": "a b"}"#).contains("is not a host"));
        assert!(refusal::<UriRewrite>(r#"{"rules": [{"match": []}]}"#).contains("rules[0]: missing field `rewrite`"));
        assert!(refusal::<UriRewrite>(r#"{"rules": [], "onInvalid": "rejekt"}"#).contains("did you mean `reject`"));
        assert!(refusal::<UriRewrite>(r#"{"originalPathHeader": ":path"}"#).starts_with("originalPathHeader: "));
    }
}

#[cfg(feature = "regex")]
sentences! {
    fn a_regex_rewrites_with_its_groups() {
        check("{}", r#"{"uriRegexRewrite": {"match": "^/service/([^/]+)(/.*)$", "rewrite": "\\2/instance/\\1"}}"#,
            &[("/service/foo/v1/api?x", "/v1/api/instance/foo?x")]);
        check(r#"{"uri": {"regex": "/a/.*"}}"#, r#"{"uri": "/c"}"#, &[("/a/b?x", "/c?x")]);
        let said = refusal::<UriRewrite>(&rule("{}", r#"{"uriRegexRewrite": {"match": "(a)", "rewrite": "\\2"}}"#));
        assert!(said.contains("rules[0].rewrite.uriRegexRewrite.rewrite: no such group"), "{said}");
    }
}

#[cfg(not(target_family = "wasm"))]
mod laws {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_seam_has_one_slash_and_the_query_stays(
            prefix in "(/[a-z]{1,3}){0,2}/?", with in "(/[a-z]{1,3}){0,2}/?", rest in "(/?[a-z0-9]{0,3}){0,3}", query in "(\\?[ -~&&[^#]]{0,12})?",
        ) {
            let old = format!("{prefix}{rest}{query}").into_bytes();
            let new = rewrite::joined_prefix_rewrite(&old, prefix.len(), with.as_bytes());
            let (old_path, old_query) = split_target(&old);
            let (path, new_query) = split_target(&new);
            prop_assert_eq!(old_query, new_query);
            prop_assert!(path.starts_with(b"/"));
            let base = with.trim_end_matches('/').as_bytes();
            let tail = path.strip_prefix(base).unwrap();
            let left = old_path.get(prefix.len()..).unwrap();
            let wanted = left.iter().position(|&b| b != b'/').map_or(&b""[..], |at| &left[at..]);
            // What follows is nothing, or one slash and the rest without its own.
            prop_assert!(tail.is_empty() || tail == [b"/", wanted].concat());
            prop_assert!(!tail.is_empty() || wanted.is_empty());
        }

        #[test]
        fn no_module_sends_what_is_no_target(target in "/api[/.%25a-f;2eE\\\\]{0,16}(\\?[a-z]{0,3})?") {
            let config = rule(r#"{"uri": {"prefix": "/api"}}"#, r#"{"uri": "/v2"}"#);
            let done = ran(&config, &target);
            if let Some(new) = done.changes.iter().find_map(|change| change.strip_prefix(":path=")) {
                prop_assert_eq!(rewrite::validate(new.replace("\\\\", "\\").as_bytes()), Ok(()));
            }
        }
    }
}
