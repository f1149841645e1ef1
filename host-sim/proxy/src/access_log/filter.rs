//! Which streams are logged, and which answers of our own are rewritten: Envoy's access log filters.

use std::time::Duration;

use policy::header::HeaderMatcher;
use serde::Deserialize;
use serde_json::Value;

use super::InvalidAccessLog;
use crate::header_ops::Facts;
use crate::route::error::{Errors, Path};
use crate::route::lower;

/// A compiled filter.
#[derive(Debug)]
pub(crate) enum Filter {
    Status(Comparison),
    Duration(Comparison),
    /// Any flag at all, when none is named.
    Flags(Vec<String>),
    Header(HeaderMatcher),
    /// Nothing here makes health checks.
    Everything,
    All(Vec<Filter>),
    Any(Vec<Filter>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison {
    operator: Operator,
    with: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    AtLeast,
    AtMost,
    NotEqual,
}

impl Filter {
    pub(crate) fn compile(filter: &Value) -> Result<Self, InvalidAccessLog> {
        let unsupported = |what: &str| InvalidAccessLog::Unsupported(format!("filter {what:?}"));
        let Some((kind, config)) = filter.as_object().and_then(|fields| fields.iter().next()) else {
            return Err(unsupported(""));
        };
        let filters = || {
            config
                .get("filters")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(Self::compile)
                .collect::<Result<_, _>>()
        };
        Ok(match kind.as_str() {
            "status_code_filter" => Self::Status(comparison(config)?),
            "duration_filter" => Self::Duration(comparison(config)?),
            "not_health_check_filter" => Self::Everything,
            "response_flag_filter" => {
                let flags = config.get("flags").and_then(Value::as_array).into_iter().flatten();
                Self::Flags(flags.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            "header_filter" => Self::Header(header(config)?),
            "and_filter" => Self::All(filters()?),
            "or_filter" => Self::Any(filters()?),
            other => return Err(unsupported(other)),
        })
    }

    pub(crate) fn takes(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Status(comparison) => comparison.holds(u64::from(facts.stream.response_code.unwrap_or_default())),
            Self::Duration(comparison) => {
                let lasted = facts.stream.complete.or(facts.stream.elapsed);
                lasted.is_some_and(|lasted| comparison.holds(milliseconds(lasted)))
            }
            Self::Flags(wanted) if wanted.is_empty() => !facts.stream.flags.is_empty(),
            Self::Flags(wanted) => facts.stream.flags.iter().any(|flag| wanted.iter().any(|name| name == flag.short())),
            Self::Header(matcher) => matcher.matches(facts.request),
            Self::Everything => true,
            Self::All(filters) => filters.iter().all(|filter| filter.takes(facts)),
            Self::Any(filters) => filters.iter().any(|filter| filter.takes(facts)),
        }
    }
}

impl Comparison {
    fn holds(self, value: u64) -> bool {
        match self.operator {
            Operator::Equal => value == self.with,
            Operator::AtLeast => value >= self.with,
            Operator::AtMost => value <= self.with,
            Operator::NotEqual => value != self.with,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn comparison(config: &Value) -> Result<Comparison, InvalidAccessLog> {
    let comparison = config.get("comparison");
    let field = |name: &str| comparison.and_then(|comparison| comparison.get(name));
    let operator = match field("op").and_then(Value::as_str).unwrap_or("EQ") {
        "EQ" => Operator::Equal,
        "GE" => Operator::AtLeast,
        "LE" => Operator::AtMost,
        "NE" => Operator::NotEqual,
        other => return Err(InvalidAccessLog::Unsupported(format!("filter comparison {other:?}"))),
    };
    let with = field("value").and_then(|value| value.get("default_value")).and_then(Value::as_u64).unwrap_or_default();
    Ok(Comparison { operator, with })
}

fn header(config: &Value) -> Result<HeaderMatcher, InvalidAccessLog> {
    let unset = Value::Null;
    let matcher = xds::HeaderMatcher::deserialize(config.get("header").unwrap_or(&unset))
        .map_err(|error| InvalidAccessLog::Format(format!("header_filter: {error}")))?;
    let mut errors = Errors::default();
    let lowered = lower::header(&matcher, &Path::Root.field("header_filter"), &mut errors);
    let lowered = errors.into_result(lowered).map_err(|errors| {
        InvalidAccessLog::Format(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    lowered.ok_or_else(|| InvalidAccessLog::Format("header_filter: no header".to_owned()))
}
