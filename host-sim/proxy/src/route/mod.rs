//! Routes: which virtual host, which rule, what then.
//!
//! [`RouteTable::compile`] reads a whole `xds::RouteConfiguration` or refuses it whole, with every reason. [`RouteTable::decide`] finds the route
//! of a request at a cost that does not grow with the number of routes; [`RouteTable::explain`] gives the same decision with its
//! trail. What follows is asked of the [`RouteEntry`]: [`RouteEntry::prepare`] makes the request ready to be sent on,
//! [`RouteEntry::reply`] answers redirects and direct responses, [`RouteEntry::finalize_response`] changes the answer's headers.
//!
//! Absent: filters that run before, clusters that may not exist, sockets, clocks and dice.

mod compile;
mod decide;
mod entry;
pub(crate) mod error;
mod filters;
pub(crate) mod hardened;
mod hosts;
pub(crate) mod lower;
mod matching;
mod prepare;
mod trail;

use std::sync::Arc;

use policy::Index;

pub(crate) use compile::regex_rewrite;
pub use decide::{Decision, RequestHead, ssl_redirect};
pub use entry::{
    Action, Clusters, ConfigEntry, Destination, Forward, HostRewrite, Mirror, PathRewrite, RequireTls, RouteEntry,
    VirtualHostEntry, Weighted, WeightedEntry,
};
pub use error::CompileError;
pub use filters::PerFilter;
pub use matching::{Fraction, RouteMatcher, Shown};
pub use prepare::{Prepared, RouterOptions, StreamLimit, Timeouts, write_attempt_count};
pub use trail::{Miss, Origin, RuleStep, SplitStep, Trail, VirtualHostStep, WhyNot};

/// A route configuration, compiled.
#[derive(Debug)]
pub struct RouteTable {
    config: Arc<ConfigEntry>,
    hosts: hosts::Hosts,
    virtual_hosts: Vec<VirtualHost>,
    ignore_port: bool,
}

/// A virtual host and its routes, in order.
#[derive(Debug)]
struct VirtualHost {
    shared: Arc<VirtualHostEntry>,
    routes: Vec<Arc<RouteEntry>>,
    index: Index,
}

impl RouteTable {
    /// Compiles a configuration.
    pub fn compile(config: &xds::RouteConfiguration) -> Result<RouteTable, Vec<CompileError>> {
        compile::table(config)
    }

    /// The configuration's name.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Every virtual host with its routes, in order.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = (&Arc<VirtualHostEntry>, &[Arc<RouteEntry>])> {
        self.virtual_hosts.iter().map(|host| (&host.shared, host.routes.as_slice()))
    }
}

/// Host and port of an authority, brackets of an IPv6 address respected.
pub(crate) fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let bracket = authority.iter().rposition(|&b| b == b']').unwrap_or_default();
    let colon = authority.iter().rposition(|&b| b == b':').filter(|at| *at >= bracket);
    let Some((host, port)) = colon.and_then(|at| authority.split_at_checked(at)) else { return (authority, None) };
    (host, port.get(1..))
}
