//! Header operations: what a route, virtual host or filter adds to, overwrites in and removes from a list of headers.
//!
//! Source: `source/common/router/header_parser.cc`. Inside one block: removals first; then every value is computed from the
//! headers as they are; then the overwriting ones are written, then the adding ones. The order of blocks is the route's affair
//! (see [`crate::route`]).

mod certificate;
mod clock;
mod command;
mod facts;
mod format;
mod mutations;

use bytes::Bytes;
use thiserror::Error;

pub(crate) use command::grpc_status;
pub use facts::{Facts, StreamInfo, Upstream};
pub use format::{Format, InvalidFormat, Missing};
pub use mutations::HeaderMutations;

use crate::edge::ConnectionInfo;
use crate::headers::{self, HeaderList, Side};

/// One block of header operations, compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderOps {
    remove: Vec<Bytes>,
    add: Vec<Addition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Addition {
    name: Bytes,
    value: Value,
    action: Action,
    keep_empty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Constant(Bytes),
    Computed(Format),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfExists,
}

/// Why a block of header operations was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidHeaderOps {
    /// `:path`, `host`
    #[error("\"{0}\" may not be changed by header operations; rewrite the path or the host instead")]
    Reserved(String),
    /// An empty name, or one with a byte no header name may hold.
    #[error("\"{0}\" is not a header's name")]
    Name(String),
    /// A kind of mutation nobody here does.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// The value's format.
    #[error("header \"{name}\": {reason}")]
    Value {
        /// The header.
        name: String,
        /// What is wrong with its value.
        reason: InvalidFormat,
    },
}

impl HeaderOps {
    /// Compiles `*_headers_to_add` and `*_headers_to_remove`.
    pub fn compile(add: &[xds::HeaderValueOption], remove: &[String]) -> Result<HeaderOps, InvalidHeaderOps> {
        let remove = remove.iter().map(|name| changeable(name)).collect::<Result<_, _>>()?;
        let add = add.iter().map(Addition::compile).collect::<Result<_, _>>()?;
        Ok(HeaderOps { remove, add })
    }

    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Changes a request's headers.
    pub fn apply_to_request(&self, request: &mut HeaderList, connection: &ConnectionInfo, stream: &StreamInfo) {
        if self.is_empty() {
            return;
        }
        self.remove_from(request);
        let facts = Facts::of_request(request, connection, stream);
        let changes = self.changes(request, &facts);
        changes.write(request, Side::Request);
    }

    /// Changes an answer's headers; `request` as it was sent on.
    pub fn apply_to_response(
        &self,
        response: &mut HeaderList,
        request: &[(Bytes, Bytes)],
        connection: &ConnectionInfo,
        stream: &StreamInfo,
    ) {
        if self.is_empty() {
            return;
        }
        self.remove_from(response);
        let facts = Facts { response: Some(response), ..Facts::of_request(request, connection, stream) };
        let changes = self.changes(response, &facts);
        changes.write(response, Side::Response);
    }

    fn remove_from(&self, list: &mut HeaderList) {
        for name in &self.remove {
            headers::remove(list, name);
        }
    }

    fn changes(&self, list: &HeaderList, facts: &Facts<'_>) -> Changes {
        let mut changes = Changes::default();
        for addition in &self.add {
            let there = || list.iter().any(|(name, _)| name == &addition.name);
            let wanted = match addition.action {
                Action::Append | Action::Overwrite => true,
                Action::AddIfAbsent => !there(),
                Action::OverwriteIfExists => there(),
            };
            let value = if wanted { addition.value.render(facts) } else { continue };
            if value.is_empty() && !addition.keep_empty {
                continue;
            }
            let entry = (addition.name.clone(), value);
            match addition.action {
                Action::Append | Action::AddIfAbsent => changes.add.push(entry),
                Action::Overwrite | Action::OverwriteIfExists => changes.overwrite.push(entry),
            }
        }
        changes
    }
}

/// What one block does to one list: computed from the list first, written second.
#[derive(Debug, Default)]
struct Changes {
    overwrite: HeaderList,
    add: HeaderList,
}

impl Changes {
    fn write(self, list: &mut HeaderList, side: Side) {
        for (name, value) in self.overwrite {
            headers::replace(list, name, value);
        }
        for (name, value) in self.add {
            headers::append(list, side, name, value);
        }
    }
}

impl Value {
    fn render(&self, facts: &Facts<'_>) -> Bytes {
        match self {
            Value::Constant(value) => value.clone(),
            Value::Computed(format) => format.render(facts, Missing::Empty),
        }
    }
}

impl Addition {
    fn compile(option: &xds::HeaderValueOption) -> Result<Addition, InvalidHeaderOps> {
        let header = option.header.as_ref();
        let key = header.map(|header| header.key.as_str()).unwrap_or_default();
        let name = changeable(key)?;
        let text = header.map(|header| header.value.as_str()).unwrap_or_default();
        let format = Format::parse(text).map_err(|reason| InvalidHeaderOps::Value { name: key.to_owned(), reason })?;
        let value = format.constant().map_or(Value::Computed(format), Value::Constant);
        Ok(Addition { name, value, action: Action::of(option), keep_empty: option.keep_empty_value })
    }
}

impl Action {
    /// The deprecated `append` says the same in two words.
    fn of(option: &xds::HeaderValueOption) -> Action {
        use xds::HeaderAppendAction as Append;
        match (option.append, option.append_action) {
            (Some(false), _) | (None, Append::OverwriteIfExistsOrAdd) => Action::Overwrite,
            (Some(true), _) | (None, Append::AppendIfExistsOrAdd) => Action::Append,
            (None, Append::AddIfAbsent) => Action::AddIfAbsent,
            (None, Append::OverwriteIfExists) => Action::OverwriteIfExists,
        }
    }
}

fn changeable(name: &str) -> Result<Bytes, InvalidHeaderOps> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(InvalidHeaderOps::Reserved(name.to_owned()));
    }
    if name.is_empty() || name.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Err(InvalidHeaderOps::Name(name.to_owned()));
    }
    Ok(Bytes::from(name.to_ascii_lowercase()))
}
