//! What `traffic-shift` does, sentence by sentence.

use super::*;
use crate::sentences;
use crate::stage::{Done, Still, refusal, run};

fn rule(more: &str) -> String {
    format!(
        r#"{{"rules": [{{"name": "canary", {more}
        "destinations": [{{"name": "stable", "weight": 90}}, {{"name": "canary", "weight": 10}}]}}]}}"#
    )
}

fn ran(more: &str, headers: &[(&str, &str)]) -> Done {
    run::<TrafficShift>(&rule(more), headers, &mut Still::default(), 5)
}

fn to(done: &Done) -> String {
    done.changes.iter().find_map(|change| change.strip_prefix("x-sluice-destination=")).unwrap_or("nowhere").to_owned()
}

const BY_USER: &str = r#""key": [{"header": "x-user"}],"#;

sentences! {
    fn the_destination_is_written_for_a_route_to_match() {
        let done = ran(BY_USER, &[("x-user", "ann")]);
        assert_eq!(done.changes, ["x-sluice-destination=stable"]);
        assert_eq!(done.attributes, ["sluice.traffic-shift=canary:stable"]);
        assert!(done.reroutes);
        assert_eq!(done.counts.into_iter().collect::<Vec<_>>(), [("canary.matched".into(), 1), ("canary.shifted.stable".into(), 1)]);
    }

    fn a_user_goes_where_it_went() {
        for user in 0..200 {
            let user = format!("user-{user}");
            let headers = [("x-user", user.as_str())];
            let first = run::<TrafficShift>(&rule(BY_USER), &headers, &mut Still::default(), 1);
            let again = run::<TrafficShift>(&rule(BY_USER), &headers, &mut Still::default(), 2);
            assert_eq!(to(&first), to(&again));
            let bucket = sticky(b"canary", format!("h{user}").as_bytes());
            assert_eq!(to(&first), if bucket < 1000 { "canary" } else { "stable" });
        }
    }

    fn the_salt_deals_anew() {
        let salted = r#""key": [{"header": "x-user"}], "salt": "second","#;
        let differ = |user: &str| to(&ran(BY_USER, &[("x-user", user)])) != to(&ran(salted, &[("x-user", user)]));
        assert!((0..200).any(|user| differ(&user.to_string())));
    }

    fn a_client_cannot_write_the_header() {
        let done = ran(r#""match": [{"uri": {"exact": "/x"}}],"#, &[(":path", "/"), ("X-Sluice_Destination", "canary"), ("x-sluice-destination", "canary")]);
        assert_eq!(done.changes, ["-X-Sluice_Destination", "-x-sluice-destination"]);
    }

    fn force_decides_where_it_is_named() {
        let force = r#""forceHeader": "X-Force", "forceCookie": "force", "key": [{"header": "x-user"}],"#;
        let forced = |headers: &[(&str, &str)]| to(&ran(force, headers));
        assert_eq!(forced(&[("x-user", "ann"), ("x-force", "canary")]), "canary");
        assert_eq!(forced(&[("x-user", "ann"), ("x-force", "always")]), "canary");
        assert_eq!(forced(&[("x-user", "ann"), ("x-force", "never"), ("cookie", "force=canary")]), "stable");
        assert_eq!(forced(&[("x-user", "ann"), ("cookie", "force=canary")]), "canary");
        assert_eq!(forced(&[("x-user", "ann"), ("x-force", "nonsense")]), "stable");
        let unnamed = ran(BY_USER, &[("x-user", "ann"), ("x-force", "canary")]);
        assert_eq!(to(&unnamed), "stable");
        assert_eq!(ran(force, &[("x-force", "canary")]).counts.get("canary.forced"), Some(&1));
    }

    fn a_cookie_is_minted_for_who_has_no_key() {
        let cookie = r#""key": [{"header": "x-user"}], "cookie": {"name": "sid", "ttl": "720h", "path": "/shop"},"#;
        let value = "ab".repeat(16);
        let done = ran(cookie, &[(":scheme", "https")]);
        assert_eq!(done.changes[1], format!("< set-cookie+sid={value}; Path=/shop; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"));
        let back = ran(cookie, &[("cookie", &format!("sid={value}"))]);
        assert_eq!(to(&back), to(&done));
        assert_eq!(back.changes.len(), 1);
        assert_eq!(ran(cookie, &[("x-user", "ann")]).changes.len(), 1);
        let session = ran(r#""cookie": {"name": "sid"},"#, &[]);
        assert_eq!(session.changes[1], format!("< set-cookie+sid={value}; Path=/; HttpOnly; SameSite=Lax"));
    }

    fn without_a_key_the_dice_decide() {
        let share = |more: &str, headers: &[(&str, &str)]| {
            (0..2000).filter(|&seed| to(&run::<TrafficShift>(&rule(more), headers, &mut Still::default(), seed)) == "canary").count()
        };
        for canary in [share("", &[]), share(r#""key": [{"header": "x-user"}], "sticky": false,"#, &[("x-user", "ann")])] {
            assert!((140..260).contains(&canary), "{canary}");
        }
        assert!([0, 2000].contains(&share(BY_USER, &[("x-user", "ann")])));
    }

    fn destinations_may_write_headers() {
        let config = r#"{"rules": [{"name": "r", "header": "x-to", "destinations": [{"name": "a", "weight": 1,
            "headers": {"request": {"set": {"x-a": "1"}}, "response": {"set": {"x-b": "2"}}}}]}]}"#;
        let done = run::<TrafficShift>(config, &[("x-a", "9")], &mut Still::default(), 1);
        assert_eq!(done.changes, ["x-a=1", "x-to=a", "< x-b=2"]);
    }

    fn the_route_can_be_left_alone() {
        assert!(!ran(r#""clearRouteCache": false,"#, &[]).reroutes);
    }

    fn faults_are_named() {
        let said = |destinations: &str| refusal::<TrafficShift>(&format!(r#"{{"rules": [{{"name": "r", "destinations": {destinations}}}]}}"#));
        assert!(said("[]").contains("rules[0].destinations: the weights sum to 0"));
        assert!(said(r#"[{"name": "a", "weight": 0}]"#).contains("the weights sum to 0"));
        assert!(said(r#"[{"name": "a", "weight": 10001}]"#).contains("destinations[0].weight: a weight is 0 to 10000"));
        assert!(said(r#"[{"name": "a", "weight": -1}]"#).contains("destinations[0].weight: invalid value: integer `-1`"));
        assert!(said(r#"[{"name": "a", "weight": 1}, {"name": "a", "weight": 1}]"#).contains("destinations[1].name: \"a\" is a destination already"));
        assert!(said(r#"[{"name": "a"}]"#).contains("destinations[0]: missing field `weight`"));
        let more = |more: &str| refusal::<TrafficShift>(&rule(more));
        assert!(more(r#""cookie": {"name": "a b"},"#).contains("cookie.name: \"a b\" is not the name of a cookie"));
        assert!(more(r#""cookie": {"name": "a", "ttl": "1d"},"#).contains("cookie.ttl: \"1d\" is not a duration"));
        assert!(more(r#""cookie": {"name": "a", "path": "/;x"},"#).contains("cookie.path"));
        assert!(more(r#""sticky": false, "cookie": {"name": "a"},"#).contains("has no use for a cookie"));
        assert!(more(r#""header": "content-length","#).contains("rules[0].header"));
    }
}
