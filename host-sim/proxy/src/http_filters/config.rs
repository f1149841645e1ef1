//! Filters of a chain as they are configured, compiled once for all workers.

use std::sync::Arc;

use crate::fault::Fault;
use crate::header_ops::HeaderMutations;
use crate::rate_limit::{GlobalRateLimit, LocalRateLimit};
use crate::route::RouterOptions;
use crate::route::error::{Errors, Path};

use super::wasm::{Loader, WasmConfig};

/// One filter; the router, always last, is not among them.
pub(crate) struct FilterConfig {
    /// Its name, by which routes configure it.
    pub(crate) name: Arc<str>,
    pub(crate) kind: FilterKind,
}

/// What a filter is.
pub(crate) enum FilterKind {
    Wasm(Arc<WasmConfig>),
    Fault(Arc<Fault>),
    Cors,
    GrpcWeb,
    /// Without a bucket of its own it only acts where a route has one.
    LocalRateLimit {
        stat_prefix: String,
        limit: Option<Arc<LocalRateLimit>>,
    },
    /// Asks a service.
    RateLimit(Arc<GlobalRateLimit>),
    HeaderMutation {
        mutations: HeaderMutations,
        most_specific_wins: bool,
    },
}

/// Why a chain was refused.
pub(crate) enum ChainError {
    Config(Vec<String>),
    Module { plugin: String, reason: String },
}

/// Filters that only count, and that Istio puts into every chain.
const COUNTING: [&str; 4] = ["grpc_stats", "metadata_exchange", "istio_stats", "alpn"];

/// Compiles a chain.
pub(crate) fn compile(
    filters: &[xds::HttpFilter],
    loader: &Loader<'_>,
) -> Result<(Vec<FilterConfig>, RouterOptions), ChainError> {
    let mut errors = Errors::default();
    let mut chain = Vec::new();
    let mut router = None;
    for (at, filter) in filters.iter().enumerate() {
        let path = Path::Root.item("http_filters", at);
        if filter.disabled || router.is_some() {
            continue;
        }
        let kind = match &filter.typed_config {
            Some(xds::HttpFilterConfig::Router(options)) => {
                errors.unsupported(&path, "strict_check_headers", !options.strict_check_headers.is_empty());
                errors.unsupported(&path, "upstream_http_filters", !options.upstream_http_filters.is_empty());
                router = Some(RouterOptions {
                    suppress_envoy_headers: options.suppress_envoy_headers,
                    respect_expected_rq_timeout: options.respect_expected_rq_timeout,
                });
                continue;
            }
            Some(xds::HttpFilterConfig::Wasm(wasm)) => FilterKind::Wasm(Arc::new(loader.load(wasm)?)),
            Some(xds::HttpFilterConfig::Fault(fault)) => {
                FilterKind::Fault(Arc::new(Fault::compile(fault, &path, &mut errors)))
            }
            Some(xds::HttpFilterConfig::Cors(_)) => FilterKind::Cors,
            Some(xds::HttpFilterConfig::GrpcWeb(_)) => FilterKind::GrpcWeb,
            Some(xds::HttpFilterConfig::LocalRateLimit(limit)) => FilterKind::LocalRateLimit {
                stat_prefix: limit.stat_prefix.clone(),
                limit: LocalRateLimit::compile(limit, false, &path, &mut errors).map(Arc::new),
            },
            Some(xds::HttpFilterConfig::HeaderMutation(filter)) => {
                let compiled = filter.mutations.as_ref().map(HeaderMutations::compile).transpose();
                let Some(mutations) = errors.note(&path, compiled) else { continue };
                let most_specific_wins = filter.most_specific_header_mutations_wins;
                FilterKind::HeaderMutation { mutations: mutations.unwrap_or_default(), most_specific_wins }
            }
            Some(xds::HttpFilterConfig::GrpcStats(_)) => continue,
            Some(xds::HttpFilterConfig::RateLimit(limit)) => {
                let Some(limit) = GlobalRateLimit::compile(limit, &path, &mut errors) else { continue };
                FilterKind::RateLimit(Arc::new(limit))
            }
            Some(xds::HttpFilterConfig::Other(_)) | None if COUNTING.iter().any(|name| filter.name.contains(name)) => {
                continue;
            }
            Some(other) => {
                errors.refuse(&path, format_args!("{}: {} is not supported", filter.name, other.type_name()));
                continue;
            }
            None if filter.is_optional => continue,
            None => {
                errors.refuse(&path, format_args!("{}: no typed_config", filter.name));
                continue;
            }
        };
        chain.push(FilterConfig { name: filter.name.as_str().into(), kind });
    }
    if router.is_none() {
        errors.refuse(&Path::Root.field("http_filters"), "the last filter must be the router");
    }
    let texts =
        |found: Vec<crate::route::CompileError>| ChainError::Config(found.iter().map(ToString::to_string).collect());
    errors.into_result((chain, router.unwrap_or_default())).map_err(texts)
}
