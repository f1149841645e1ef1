//! The trail of a decision: every virtual host and rule that was looked at, and the first condition each failed.
//!
//! It is made by the code that decides, so an explanation cannot differ from the decision.

use serde::Serialize;

/// How one request was routed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trail {
    /// The authority looked up, port removed where the configuration says so.
    pub host: String,
    /// The virtual host that took it.
    pub virtual_host: Option<VirtualHostStep>,
    /// Domains of the virtual hosts there are, when none took it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known_domains: Vec<String>,
    /// The virtual host's rules in order, up to and including the one that matched.
    pub rules: Vec<RuleStep>,
    /// How a destination was drawn, when there was a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitStep>,
    /// When nothing matched: the class of the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<WhyNot>,
}

/// The virtual host that took a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VirtualHostStep {
    /// Its name: `shop.example:80`.
    pub name: String,
    /// Its domains.
    pub domains: Vec<String>,
}

/// One rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleStep {
    /// The route's name, or `route 3` for the third without one.
    pub name: String,
    /// Where it was written.
    #[serde(flatten)]
    pub origin: Origin,
    /// Did it take the request?
    pub matched: bool,
    /// The first condition that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failed: Option<Miss>,
}

/// Where a route was written, as far as its metadata says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// `VirtualService default/shop`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The rule in it, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<u64>,
    /// The match entry in the rule, from 0.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
}

impl Origin {
    /// Reads `metadata.filter_metadata["sluice"]`.
    pub fn read(metadata: Option<&xds::Metadata>) -> Origin {
        let Some(fields) = metadata.and_then(|metadata| metadata.filter_metadata.get("sluice")) else {
            return Origin::default();
        };
        let text = |key: &str| fields.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let number = |key: &str| fields.get(key).and_then(serde_json::Value::as_u64);
        Origin {
            file: text("file"),
            line: number("line"),
            resource: text("resource"),
            rule: number("rule"),
            entry: number("match"),
        }
    }
}

/// A condition that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// `path`, `method`, `headers.x-user`, `queryParams.k`, …
    pub field: String,
    /// What was asked.
    pub expected: String,
    /// What was there; absent if nothing was.
    pub actual: Option<String>,
}

impl From<policy::Miss> for Miss {
    fn from(miss: policy::Miss) -> Miss {
        Miss { field: miss.field, expected: miss.expected, actual: miss.actual }
    }
}

/// How a weighted destination was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitStep {
    /// The clusters' names.
    pub clusters: Vec<String>,
    /// Their weights.
    pub weights: Vec<u32>,
    /// The draw, from 0 to the sum of the weights.
    pub bucket: u64,
    /// The cluster drawn.
    pub choice: String,
    /// What the draw was made from.
    pub why: String,
}

/// Why no route took a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// No virtual host has the host among its domains.
    NoServerForHost,
    /// The virtual host has no route at all.
    VirtualHostWithoutRoute,
    /// Every route asks for another path.
    Path,
    /// A route with this path asks for another method.
    Method,
    /// A route with this path asks for other headers.
    Headers,
    /// A route with this path asks for other query parameters.
    Query,
}

impl Trail {
    /// The class of the nearest miss: a condition behind the path counts as nearer than the path itself.
    pub(super) fn classify(&self) -> WhyNot {
        if self.virtual_host.is_none() {
            return WhyNot::NoServerForHost;
        }
        let class = |miss: &Miss| match miss.field.split('.').next().unwrap_or_default() {
            "path" => WhyNot::Path,
            "method" => WhyNot::Method,
            "queryParams" => WhyNot::Query,
            _ => WhyNot::Headers,
        };
        let classes: Vec<WhyNot> = self.rules.iter().filter_map(|rule| rule.first_failed.as_ref().map(class)).collect();
        let nearest = classes.iter().copied().find(|class| *class != WhyNot::Path);
        nearest.or(classes.first().copied()).unwrap_or(WhyNot::VirtualHostWithoutRoute)
    }
}
