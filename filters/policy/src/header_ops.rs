//! Changes to headers, as values.

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Every copy goes.
    Remove(String),
    /// This one copy takes the place of all there are.
    Set(String, Vec<u8>),
    /// One more copy.
    Add(String, Vec<u8>),
}

/// Changes in the order they are made: as in a VirtualService, what is removed first, then what is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderOps(Vec<Op>);

impl HeaderOps {
    /// As in Envoy, an empty value writes nothing.
    pub fn new(mut ops: Vec<Op>) -> HeaderOps {
        ops.retain(|op| !matches!(op, Op::Set(_, value) | Op::Add(_, value) if value.is_empty()));
        HeaderOps(ops)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Op> {
        self.0.iter()
    }

    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers that are set, `:authority` apart.
    pub fn set_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|op| match op {
            Op::Set(name, _) if name != ":authority" => Some(name.as_str()),
            _ => None,
        })
    }
}
