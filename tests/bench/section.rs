//! A section of the report: a table for people, the same as JSON, and the figures that were to be reached.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

/// What one part of the bench found.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
    pub(crate) goals: Vec<Goal>,
    /// The figures behind the lines.
    pub(crate) figures: Value,
}

/// A figure and where it should be.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) bound: Bound,
}

#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub(crate) fn at_least(bound: f64, what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, bound: Bound::AtLeast(bound) }
    }

    pub(crate) fn at_most(bound: f64, what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, bound: Bound::AtMost(bound) }
    }

    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => self.value >= bound,
            Bound::AtMost(bound) => self.value <= bound,
        }
    }
}

impl Section {
    /// The form scripts read.
    pub(crate) fn json(&self) -> Value {
        let goal = |goal: &Goal| {
            let (kind, bound) = match goal.bound {
                Bound::AtLeast(bound) => ("at_least", bound),
                Bound::AtMost(bound) => ("at_most", bound),
            };
            json!({"what": goal.what, "value": goal.value, kind: bound, "met": goal.is_met()})
        };
        json!({"figures": self.figures, "goals": self.goals.iter().map(goal).collect::<Vec<_>>()})
    }
}

impl Display for Section {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        for goal in &self.goals {
            let bound = match goal.bound {
                Bound::AtLeast(bound) => format!(">= {bound}"),
                Bound::AtMost(bound) => format!("<= {bound}"),
            };
            let verdict = if goal.is_met() { "reached" } else { "MISSED" };
            writeln!(f, "  {verdict:<8} {:<58} {:>7.2}   goal {bound}", goal.what, goal.value)?;
        }
        Ok(())
    }
}
