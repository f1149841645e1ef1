//! Header operations: `set` overwrites, `add` appends, both in the order of the names; the authority is a rewrite, other pseudo-headers are none.

use std::collections::BTreeMap;

use xds::{HeaderAppendAction, HeaderValue, HeaderValueOption};

use crate::{
    resource::virtual_service::{HeaderOperations, Headers},
    validate::header::is_authority,
};

/// Both directions, and the authority that requests get.
#[derive(Default)]
pub(super) struct Operations {
    pub(super) request: Direction,
    pub(super) response: Direction,
    /// Empty when it stays.
    pub(super) authority: String,
}

#[derive(Default)]
pub(super) struct Direction {
    add: Vec<HeaderValueOption>,
    remove: Vec<String>,
}

impl Operations {
    pub(super) fn new(headers: &Headers) -> Self {
        let direction =
            |operations: &Option<HeaderOperations>| operations.as_ref().map(Direction::new).unwrap_or_default();
        let request = headers.request.as_ref();
        let authority = request.and_then(|request| {
            let named = |values: &BTreeMap<String, String>| {
                values.iter().filter(|(name, _)| is_authority(name)).map(|(_, value)| value.clone()).next_back()
            };
            named(&request.set).filter(|value| !value.is_empty()).or_else(|| named(&request.add))
        });
        Self {
            request: direction(&headers.request),
            response: direction(&headers.response),
            authority: authority.unwrap_or_default(),
        }
    }
}

impl Direction {
    fn new(operations: &HeaderOperations) -> Self {
        let mut add = options(&operations.set, HeaderAppendAction::OverwriteIfExistsOrAdd);
        add.extend(options(&operations.add, HeaderAppendAction::AppendIfExistsOrAdd));
        Self { add, remove: operations.remove.iter().filter(|name| !is_internal(name)).cloned().collect() }
    }

    /// Appends to what is there.
    pub(super) fn apply(self, add: &mut Vec<HeaderValueOption>, remove: &mut Vec<String>) {
        add.extend(self.add);
        remove.extend(self.remove);
    }
}

fn is_internal(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn options(values: &BTreeMap<String, String>, append_action: HeaderAppendAction) -> Vec<HeaderValueOption> {
    let option = |(key, value): (&String, &String)| HeaderValueOption {
        header: Some(HeaderValue { key: key.clone(), value: value.clone(), ..HeaderValue::default() }),
        append_action,
        ..HeaderValueOption::default()
    };
    values.iter().filter(|(name, _)| !is_internal(name)).map(option).collect()
}
