//! Which parts of a name become labels: Envoy's own rules and the bootstrap's.
//!
//! A rule is a regular expression: its first group leaves the name, its second (or the first, when it is alone) is the label's value. All rules see
//! the whole name, and the first rule for a label wins. Rules that begin with a literal word and a dot are tried after the others, as in Envoy; that
//! decides the order of labels.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

/// Envoy's rules for the series that exist here, in its order.
const DEFAULTS: &[(&str, &str)] = &[
    ("envoy.response_code", r"_rq(_(\d{3}))$"),
    ("envoy.response_code_class", r"_rq_((\d))xx$"),
    ("envoy.local_http_ratelimit_prefix", r"^(([^.]+)\.)http_local_rate_limit\."),
    ("envoy.fault_downstream_cluster", r"^http\..*?\.fault\.((.*?)\.)\w+?$"),
    ("envoy.tcp_prefix", r"^tcp\.(([^.]+)\.)"),
    ("envoy.cluster_name", r"^cluster\.(([^.]+)\.)"),
    ("envoy.http_conn_manager_prefix", r"^listener\..*?\.http\.(([^.]+)\.)"),
    ("envoy.http_conn_manager_prefix", r"^http\.(([^.]+)\.)"),
    ("envoy.worker_id", r"^listener\..*?\.worker(_(\d+))\."),
    ("envoy.listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
];

/// `stats_config` asks for a label that cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidStatsConfig {
    /// A rule's regular expression does not compile.
    #[error("stats_config.stats_tags: tag {tag:?}: {regex:?} is no regular expression")]
    Regex {
        /// The label.
        tag: String,
        /// The expression as given.
        regex: String,
    },
    /// A tag without a rule of its own, for which Envoy's defaults have none that is used here.
    #[error(
        "stats_config.stats_tags: tag {tag:?} has neither a regex nor a fixed_value, and no default of this name is known"
    )]
    NoRule {
        /// The label.
        tag: String,
    },
}

/// A set of rules.
pub(super) struct Tags {
    anywhere: Vec<Rule>,
    by_word: Vec<(String, Rule)>,
    fixed: Vec<(String, String)>,
}

struct Rule {
    tag: String,
    regex: Regex,
}

/// What is left of a name, and its labels in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tagged {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
}

impl Tags {
    pub(super) fn new(stats_config: Option<&Value>) -> Result<Self, InvalidStatsConfig> {
        let mut tags = Self { anywhere: Vec::new(), by_word: Vec::new(), fixed: Vec::new() };
        let field = |name: &str| stats_config.and_then(|config| config.get(name));
        if field("use_all_default_tags").and_then(Value::as_bool).unwrap_or(true) {
            tags.add_defaults(|_| true)?;
        }
        for specifier in field("stats_tags").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| specifier.get(name).and_then(Value::as_str);
            let tag = text("tag_name").unwrap_or_default();
            match (text("regex").filter(|regex| !regex.is_empty()), text("fixed_value")) {
                (Some(regex), _) => tags.add(tag, regex)?,
                (None, Some(value)) => tags.fixed.push((tag.to_owned(), value.to_owned())),
                (None, None) if tags.add_defaults(|name| name == tag)? => {}
                (None, None) => return Err(InvalidStatsConfig::NoRule { tag: tag.to_owned() }),
            }
        }
        Ok(tags)
    }

    /// Adds the defaults of the wanted names; whether there was one.
    fn add_defaults(&mut self, wanted: impl Fn(&str) -> bool) -> Result<bool, InvalidStatsConfig> {
        let mut any = false;
        for (tag, regex) in DEFAULTS.iter().filter(|(tag, _)| wanted(tag)) {
            self.add(tag, regex)?;
            any = true;
        }
        Ok(any)
    }

    fn add(&mut self, tag: &str, regex: &str) -> Result<(), InvalidStatsConfig> {
        // Envoy reads a rule as ECMAScript; Istio's bootstrap has this one look-ahead, and the dot it looks for is matched right after.
        let plain = regex.replace(r"(?=\.)", "");
        let compiled = RegexBuilder::new(&plain)
            .unicode(false)
            .build()
            .map_err(|_| InvalidStatsConfig::Regex { tag: tag.to_owned(), regex: regex.to_owned() })?;
        let rule = Rule { tag: tag.to_owned(), regex: compiled };
        match first_word(regex) {
            Some(word) => self.by_word.push((word.to_owned(), rule)),
            None => self.anywhere.push(rule),
        }
        Ok(())
    }

    /// Takes a name apart.
    pub(super) fn apply(&self, name: &str) -> Tagged {
        if let Some((name, labels)) = name.split_once(super::ISTIO) {
            let pairs = labels.split(super::ISTIO).filter_map(|pair| pair.split_once('='));
            let labels = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            return Tagged { name: name.to_owned(), labels: labels.collect() };
        }
        let word = name.split_once('.').map(|(word, _)| word);
        let rules = self
            .anywhere
            .iter()
            .chain(self.by_word.iter().filter(|(w, _)| Some(w.as_str()) == word).map(|(_, rule)| rule));
        let mut labels = self.fixed.clone();
        let mut removed = Vec::new();
        for rule in rules {
            if labels.iter().any(|(tag, _)| *tag == rule.tag) {
                continue;
            }
            let Some(found) = rule.regex.captures(name.as_bytes()) else { continue };
            let Some(gone) = found.get(1) else { continue };
            let value = String::from_utf8_lossy(found.get(2).unwrap_or(gone).as_bytes()).into_owned();
            labels.push((rule.tag.clone(), value));
            removed.push(gone.range());
        }
        let kept = |at: &usize| !removed.iter().any(|range| range.contains(at));
        let name = name.char_indices().filter(|(at, _)| kept(at)).map(|(_, letter)| letter).collect();
        Tagged { name, labels }
    }
}

/// `^word\.` or `^word(?=\.)`: such a rule is only for names that begin so.
fn first_word(regex: &str) -> Option<&str> {
    let rest = regex.strip_prefix('^')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|end| *end > 0)?;
    let (word, after) = rest.split_at(end);
    (after.starts_with(r"\.") || after.starts_with(r"(?=\.)")).then_some(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A name, what is left of it, its labels.
    type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

    fn becomes(tags: &Tags, rows: &[Row]) {
        for (name, left, labels) in rows {
            let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(tags.apply(name), Tagged { name: (*left).to_owned(), labels }, "{name}");
        }
    }

    /// As Envoy 1.40 printed them.
    #[test]
    fn envoys_own_rules() {
        let tags = Tags::new(None).unwrap();
        becomes(
            &tags,
            &[
                (
                    "cluster.ok.upstream_rq_2xx",
                    "cluster.upstream_rq_xx",
                    &[("envoy.response_code_class", "2"), ("envoy.cluster_name", "ok")],
                ),
                (
                    "cluster.ok.external.upstream_rq_503",
                    "cluster.external.upstream_rq",
                    &[("envoy.response_code", "503"), ("envoy.cluster_name", "ok")],
                ),
                ("cluster.a.b.c.upstream_rq_total", "cluster.b.c.upstream_rq_total", &[("envoy.cluster_name", "a")]),
                (
                    "http.in.downstream_rq_5xx",
                    "http.downstream_rq_xx",
                    &[("envoy.response_code_class", "5"), ("envoy.http_conn_manager_prefix", "in")],
                ),
                (
                    "http.in.fault.aborts_injected",
                    "http.fault.aborts_injected",
                    &[("envoy.http_conn_manager_prefix", "in")],
                ),
                (
                    "listener.127.0.0.1_0.http.in.downstream_rq_1xx",
                    "listener.http.downstream_rq_xx",
                    &[
                        ("envoy.response_code_class", "1"),
                        ("envoy.http_conn_manager_prefix", "in"),
                        ("envoy.listener_address", "127.0.0.1_0"),
                    ],
                ),
                (
                    "listener.127.0.0.1_0.worker_0.downstream_cx_total",
                    "listener.worker.downstream_cx_total",
                    &[("envoy.worker_id", "0"), ("envoy.listener_address", "127.0.0.1_0")],
                ),
                (
                    "rl.http_local_rate_limit.ok",
                    "http_local_rate_limit.ok",
                    &[("envoy.local_http_ratelimit_prefix", "rl")],
                ),
                ("server.live", "server.live", &[]),
            ],
        );
    }

    #[test]
    fn istios_rules() {
        let tags = Tags::new(Some(&json!({"use_all_default_tags": false, "stats_tags": [
            {"tag_name": "cluster_name", "regex": r"^cluster(\.(.+);)"},
            {"tag_name": "http_conn_manager_prefix", "regex": r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]\w\:]*));\.)"},
            {"tag_name": "response_code", "regex": r"_rq(_(\d{3}))$"},
            {"tag_name": "http_conn_manager_listener_prefix", "regex": r"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"},
            {"tag_name": "zone", "fixed_value": "z1"},
        ]}))).unwrap();
        becomes(
            &tags,
            &[
                (
                    "cluster.outbound|80|v1|shop.default.svc.cluster.local;.upstream_rq_200",
                    "cluster.upstream_rq",
                    &[
                        ("zone", "z1"),
                        ("cluster_name", "outbound|80|v1|shop.default.svc.cluster.local"),
                        ("response_code", "200"),
                    ],
                ),
                (
                    "http.outbound_0.0.0.0_80;.rq_total",
                    "http.rq_total",
                    &[("zone", "z1"), ("http_conn_manager_prefix", "outbound_0.0.0.0_80")],
                ),
            ],
        );
    }

    #[test]
    fn a_rule_that_cannot_be_is_named() {
        let refused = |config: Value| Tags::new(Some(&config)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused(json!({"stats_tags": [{"tag_name": "x", "regex": "("}]})).contains(r#"tag "x": "(" is no"#));
        assert!(refused(json!({"stats_tags": [{"tag_name": "x"}]})).contains("neither a regex"));
        assert_eq!(refused(json!({"stats_tags": [{"tag_name": "envoy.cluster_name"}]})), "");
    }
}
