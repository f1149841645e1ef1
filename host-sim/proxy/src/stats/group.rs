//! A group of series that share a scope (`cluster.shop.`), as a struct with one public field for each.

use std::any::Any;

use super::cell::{Counter, Gauge};
use super::histogram::{Distribution, Histogram};
use super::statuses::Statuses;

/// One series' value, over all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// Only grows.
    Counter(u64),
    /// Goes up and down; `used` once it was ever set.
    Gauge {
        /// The value now.
        value: u64,
        /// Whether it was ever set.
        used: bool,
    },
    /// A distribution.
    Histogram(Distribution),
}

impl Sample {
    /// Whether `usedonly` shows it.
    pub fn used(&self) -> bool {
        match self {
            Self::Counter(value) => *value > 0,
            Self::Gauge { used, .. } => *used,
            Self::Histogram(distribution) => distribution.count() > 0,
        }
    }

    /// Takes in the same series of another worker.
    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Counter(value), Self::Counter(more)) => *value = value.wrapping_add(more),
            (Self::Gauge { value, used }, Self::Gauge { value: more, used: also }) => {
                *value = value.wrapping_add(more);
                *used |= also;
            }
            (Self::Histogram(distribution), Self::Histogram(more)) => distribution.merge(&more),
            // One name, two types: the first stays.
            _ => {}
        }
    }
}

/// Where the walk over a group puts what it finds: the name within the scope, and the value.
pub type See<'a> = dyn FnMut(&str, Sample) + 'a;

/// A field of a group: one series or a family of them.
pub trait Stat {
    /// Hands on every series of this field.
    fn see(&self, name: &str, see: &mut See<'_>);
}

impl Stat for Counter {
    fn see(&self, name: &str, see: &mut See<'_>) {
        see(name, Sample::Counter(self.value()));
    }
}

impl Stat for Gauge {
    fn see(&self, name: &str, see: &mut See<'_>) {
        see(name, Sample::Gauge { value: self.value(), used: self.used() });
    }
}

impl Stat for Histogram {
    fn see(&self, name: &str, see: &mut See<'_>) {
        see(name, Sample::Histogram(self.snapshot()));
    }
}

/// A histogram that has no series before its first value.
#[derive(Debug, Default)]
pub struct LateHistogram(pub Histogram);

impl Stat for LateHistogram {
    fn see(&self, name: &str, see: &mut See<'_>) {
        let distribution = self.0.snapshot();
        if distribution.count() > 0 {
            see(name, Sample::Histogram(distribution));
        }
    }
}

impl Stat for Statuses {
    fn see(&self, name: &str, see: &mut See<'_>) {
        self.each(|suffix, count| see(&format!("{name}{suffix}"), Sample::Counter(count)));
    }
}

/// A struct of series, walked when somebody asks for the statistics.
pub trait Group: Any + Send + Sync {
    /// Hands on every series of the group.
    fn see(&self, see: &mut See<'_>);
}

/// Declares a group: `field: Type` is a series of the field's name, `field: Type = "other.name"` one that Rust cannot spell.
macro_rules! group {
    ($(#[$doc:meta])* $group:ident { $($field:ident: $kind:ident $(= $name:literal)?,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        #[allow(missing_docs, reason = "every field is the series of that name in Envoy's statistics reference")]
        pub struct $group {
            $(pub $field: $crate::stats::$kind,)*
        }

        impl $crate::stats::Group for $group {
            fn see(&self, see: &mut $crate::stats::See<'_>) {
                $($crate::stats::Stat::see(&self.$field, group!(@name $field $(= $name)?), see);)*
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident = $name:literal) => { $name };
}
