//! The answer as a short story for people.

use std::fmt::Write;

use super::answer::{Answer, Filter, HeaderChange, Rule};

/// Tells it, a line a step, in the order in which things happen.
pub(crate) fn tell(answer: &Answer, colour: bool) -> String {
    let mut story = Story { text: String::new(), colour };
    let asked = &answer.request;
    story.line(&format!("{} {}", asked.method, asked.url));
    story.line(&format!("  from {}", asked.client_ip));
    for (name, value) in &asked.headers {
        story.line(&format!("  {name}: {value}"));
    }
    story.blank();
    story.door(answer);
    story.filters(answer);
    story.rules(answer);
    story.way(answer);
    story.end(answer);
    story.text
}

struct Story {
    text: String,
    colour: bool,
}

/// Green, red, dim.
const YES: &str = "32";
const NO: &str = "31";
const DIM: &str = "2";

impl Story {
    fn line(&mut self, text: &str) {
        // A string takes everything. What clients and origins send cannot move a terminal's cursor.
        let clean: String =
            text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
        let _ = writeln!(self.text, "{clean}");
    }

    fn painted(&mut self, colour: &str, text: &str) {
        if self.colour {
            let _ = write!(self.text, "\u{1b}[{colour}m");
            let clean: String = text.chars().filter(|c| !c.is_control()).collect();
            let _ = writeln!(self.text, "{clean}\u{1b}[0m");
        } else {
            self.line(text);
        }
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn step(&mut self, what: &str, text: &str) {
        self.line(&format!("{what:<10} {text}"));
    }

    fn door(&mut self, answer: &Answer) {
        let Some(listener) = &answer.listener else {
            // The next blank line is enough.
            self.text.truncate(self.text.trim_end().len());
            return self.blank();
        };
        self.step("listener", listener);
        match (&answer.server, &answer.server_origin) {
            (_, Some(server)) => self.step(
                "server",
                &format!(
                    "Gateway {}, port {} ({})   {}:{}",
                    server.gateway, server.port, server.name, server.file, server.line
                ),
            ),
            (Some(server), None) => self.step("server", server),
            (None, None) => {}
        }
    }

    fn filters(&mut self, answer: &Answer) {
        // Istio's own filters are in every chain; those that did nothing would only hide the others.
        let told = answer.filters.iter().filter(|filter| filter.kind == "wasm" || filter.acted());
        let mut what = "filters";
        for filter in told {
            self.step(what, &filter.told());
            what = "";
            self.changes(&filter.changed, "");
            for line in &filter.counted {
                self.step("", &format!("  rule {line}"));
            }
            if let Some(held) = &filter.held {
                self.step("", &format!("  held the request for {held}"));
            }
            if let Some(verdict) = filter.verdict.as_ref().filter(|_| filter.reply.is_none()) {
                self.step("", &format!("  {verdict}"));
            }
            if let Some(reply) = &filter.reply {
                self.step("", &format!("  answered {} itself: {}", reply.status, reply.details));
            }
            self.changes(&filter.changed_response, " in the answer");
            for line in &filter.log {
                self.painted(DIM, &format!("{:<10}   log: {line}", ""));
            }
        }
    }

    fn changes(&mut self, changes: &[HeaderChange], place: &str) {
        for change in changes {
            let text = match (&change.before, &change.after) {
                (None, Some(after)) => format!("  + {}: {after}{place}", change.name),
                (Some(before), None) => format!("  - {}: {before}{place}", change.name),
                (Some(before), Some(after)) => format!("  ~ {}: {before} -> {after}{place}", change.name),
                (None, None) => continue,
            };
            self.step("", &text);
        }
    }

    fn rules(&mut self, answer: &Answer) {
        if let Some(host) = &answer.virtual_host {
            self.step("host", host);
        }
        let mut what = "rules";
        let passed = answer.rules.len().saturating_sub(ROOM);
        for (at, rule) in answer.rules.iter().enumerate() {
            // Of a long list, the end is what matters.
            if passed > 0 && at == 0 {
                self.step(what, &format!("({passed} rules before these did not match either; -o json lists them)"));
                what = "";
            }
            if at < passed {
                continue;
            }
            let colour = if rule.matched { YES } else { NO };
            self.painted(colour, &format!("{what:<10} {}", rule.told()));
            what = "";
        }
    }

    fn way(&mut self, answer: &Answer) {
        if let Some(route) = answer.route.as_ref().filter(|route| route.action != "forward") {
            self.step("action", &route.action.replace('_', " "));
        }
        if let Some(split) = &answer.split {
            let shares =
                split.destinations.iter().zip(&split.weights).map(|(name, weight)| format!("{} {weight}", short(name)));
            let shares: Vec<_> = shares.collect();
            self.step(
                "split",
                &format!(
                    "{} of {}: {} ({}; from {})",
                    split.bucket,
                    split.total(),
                    short(&split.choice),
                    shares.join(", "),
                    split.why
                ),
            );
        }
        if let Some(rewrite) = &answer.rewrite {
            if rewrite.before != rewrite.after {
                self.step("rewrite", &format!("{} -> {}", rewrite.before, rewrite.after));
            }
            if let Some(host) = &rewrite.host {
                self.step("rewrite", &format!("host {} -> {}", host.before, host.after));
            }
        }
        let own = |change: &&HeaderChange| !BY_ITSELF.contains(&change.name.as_str());
        if answer.route.is_some() && answer.header_changes.request.iter().any(|change| own(&change)) {
            self.step("headers", "changed by the route");
            let changes = answer.header_changes.request.iter().filter(own);
            changes.for_each(|change| self.changes(std::slice::from_ref(change), ""));
        }
        self.changes(&answer.header_changes.response, " in the answer");
        if let Some(fault) = &answer.fault {
            let delay = fault.delay.as_ref().map(|delay| format!("delay {delay}"));
            let abort = fault.abort.map(|status| format!("abort {status}"));
            let parts: Vec<_> = delay.into_iter().chain(abort).collect();
            self.step("fault", &format!("{} by {}", parts.join(", "), fault.by));
        }
        if let Some(timeout) = &answer.timeout {
            self.step("timeout", timeout);
        }
        if let Some(retry) = &answer.retry {
            let times = if retry.attempts == 1 { "once" } else { "times" };
            let often = if retry.attempts == 1 { times.to_owned() } else { format!("{} {times}", retry.attempts) };
            self.step("retry", &format!("at most {often}, on {}", retry.on.join(", ")));
            if retry.tries.len() > 1 {
                for one in &retry.tries {
                    let status = one.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                    self.step("", &format!("  tried {}: {status}", one.endpoint));
                }
            }
        }
        for mirror in &answer.mirror {
            self.step("mirror", &format!("a copy to {}", short(&mirror.cluster)));
        }
        if let Some(cluster) = &answer.cluster {
            self.step("cluster", cluster);
        }
        if let Some(endpoint) = &answer.endpoint {
            self.step("endpoint", endpoint);
        }
        if let Some(upstream) = &answer.upstream_request {
            self.step("it sees", &format!("{} {}  host {}", upstream.method, upstream.path, upstream.authority));
        }
    }

    fn end(&mut self, answer: &Answer) {
        if let Some(mapped) = &answer.local_reply {
            let by = mapped.mapper.map_or_else(|| "body_format".to_owned(), |number| format!("mappers[{number}]"));
            self.step("reply", &format!("{} -> {}, by local_reply_config.{by}", mapped.before, mapped.after));
        }
        self.blank();
        let status = answer
            .status
            .map_or_else(|| "the connection ends without an answer".to_owned(), |status| status.to_string());
        let why = match (answer.flags.as_str(), answer.details.as_str()) {
            ("" | "-", "") => String::new(),
            ("" | "-", details) => format!("  ({details})"),
            (flags, details) => format!("  ({details}, {flags})"),
        };
        match &answer.why_not {
            None => self.painted(
                if answer.status.is_some_and(|status| status < 400) { YES } else { NO },
                &format!("{status}{why}"),
            ),
            Some(not) => {
                self.painted(NO, &format!("{status}{why}: {}", not.message));
                for near in &not.nearest {
                    let place = place(near.file.as_deref(), near.line);
                    let actual = near
                        .actual
                        .as_deref()
                        .map_or_else(|| "nothing is there".to_owned(), |actual| format!("it is {actual:?}"));
                    self.line(&format!(
                        "  near: {}{place}: {} must be {}, {actual}",
                        near.name, near.field, near.expected
                    ));
                }
            }
        }
        if let Some(location) =
            answer.response.iter().flat_map(|response| &response.headers).find(|(name, _)| name == "location")
        {
            self.line(&format!("  location: {}", location.1));
        }
    }
}

/// At most so many rules are told.
const ROOM: usize = 25;

/// Headers the router writes for every request; the rewrite is told on its own.
const BY_ITSELF: [&str; 5] =
    [":path", ":authority", "x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "x-envoy-original-path"];

impl Filter {
    fn acted(&self) -> bool {
        !self.changed.is_empty()
            || !self.changed_response.is_empty()
            || self.reply.is_some()
            || self.held.is_some()
            || self.verdict.is_some()
    }

    fn told(&self) -> String {
        let idle = if self.acted() || !self.counted.is_empty() { "" } else { ": nothing to do" };
        format!("{}{idle}", self.name)
    }
}

impl Rule {
    fn told(&self) -> String {
        let place = place(self.file.as_deref(), self.line);
        match &self.first_failed {
            _ if self.matched => format!("yes  {}{place}", self.name),
            Some(miss) => {
                let actual = miss
                    .actual
                    .as_deref()
                    .map_or_else(|| "it is not there".to_owned(), |actual| format!("it is {actual:?}"));
                format!("no   {}{place}: {} must be {}, {actual}", self.name, miss.field, miss.expected)
            }
            None => format!("no   {}{place}", self.name),
        }
    }
}

fn place(file: Option<&str>, line: Option<u64>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!(" ({file}:{line})"),
        _ => String::new(),
    }
}

/// `outbound|80|v1|shop.default.svc.cluster.local` is `shop/v1` to a person.
fn short(cluster: &str) -> String {
    let parts: Vec<_> = cluster.split('|').collect();
    match parts.as_slice() {
        [_, _, subset, host] => {
            let service = if host.contains(".svc.") { host.split('.').next().unwrap_or(host) } else { host };
            if subset.is_empty() { service.to_owned() } else { format!("{service}/{subset}") }
        }
        _ => cluster.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_called_what_a_person_calls_it() {
        for (cluster, told) in [
            ("outbound|80|v1|shop.default.svc.cluster.local", "shop/v1"),
            ("outbound|80||shop.default.svc.cluster.local", "shop"),
            ("outbound|443||api.example.com", "api.example.com"),
            ("local", "local"),
        ] {
            assert_eq!(short(cluster), told);
        }
    }

    #[test]
    fn what_a_client_sends_cannot_move_the_cursor() {
        let mut story = Story { text: String::new(), colour: false };
        story.line("x: \u{1b}[2J");
        assert!(!story.text.contains('\u{1b}'), "{}", story.text);
    }
}
