//! The same random manifests and requests through `host-sim run` and through the real Envoy (fed by `host-sim envoy`), compared as the corpus compares.
//!
//! A seed names a world: resources over the whole grammar, and requests aimed at them. Whatever differs is asked again until it is no accident, then
//! made small, and printed as manifests and one request.

pub mod case;
mod destination_rules;
pub mod dice;
mod envoy_filters;
mod gateways;
pub mod judge;
mod mesh;
pub mod raw;
mod requests;
pub mod shrink;
mod virtual_services;
mod words;
mod world;
