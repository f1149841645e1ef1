//! What a client of `/stats` asks to see: `?usedonly&filter=REGEX&type=Counters`.

use regex::bytes::{Regex, RegexBuilder};

use super::group::Sample;

/// Which series are shown. The default shows all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    used_only: bool,
    name: Option<Regex>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    All,
    Counters,
    Gauges,
    Histograms,
    Texts,
}

/// A query that Envoy refuses with 400, in its words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidFilter {
    /// The `filter` parameter is no regular expression.
    #[error("Invalid re2 regex: {0}")]
    Regex(String),
    /// The `type` parameter names no kind of statistic.
    #[error("invalid &type= param")]
    Type,
}

impl Filter {
    /// Reads a query string, with or without its `?`. Parameters that mean nothing here are ignored.
    ///
    /// # Errors
    /// A `filter` that is no regular expression, a `type` Envoy does not know.
    pub fn from_query(query: &str) -> Result<Self, InvalidFilter> {
        let mut filter = Self::default();
        for parameter in query.trim_start_matches('?').split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
            match key {
                "usedonly" => filter.used_only = true,
                "filter" if !value.is_empty() => filter.name = Some(search(&value)?),
                "type" => filter.kind = Kind::named(&value).ok_or(InvalidFilter::Type)?,
                _ => {}
            }
        }
        Ok(filter)
    }

    /// Whether a series is shown.
    pub(super) fn shows(&self, name: &str, sample: &Sample) -> bool {
        let kind = match sample {
            Sample::Counter(_) => Kind::Counters,
            Sample::Gauge { .. } => Kind::Gauges,
            Sample::Histogram(_) => Kind::Histograms,
        };
        (self.kind == Kind::All || self.kind == kind)
            && (!self.used_only || sample.used())
            && self.name.as_ref().is_none_or(|regex| regex.is_match(name.as_bytes()))
    }
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "All" => Self::All,
            "Counters" => Self::Counters,
            "Gauges" => Self::Gauges,
            "Histograms" => Self::Histograms,
            "TextReadouts" => Self::Texts,
            _ => return None,
        })
    }
}

fn search(pattern: &str) -> Result<Regex, InvalidFilter> {
    RegexBuilder::new(pattern).unicode(false).build().map_err(|_| InvalidFilter::Regex(pattern.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::Distribution;
    use super::*;

    fn shown(query: &str) -> Vec<&'static str> {
        let filter = Filter::from_query(query).unwrap();
        let samples = [
            ("cluster.a.rq_total", Sample::Counter(1)),
            ("cluster.b.rq_total", Sample::Counter(0)),
            ("cluster.a.cx_active", Sample::Gauge { value: 0, used: true }),
            ("cluster.b.cx_active", Sample::Gauge { value: 0, used: false }),
            ("cluster.a.rq_time", Sample::Histogram(Distribution::of(&[1]))),
        ];
        samples.into_iter().filter(|(name, sample)| filter.shows(name, sample)).map(|(name, _)| name).collect()
    }

    #[test]
    fn a_query_picks_series() {
        assert_eq!(shown("").len(), 5);
        assert_eq!(shown("?usedonly"), ["cluster.a.rq_total", "cluster.a.cx_active", "cluster.a.rq_time"]);
        assert_eq!(shown("filter=%5Ecluster%5C.b&format=text"), ["cluster.b.rq_total", "cluster.b.cx_active"]);
        assert_eq!(shown("type=Histograms&usedonly"), ["cluster.a.rq_time"]);
        assert_eq!(shown("type=TextReadouts"), [""; 0]);
    }

    #[test]
    fn a_faulty_query_is_refused() {
        assert_eq!(Filter::from_query("filter=(").unwrap_err().to_string(), "Invalid re2 regex: (");
        assert_eq!(Filter::from_query("type=x").unwrap_err(), InvalidFilter::Type);
    }
}
