//! What `rate-limit` does, sentence by sentence.

use super::*;
use crate::sentences;
use crate::stage::{Done, Still, refusal, run};

const SECOND: u64 = 1_000_000_000;

fn rule(more: &str) -> String {
    format!(r#"{{"rules": [{{"name": "per-user", "key": [{{"header": "x-user"}}], {more}}}]}}"#)
}

const TWO: &str = r#""limit": {"requests": 2, "per": "10s"}"#;

/// Requests of these users, one after the other at one moment.
fn ran(config: &str, users: &[&str], world: &mut Still) -> Vec<Done> {
    users.iter().map(|user| run::<RateLimit>(config, &[("x-user", user), (":path", "/")], world, 1)).collect()
}

fn statuses(config: &str, users: &[&str], world: &mut Still) -> Vec<u16> {
    let status = |done: &Done| done.reply.as_ref().map_or(200, |reply| reply[..3].parse().unwrap());
    ran(config, users, world).iter().map(status).collect()
}

sentences! {
    fn everyone_has_a_bucket() {
        assert_eq!(statuses(&rule(TWO), &["ann", "ann", "bob", "ann"], &mut Still::default()), [200, 200, 200, 429]);
    }

    fn a_bucket_fills_with_time() {
        let mut world = Still { now: 5 * SECOND, ..Still::default() };
        assert_eq!(statuses(&rule(TWO), &["ann", "ann", "ann"], &mut world), [200, 200, 429]);
        world.now += 5 * SECOND;
        assert_eq!(statuses(&rule(TWO), &["ann", "ann"], &mut world), [200, 429]);
    }

    fn a_refusal_says_when_to_come_back() {
        let mut world = Still { now: SECOND, ..Still::default() };
        let done = ran(&rule(TWO), &["ann", "ann", "ann"], &mut world);
        assert_eq!(done[2].reply.as_deref(),
            Some("429 grpc 8 retry-after=5 ratelimit-policy=\"per-user\";q=2;w=10 ratelimit=\"per-user\";r=0;t=10 rate limited"));
        assert_eq!(done[2].attributes, ["sluice.rate-limit=per-user:denied"]);
        assert_eq!(done[0].changes, ["< ratelimit-policy=\"per-user\";q=2;w=10", "< ratelimit=\"per-user\";r=1;t=5"]);
    }

    fn a_client_that_waits_as_told_passes() {
        let mut world = Still { now: SECOND / 3, ..Still::default() };
        let config = rule(r#""limit": {"requests": 7, "per": "3s", "burst": 1}"#);
        assert_eq!(statuses(&config, &["ann", "ann"], &mut world), [200, 429]);
        world.now += SECOND;
        assert_eq!(statuses(&config, &["ann"], &mut world), [200]);
    }

    fn headers_come_in_three_styles() {
        let legacy = rule(&format!(r#"{TWO}, "rateLimitHeaders": "legacy""#));
        assert_eq!(ran(&legacy, &["ann"], &mut Still::default())[0].changes,
            ["< x-ratelimit-limit=2", "< x-ratelimit-remaining=1", "< x-ratelimit-reset=5"]);
        let off = rule(&format!(r#"{TWO}, "rateLimitHeaders": "off""#));
        let done = ran(&off, &["ann", "ann", "ann"], &mut Still::default());
        assert_eq!((done[0].changes.len(), done[2].reply.as_deref()), (0, Some("429 grpc 8 retry-after=5 rate limited")));
    }

    fn the_answer_is_the_operators() {
        let own = rule(&format!(r#"{TWO}, "rateLimitHeaders": "off", "response": {{"status": 503, "body": {{"string": "later"}}, "headers": {{"x-why": "limit"}}}}"#));
        let done = ran(&own, &["ann", "ann", "ann"], &mut Still::default());
        assert_eq!(done[2].reply.as_deref(), Some("503 grpc 8 x-why=limit retry-after=5 later"));
    }

    fn a_shadow_counts_and_lets_go() {
        let shadow = rule(&format!(r#"{TWO}, "mode": "shadow""#));
        let done = ran(&shadow, &["ann", "ann", "ann"], &mut Still::default());
        assert!(done.iter().all(|done| done.reply.is_none()));
        assert_eq!(done[2].counts.get("per-user.shadow_denied"), Some(&1));
    }

    fn what_is_off_is_not_there() {
        let off = rule(&format!(r#"{TWO}, "mode": "off""#));
        let mut world = Still::default();
        assert_eq!(statuses(&off, &["ann"; 9], &mut world), [200; 9]);
        assert!(world.data.is_empty());
    }

    fn all_rules_are_charged_until_one_refuses() {
        let config = r#"{"rules": [
            {"name": "wide", "limit": {"requests": 3, "per": "1s"}},
            {"name": "narrow", "key": [{"header": "x-user"}], "limit": {"requests": 1, "per": "1s"}},
            {"name": "last", "limit": {"requests": 9, "per": "1s"}}]}"#;
        let mut world = Still::default();
        let done = ran(config, &["ann", "ann", "bob", "cat"], &mut world);
        let said: Vec<_> = done.iter().map(|done| done.reply.as_deref().map(|reply| reply.contains("wide"))).collect();
        assert_eq!(said, [None, Some(false), None, Some(true)]);
        assert_eq!(done[1].counts.keys().collect::<Vec<_>>(), ["narrow.denied", "wide.allowed"]);
    }

    fn the_tightest_rule_is_told() {
        let config = r#"{"rules": [{"name": "a", "limit": {"requests": 9, "per": "1s"}}, {"name": "b", "limit": {"requests": 2, "per": "1s"}}]}"#;
        assert!(ran(config, &["ann"], &mut Still::default())[0].changes[1].contains("\"b\";r=1"));
    }

    fn a_request_may_weigh_more_but_never_less() {
        let config = rule(r#""limit": {"requests": 10, "per": "1s"}, "cost": {"header": "x-cost", "max": 5}"#);
        let mut world = Still::default();
        let mut left = |cost: &str| {
            let done = run::<RateLimit>(&config, &[("x-user", "ann"), ("x-cost", cost)], &mut world, 1);
            done.changes.get(1).and_then(|header| header.split("r=").nth(1)?.split(';').next()).unwrap_or("refused").to_owned()
        };
        assert_eq!([left("3"), left("99"), left("0"), left("-5")], ["7", "2", "1", "0"].map(str::to_owned));
        assert_eq!(left("x"), "refused");
    }

    fn requests_without_a_key_share_a_bucket() {
        let config = rule(TWO);
        let mut world = Still::default();
        let mut ask = || run::<RateLimit>(&config, &[(":path", "/")], &mut world, 1).reply.is_some();
        assert_eq!([ask(), ask(), ask()], [false, false, true]);
    }

    fn replicas_divide_the_limit() {
        let config = rule(r#""limit": {"requests": 9, "per": "1s"}, "replicas": 3"#);
        let passed = statuses(&config, &["ann"; 9], &mut Still::default()).iter().filter(|status| **status == 200).count();
        assert_eq!(passed, 3);
    }

    fn a_spelling_of_the_path_is_no_new_bucket() {
        let config = r#"{"rules": [{"name": "path", "key": [{"path": {}}], "limit": {"requests": 1, "per": "1s"}}]}"#;
        let mut world = Still::default();
        let mut ask = |path: &str| run::<RateLimit>(config, &[(":path", path)], &mut world, 1).reply.is_some();
        assert!(!ask("/a/b"));
        for path in ["/a//b", "/a/./b?x=1", "/a/c/../b", "/a%2Fb", "/a%2fb", "/a%5Cb", "/a;v=1/b", "/%61/b"] {
            assert!(ask(path), "{path}");
        }
    }

    fn without_a_store_the_configuration_decides() {
        let broken = || Still { broken: true, ..Still::default() };
        assert_eq!(statuses(&rule(TWO), &["ann"], &mut broken()), [200]);
        let deny = rule(&format!(r#"{TWO}, "onError": "deny""#));
        let done = ran(&deny, &["ann"], &mut broken());
        assert_eq!(done[0].reply.as_deref(), Some("429 grpc 8 retry-after=1 rate limited"));
        assert_eq!(done[0].counts.get("per-user.store_errors"), Some(&1));
    }

    fn a_service_is_asked_after_the_limit_has_passed() {
        let config = rule(&format!(r#"{TWO}, "global": {{"cluster": "rls", "domain": "shop", "timeout": "50ms",
            "descriptors": [{{"entries": [{{"key": "user", "from": {{"header": "x-user"}}}}]}}]}}"#));
        let done = ran(&config, &["ann", "ann", "ann"], &mut Still::default());
        assert_eq!(done.iter().map(|done| done.asks).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!(run::<RateLimit>(&config, &[(":path", "/")], &mut Still::default(), 1).asks, 0);
    }

    fn faults_are_named() {
        let said = |more: &str| refusal::<RateLimit>(&rule(more));
        assert!(said(r#""mode": "off""#).contains("rules[0]: missing field `limit`"));
        assert!(said(r#""limit": {"requests": 0, "per": "1s"}"#).contains("limit.requests: 1 to 1000000000"));
        assert!(said(r#""limit": {"requests": 1, "per": "500ms"}"#).contains("limit.per: a limit is per 1s to 24h, this one is per 500ms"));
        assert!(said(r#""limit": {"requests": 1, "per": "25h"}"#).contains("limit.per"));
        assert!(said(r#""limit": {"requests": 1, "per": "1s", "burst": 0}"#).contains("limit.burst"));
        assert!(said(&format!(r#"{TWO}, "mode": "shaddow""#)).contains("did you mean `shadow`"));
        assert!(said(&format!(r#"{TWO}, "cost": {{"header": "x", "max": 3}}"#)).contains("cost.max: the most a request can weigh"));
        assert!(said(&format!(r#"{TWO}, "replicas": 0"#)).contains("replicas"));
        assert!(said(&format!(r#"{TWO}, "maxKeys": 1"#)).contains("maxKeys"));
        assert!(said(&format!(r#"{TWO}, "global": {{"cluster": "c", "domain": "d", "descriptors": []}}"#)).contains("global.descriptors"));
        assert!(said(&format!(r#"{TWO}, "global": {{"cluster": "c", "domain": "d", "descriptors": [{{"entries": [{{"key": "k"}}]}}]}}"#))
            .contains("global.descriptors[0].entries[0]: an entry has exactly one"));
    }
}
