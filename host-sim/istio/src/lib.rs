//! Istio's half of a gateway: manifests are read strictly, validated as the admission webhook would, and translated to Envoy's configuration as
//! istiod translates them for an ingress gateway. Names of routes, virtual hosts and clusters are Istio's.
//!
//! Absent from this crate: sockets, async, clocks, files. Text comes in, an [`xds::Bootstrap`] comes out; what an answer to a request is, `proxy`
//! decides from that value alone.

pub mod analysis;
mod manifest;
mod patch;
mod problem;
mod read;
mod resource;
mod translate;
mod validate;

pub use problem::{Position, Problem};
pub use read::{read, read_refused_too};
pub use resource::Resources;
pub use translate::{
    Backend, Bindings, EchoBackend, ListenerPort, MissingDelegate, ORIGIN, Options, PluginRef, PullSecret, RuleTable,
    ServerRef, Translation, VirtualServiceRef, rule_tables, translate,
};

/// A file, or standard input, as text.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name that problems will show.
    pub name: String,
    /// Its YAML or JSON.
    pub text: String,
}
