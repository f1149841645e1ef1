//! From text to typed messages: YAML and JSON documents with the place of every node, decoded strictly and reporting every fault at once.

mod compose;
pub(crate) mod decode;
pub(crate) mod duration;
pub(crate) mod node;
pub(crate) mod parse;
pub(crate) mod suggest;
mod word;
