//! The names of what modules count; the numbers are the proxy's.

/// A counter of this configuration, by its place in [`Metrics::names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(u32);

impl Counter {
    /// Its place.
    pub fn place(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Every counter a configuration may touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    names: Vec<String>,
}

impl Metrics {
    /// `sluice.<module>.<rule>.<what>`.
    pub fn counter(&mut self, module: &str, rule: &str, what: &str) -> Counter {
        let place = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(format!("sluice.{module}.{rule}.{what}"));
        Counter(place)
    }

    /// In order of their places.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}
