//! Differences that are known and stay: each is named and counted, none is silent.

use super::judge::{End, Outcome};
use super::talk::{Talk, Way};

/// Why the gateways may differ here.
pub(super) fn of(talk: &Talk, envoy: &Outcome, host_sim: &Outcome) -> Option<&'static str> {
    if envoy.log.iter().any(|line| line.contains("Too_many_responses_queued")) {
        return Some("a third request behind two that are answered at once: Envoy takes it for a flood");
    }
    if talk.way == Way::Http2 {
        return of_frames(envoy, host_sim);
    }
    breaks_off(envoy, host_sim).then_some("how much of a body that breaks had gone on before it broke")
}

/// What the `h2` crate refuses and Envoy's codec refuses as well, each in its way.
fn of_frames(envoy: &Outcome, host_sim: &Outcome) -> Option<&'static str> {
    let refused = |line: &String| line.contains("|http2.");
    if !envoy.log.iter().any(refused) {
        return None;
    }
    if envoy.told == host_sim.told && envoy.end == host_sim.end && envoy.asked == host_sim.asked {
        return Some("what the HTTP/2 codec refuses is not in the log");
    }
    let ended = |outcome: &Outcome| {
        let says = |line: &String| line.starts_with("reset") || line.starts_with("goaway");
        outcome.end == End::Closed || outcome.told.iter().any(says)
    };
    let both = ended(envoy) && ended(host_sim);
    both.then_some("a malformed HTTP/2 request ends its stream or its connection, in Envoy the other")
}

/// Both say that the body broke, and nothing differs but how many of its bytes went before.
fn breaks_off(envoy: &Outcome, host_sim: &Outcome) -> bool {
    let broken =
        |line: &String| line.contains("|DPE|http1.") || line.contains("|UPE|upstream_reset_after_response_started");
    let heads =
        |outcome: &Outcome| outcome.told.iter().filter(|line| line.contains("HTTP/1.1 ")).cloned().collect::<Vec<_>>();
    envoy.log.iter().any(broken)
        && envoy.end == host_sim.end
        && heads(envoy) == heads(host_sim)
        && envoy.log.iter().map(|line| without_bytes(line)).eq(host_sim.log.iter().map(|line| without_bytes(line)))
}

/// A line of the log without the fields that count bytes.
fn without_bytes(line: &str) -> Vec<&str> {
    line.split('|').enumerate().filter(|(at, _)| !super::doors::BYTES.contains(at)).map(|(_, field)| field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(told: &[&str], log: &str, end: End) -> Outcome {
        let told = told.iter().map(|line| (*line).to_owned()).collect();
        Outcome { end, told, asked: Vec::new(), log: vec![log.to_owned()] }
    }

    fn talk(way: Way) -> Talk {
        Talk { way, listener: 0, said: Vec::new(), slowly: false, answers: Vec::new(), alone: false }
    }

    #[test]
    fn only_what_is_known_is_allowed() {
        let refused = outcome(&[], "0|DPE|http2.invalid.header.field", End::Closed);
        let reset = outcome(&["reset [0, 0, 0, 1]"], "", End::Open);
        let answered = outcome(&["head"], "", End::Open);
        assert!(of(&talk(Way::Http2), &refused, &reset).is_some());
        assert!(of(&talk(Way::Http2), &refused, &answered).is_none());
        assert!(of(&talk(Way::Heads), &refused, &reset).is_none());
        let broken = |bytes: &str, status: &str| {
            let log = format!("400|DPE|http1.codec_error|HTTP/1.1|POST|http|a|/|-|once|tries=1|{bytes}|11|-");
            outcome(&[status, bytes], &log, End::Closed)
        };
        let (some, none) = (broken("5", "HTTP/1.1 400 Bad Request"), broken("0", "HTTP/1.1 400 Bad Request"));
        assert!(of(&talk(Way::Heads), &none, &some).is_some());
        assert!(of(&talk(Way::Heads), &none, &broken("5", "HTTP/1.1 200 OK")).is_none());
    }
}
