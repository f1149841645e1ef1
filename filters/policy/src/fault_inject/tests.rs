//! What `fault-inject` does, sentence by sentence.

use super::*;
use crate::sentences;
use crate::stage::{Done, Still, refusal, run};

fn rule(more: &str) -> String {
    format!(r#"{{"rules": [{{"name": "bad-day", {more}}}]}}"#)
}

fn ran(more: &str, headers: &[(&str, &str)], seed: u64) -> Done {
    run::<FaultInject>(&rule(more), headers, &mut Still::default(), seed)
}

fn fault(more: &str, headers: &[(&str, &str)]) -> (Option<u128>, Option<String>) {
    let done = ran(more, headers, 1);
    (done.delay, done.reply)
}

const ABORT: &str = r#""abort": {"httpStatus": 503}"#;

sentences! {
    fn an_abort_answers() {
        assert_eq!(fault(ABORT, &[]), (None, Some("503 fault filter abort".into())));
        let own = r#""abort": {"httpStatus": 418, "body": {"string": "teapot"}, "headers": {"x-why": "drill"}}"#;
        assert_eq!(fault(own, &[]).1.as_deref(), Some("418 x-why=drill teapot"));
    }

    fn a_grpc_abort_has_both_statuses() {
        assert_eq!(fault(r#""abort": {"grpcStatus": "UNAVAILABLE"}"#, &[]).1.as_deref(), Some("503 grpc 14 fault filter abort"));
        assert_eq!(fault(r#""abort": {"grpcStatus": "8"}"#, &[]).1.as_deref(), Some("429 grpc 8 fault filter abort"));
    }

    fn a_delay_holds_and_then_the_abort_answers() {
        assert_eq!(fault(r#""delay": {"fixedDelay": "250ms"}"#, &[]), (Some(250), None));
        let both = r#""delay": {"fixedDelay": "1s"}, "abort": {"httpStatus": 500}"#;
        assert_eq!(fault(both, &[]), (Some(1000), Some("500 fault filter abort".into())));
    }

    fn jitter_makes_it_longer_at_most_by_itself() {
        let delays: Vec<_> = (0..500)
            .filter_map(|seed| ran(r#""delay": {"fixedDelay": "100ms", "jitter": "50ms"}"#, &[], seed).delay)
            .collect();
        assert!(delays.iter().all(|delay| (100..=150).contains(delay)));
        assert!(delays.iter().any(|delay| *delay < 110) && delays.iter().any(|delay| *delay > 140));
    }

    fn delay_and_abort_are_drawn_apart() {
        let half = r#""delay": {"fixedDelay": "1s", "percentage": {"value": 50}}, "abort": {"httpStatus": 500, "percentage": {"value": 50}}"#;
        let mut seen = [0u32; 4];
        for seed in 0..2000 {
            let done = ran(half, &[], seed);
            seen[usize::from(done.delay.is_some()) * 2 + usize::from(done.reply.is_some())] += 1;
        }
        assert!(seen.iter().all(|n| (400..600).contains(n)), "{seen:?}");
    }

    fn who_is_hit_is_hit_every_time() {
        let keyed = r#""key": [{"header": "x-user"}], "abort": {"httpStatus": 500, "percentage": {"value": 30}}"#;
        let hit = |user: &str, seed| ran(keyed, &[("x-user", user)], seed).reply.is_some();
        let users: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        assert!(users.iter().all(|user| hit(user, 1) == hit(user, 2)));
        let hits = users.iter().filter(|user| hit(user, 1)).count();
        assert!((60..120).contains(&hits), "{hits}");
    }

    fn nothing_is_drawn_is_nothing_done() {
        let done = ran(r#""abort": {"httpStatus": 500, "percentage": {"value": 0}}"#, &[], 1);
        assert_eq!((done.delay, done.reply, done.attributes.len()), (None, None, 0));
    }

    fn above_max_active_requests_pass_at_once() {
        let mut world = Still { held: 1000, ..Still::default() };
        let done = run::<FaultInject>(&rule(r#""delay": {"fixedDelay": "1s"}"#), &[], &mut world, 1);
        assert_eq!(done.delay, None);
        assert_eq!(done.counts.get("bad-day.overflow"), Some(&1));
        world.held = 4;
        let five = rule(r#""delay": {"fixedDelay": "1s"}, "maxActive": 5"#);
        assert_eq!(run::<FaultInject>(&five, &[], &mut world, 1).delay, Some(1000));
    }

    fn a_rule_is_in_force_in_its_window() {
        let window = rule(&format!(r#"{ABORT}, "activeWindow": {{"from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}}"#));
        let at = |text: &str| {
            let mut world = Still { wall: crate::instant::parse(text).unwrap(), ..Still::default() };
            run::<FaultInject>(&window, &[], &mut world, 1).reply.is_some()
        };
        assert!(at("2026-01-01T12:00:00Z"));
        assert!(!at("2025-12-31T23:59:59Z"));
        assert!(!at("2026-01-02T00:00:00Z"));
    }

    fn headers_ask_for_faults_only_with_the_secret() {
        let by = r#""headerControlled": {"secretHeader": "x-drill", "secretValue": "open sesame", "maxDelay": "2s", "allowAbort": true}"#;
        let asking = |secret: &'static str| {
            [("x-drill", secret), ("x-envoy-fault-delay-request", "5000"), ("x-envoy-fault-abort-request", "502")]
        };
        assert_eq!(fault(by, &asking("open sesame")), (Some(2000), Some("502 fault filter abort".into())));
        assert_eq!(fault(by, &asking("guess")), (None, None));
        let gone = ["-x-drill", "-x-envoy-fault-delay-request", "-x-envoy-fault-abort-request"];
        assert_eq!(ran(by, &asking("guess"), 1).changes, gone);
        assert_eq!(fault(&by.replace(", \"allowAbort\": true", ""), &asking("open sesame")), (Some(2000), None));
        assert_eq!(fault(by, &[("x-drill", "open sesame"), ("x-envoy-fault-abort-grpc-request", "14")]).1.as_deref(), Some("503 grpc 14 fault filter abort"));
        assert_eq!(fault(by, &[("x-drill", "open sesame"), ("x-envoy-fault-abort-request", "99")]), (None, None));
    }

    fn headers_ask_for_nothing_where_nobody_allowed_it() {
        let done = ran(r#""match": [{"uri": {"exact": "/x"}}], "abort": {"httpStatus": 500}"#,
            &[(":path", "/"), ("x-envoy-fault-abort-request", "500")], 1);
        assert_eq!((done.reply, done.changes.len()), (None, 0));
    }

    fn faults_are_named() {
        let said = |more: &str| refusal::<FaultInject>(&rule(more));
        assert!(said(r#""match": []"#).contains("rules[0]: a rule has at least one of"));
        assert!(said(r#""abort": {}"#).contains("rules[0].abort: an abort has exactly one of"));
        assert!(said(r#""abort": {"httpStatus": 600}"#).contains("abort.httpStatus: a status is 200 to 599"));
        assert!(said(r#""abort": {"grpcStatus": "BAD"}"#).contains("abort.grpcStatus: \"BAD\" is no gRPC status"));
        assert!(said(r#""delay": {"fixedDelay": "61s"}"#).contains("delay.fixedDelay: no request is held for more than 60s"));
        assert!(said(r#""delay": {"fixedDelay": "40s", "jitter": "30s"}"#).contains("with 30s of jitter"));
        assert!(said(r#""delay": {"fixedDelay": "10us"}"#).contains("at least 1ms"));
        assert!(said(r#""delay": {"fixedDelay": "1s", "percentage": {"value": -1}}"#).contains("delay.percentage.value"));
        assert!(said(r#""headerControlled": {"secretHeader": "x", "secretValue": "short"}"#).contains("secretValue: a secret has"));
        assert!(said(r#""abort": {"httpStatus": 500}, "activeWindow": {"from": "today"}"#).contains("activeWindow.from: \"today\" is not a point in time"));
        assert!(said(r#""abort": {"httpStatus": 500}, "activeWindow": {"from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}"#).contains("ends before"));
    }
}
