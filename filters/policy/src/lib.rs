//! The rules of traffic control, pure: bytes and types in, decisions out.
//!
//! No clock, no dice, no I/O and no panic live here. Time, randomness and what was remembered are arguments,
//! so the filters inside Envoy and the gateway of host-sim reach the same decision from the same code.
//!
//! Headers are slices of `(name, value)` pairs of bytes with lower-case names; the pseudo-headers
//! (`:method`, `:scheme`, `:authority`, `:path`) are ordinary entries, as in Envoy.

#[cfg(test)]
mod sentences;
#[cfg(test)]
mod stage;

pub mod cidr;
pub mod config;
pub mod cookie;
pub mod dice;
pub mod exchange;
pub mod fault_inject;
pub mod grpc;
pub mod hash;
pub mod header;
pub mod header_match;
pub mod header_ops;
pub mod index;
pub mod instant;
pub mod key;
pub mod matcher;
pub mod metrics;
pub mod module;
mod order;
pub mod pairs;
pub mod path;
pub mod query;
pub mod rate_limit;
pub mod redirect;
pub mod regex;
pub mod reply;
pub mod rewrite;
pub mod rules;
pub mod split;
pub mod strict;
pub mod suite;
pub mod template;
pub mod text;
pub mod traffic_shift;
pub mod uri_rewrite;
pub mod world;

pub use exchange::Exchange;
pub use index::Index;
pub use matcher::{Miss, Request, RequestMatcher};
pub use module::{Module, Outcome};
pub use world::World;
