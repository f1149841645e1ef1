//! What a route says to the HTTP filters on its way: per-filter configuration at every level, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Errors, Path};
use crate::cors::CorsPolicy;
use crate::fault::Fault;
use crate::header_ops::HeaderMutations;
use crate::rate_limit::{self, LocalRateLimit};

/// One level's configuration for one filter.
#[derive(Debug, Clone)]
pub enum PerFilter {
    /// Fault injection.
    Fault(Arc<Fault>),
    /// Cross-origin requests.
    Cors(Arc<CorsPolicy>),
    /// A limit of this gateway's own; it holds the buckets.
    LocalRateLimit(Arc<LocalRateLimit>),
    /// A limit asked of a service.
    RateLimit(Arc<rate_limit::PerRoute>),
    /// Header mutations.
    HeaderMutation(Arc<HeaderMutations>),
    /// The filter is switched off here.
    Disabled,
}

/// One level's configurations, by filter name.
pub(super) type Level = BTreeMap<String, PerFilter>;

/// Compiles `typed_per_filter_config`.
pub(super) fn compile(configs: &BTreeMap<String, xds::PerFilterConfig>, at: &Path<'_>, errors: &mut Errors) -> Level {
    let at = at.field("typed_per_filter_config");
    let mut level = Level::new();
    for (name, config) in configs {
        let at = at.field(name);
        if let Some(compiled) = one(config, &at, errors) {
            level.insert(name.clone(), compiled);
        }
    }
    level
}

fn one(config: &xds::PerFilterConfig, at: &Path<'_>, errors: &mut Errors) -> Option<PerFilter> {
    use xds::PerFilterConfig as Config;
    Some(match config {
        Config::Fault(fault) => PerFilter::Fault(Arc::new(Fault::compile(fault, at, errors))),
        Config::Cors(cors) => PerFilter::Cors(Arc::new(CorsPolicy::compile(cors, at, errors))),
        Config::LocalRateLimit(limit) => {
            PerFilter::LocalRateLimit(Arc::new(LocalRateLimit::compile(limit, true, at, errors)?))
        }
        Config::RateLimit(limit) => PerFilter::RateLimit(Arc::new(rate_limit::PerRoute::compile(limit, at, errors))),
        Config::HeaderMutation(mutation) => {
            let mutations = mutation.mutations.as_ref();
            let compiled = mutations.map(HeaderMutations::compile);
            PerFilter::HeaderMutation(Arc::new(errors.note(at, compiled.transpose())?.unwrap_or_default()))
        }
        Config::FilterConfig(wrapped) if wrapped.disabled => PerFilter::Disabled,
        Config::FilterConfig(wrapped) => {
            let inner = serde_json::to_value(wrapped.config.as_ref()?).ok()?;
            let inner: xds::PerFilterConfig = errors.note(at, serde_json::from_value(inner))?;
            return one(&inner, at, errors);
        }
        Config::Other(any) => {
            errors.refuse(at, format_args!("{} is not supported on a route", any.type_name()));
            return None;
        }
    })
}
