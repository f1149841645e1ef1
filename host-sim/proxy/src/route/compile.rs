//! `xds::RouteConfiguration` made into a [`RouteTable`](super::RouteTable). Every error is reported, each with its path.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use policy::Index;
use policy::redirect::{Redirect, RedirectCode, RedirectPath};
use policy::regex::{Regex, Substitution};
use policy::template::Filling;

use super::entry::{
    Action, Clusters, ConfigEntry, Forward, HostRewrite, Mirror, PathRewrite, RequireTls, RouteEntry, VirtualHostEntry,
    Weighted, WeightedEntry,
};
use super::error::{CompileError, Errors, Path};
use super::hosts::Hosts;
use super::matching::{Fraction, RouteMatcher};
use super::trail::Origin;
use super::{RouteTable, StreamLimit, VirtualHost, filters};
use crate::cluster::HashPolicy;
use crate::data_source::read_named;
use crate::header_ops::{Format, HeaderMutations, HeaderOps};
use crate::local_reply::BodyForm;
use crate::rate_limit::RateLimits;
use crate::retry::RetryPolicy;

/// Envoy's default, when a route says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's default for a direct response's body.
const DEFAULT_MAX_BODY: u32 = 4096;

pub(super) fn table(config: &xds::RouteConfiguration) -> Result<RouteTable, Vec<CompileError>> {
    let mut errors = Errors::default();
    let at = Path::Root;
    errors.unsupported(&at, "vhds", config.vhds.is_some());
    errors.unsupported(&at, "cluster_specifier_plugins", !config.cluster_specifier_plugins.is_empty());
    errors.unsupported(&at, "vhost_header", !config.vhost_header.is_empty());
    errors.unsupported(&at, "ignore_path_parameters_in_path_matching", config.ignore_path_parameters_in_path_matching);
    let shared = Arc::new(ConfigEntry {
        name: Arc::from(config.name.as_str()),
        most_specific_wins: config.most_specific_header_mutations_wins,
        request_ops: ops(&config.request_headers_to_add, &config.request_headers_to_remove, &at, &mut errors),
        response_ops: ops(&config.response_headers_to_add, &config.response_headers_to_remove, &at, &mut errors),
        filters: filters::compile(&config.typed_per_filter_config, &at, &mut errors),
    });
    let mut hosts = Hosts::default();
    let mut virtual_hosts = Vec::with_capacity(config.virtual_hosts.len());
    for (n, host) in config.virtual_hosts.iter().enumerate() {
        let at = at.item("virtual_hosts", n);
        for domain in &host.domains {
            let _ = errors.note(&at.field("domains"), hosts.add(domain, n));
        }
        virtual_hosts.push(Compiler { config, host, shared: &shared }.virtual_host(&at, &mut errors));
    }
    errors.into_result(RouteTable {
        config: shared,
        hosts,
        virtual_hosts,
        ignore_port: config.ignore_port_in_host_matching,
    })
}

/// One virtual host being compiled.
struct Compiler<'c> {
    config: &'c xds::RouteConfiguration,
    host: &'c xds::VirtualHost,
    shared: &'c Arc<ConfigEntry>,
}

impl Compiler<'_> {
    fn virtual_host(&self, at: &Path<'_>, errors: &mut Errors) -> VirtualHost {
        let host = self.host;
        errors.unsupported(at, "matcher", host.matcher.is_some());
        errors.unsupported(at, "hedge_policy", host.hedge_policy.is_some());
        errors.unsupported(at, "retry_policy_typed_config", host.retry_policy_typed_config.is_some());
        errors.unsupported(at, "include_is_timeout_retry_header", host.include_is_timeout_retry_header);
        let shared = Arc::new(VirtualHostEntry {
            name: Arc::from(host.name.as_str()),
            domains: host.domains.clone(),
            require_tls: match host.require_tls {
                xds::TlsRequirementType::None => RequireTls::None,
                xds::TlsRequirementType::ExternalOnly => RequireTls::ExternalOnly,
                xds::TlsRequirementType::All => RequireTls::All,
            },
            attempt_count_in_request: host.include_request_attempt_count,
            attempt_count_in_response: host.include_attempt_count_in_response,
            rate_limits: RateLimits::compile(&host.rate_limits, at, errors),
            metadata: host.metadata.clone().map(Arc::new),
            config: self.shared.clone(),
            request_ops: ops(&host.request_headers_to_add, &host.request_headers_to_remove, at, errors),
            response_ops: ops(&host.response_headers_to_add, &host.response_headers_to_remove, at, errors),
            filters: filters::compile(&host.typed_per_filter_config, at, errors),
        });
        let routes = host.routes.iter().enumerate();
        let routes: Vec<Arc<RouteEntry>> = routes
            .filter_map(|(n, route)| self.route(route, &shared, &at.item("routes", n), errors))
            .map(Arc::new)
            .collect();
        let matchers: Vec<_> = routes.iter().map(|route| &route.matcher.request).collect();
        let index = Index::new(&matchers);
        VirtualHost { shared, routes, index }
    }

    fn route(
        &self,
        route: &xds::Route,
        host: &Arc<VirtualHostEntry>,
        at: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<RouteEntry> {
        let matcher = RouteMatcher::compile(&route.r#match, &at.field("match"), errors);
        let action = if let Some(forward) = &route.route {
            Action::Forward(Box::new(self.forward(forward, route, &at.field("route"), errors)?))
        } else if let Some(action) = &route.redirect {
            Action::Redirect(redirect(action, &at.field("redirect"), errors)?)
        } else if let Some(direct) = &route.direct_response {
            self.direct(direct, &at.field("direct_response"), errors)?
        } else {
            errors.refuse(at, "a route needs route, redirect or direct_response");
            return None;
        };
        Some(RouteEntry {
            name: Arc::from(route.name.as_str()),
            origin: Origin::read(route.metadata.as_ref()),
            virtual_host: host.clone(),
            matcher,
            action,
            operation: route.decorator.as_ref().map(|decorator| Arc::from(decorator.operation.as_str())),
            propagate: route.decorator.as_ref().is_none_or(|decorator| decorator.propagate != Some(false)),
            metadata: route.metadata.clone().map(Arc::new),
            request_ops: ops(&route.request_headers_to_add, &route.request_headers_to_remove, at, errors),
            response_ops: ops(&route.response_headers_to_add, &route.response_headers_to_remove, at, errors),
            filters: filters::compile(&route.typed_per_filter_config, at, errors),
        })
    }

    fn direct(&self, direct: &xds::DirectResponseAction, at: &Path<'_>, errors: &mut Errors) -> Option<Action> {
        let status = u16::try_from(direct.status).ok().filter(|status| (200..600).contains(status));
        let status = errors.note(at, status.ok_or("status must be from 200 to 599"))?;
        let body = match &direct.body {
            Some(source) => Bytes::from(errors.note(&at.field("body"), read_named(source))?),
            None => Bytes::new(),
        };
        let max = self.config.max_direct_response_body_size_bytes.unwrap_or(DEFAULT_MAX_BODY);
        if u32::try_from(body.len()).is_ok_and(|length| length > max) {
            errors.refuse(
                &at.field("body"),
                format_args!("response body size is {} bytes; maximum is {max}", body.len()),
            );
            return None;
        }
        let form = direct.body_format.as_ref();
        let form = form.and_then(|format| errors.note(&at.field("body_format"), BodyForm::compile(format)));
        Some(Action::Direct { status, body, form })
    }

    fn forward(
        &self,
        action: &xds::RouteAction,
        route: &xds::Route,
        at: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<Forward> {
        let refused = [
            ("cluster_specifier_plugin", action.cluster_specifier_plugin.is_some()),
            ("inline_cluster_specifier_plugin", action.inline_cluster_specifier_plugin.is_some()),
            ("internal_redirect_policy", action.internal_redirect_policy.is_some()),
            (
                "internal_redirect_action",
                action.internal_redirect_action.as_deref() == Some("HANDLE_INTERNAL_REDIRECT"),
            ),
            ("hedge_policy", action.hedge_policy.is_some()),
            ("retry_policy_typed_config", action.retry_policy_typed_config.is_some()),
            ("metadata_match", action.metadata_match.is_some()),
        ];
        for (field, set) in refused {
            errors.unsupported(at, field, set);
        }
        let retry = action.retry_policy.as_ref().or(self.host.retry_policy.as_ref());
        let mirrors =
            [&action.request_mirror_policies, &self.host.request_mirror_policies, &self.config.request_mirror_policies];
        let mirrors = mirrors.into_iter().find(|mirrors| !mirrors.is_empty()).into_iter().flatten().enumerate();
        let some = |duration: Option<xds::Duration>| duration.map(|duration| duration.0);
        let limits = action.max_stream_duration.as_ref();
        Some(Forward {
            clusters: clusters(action, at, errors)?,
            cluster_not_found: match action.cluster_not_found_response_code {
                xds::ClusterNotFoundResponseCode::ServiceUnavailable => 503,
                xds::ClusterNotFoundResponseCode::NotFound => 404,
                xds::ClusterNotFoundResponseCode::InternalServerError => 500,
            },
            path: path_rewrite(action, &route.r#match, at, errors)?,
            host: host_rewrite(action, at, errors)?,
            append_x_forwarded_host: action.append_x_forwarded_host,
            // A route that limits its streams has no other limit.
            timeout: Some(some(action.timeout).unwrap_or(DEFAULT_TIMEOUT))
                .filter(|timeout| !timeout.is_zero() && limits.is_none()),
            idle_timeout: some(action.idle_timeout),
            stream: limits.map_or(StreamLimit::default(), |limits| StreamLimit {
                most: some(limits.max_stream_duration),
                grpc_max: some(limits.grpc_timeout_header_max),
                grpc_offset: some(limits.grpc_timeout_header_offset),
            }),
            max_grpc_timeout: some(action.max_grpc_timeout).filter(|_| limits.is_none()),
            grpc_timeout_offset: some(action.grpc_timeout_offset),
            retry: retry.map(|retry| Arc::new(RetryPolicy::compile(retry, &at.field("retry_policy"), errors))),
            mirrors: mirrors
                .filter_map(|(n, mirror)| self::mirror(mirror, &at.item("request_mirror_policies", n), errors))
                .collect(),
            hash: action
                .hash_policy
                .iter()
                .enumerate()
                .filter_map(|(n, policy)| HashPolicy::compile(policy, &at.item("hash_policy", n), errors))
                .collect(),
            rate_limits: RateLimits::compile(&action.rate_limits, at, errors),
            include_virtual_host_rate_limits: action.include_vh_rate_limits.unwrap_or(false),
            upgrades: action
                .upgrade_configs
                .iter()
                .map(|upgrade| (upgrade.upgrade_type.to_ascii_lowercase(), upgrade.enabled.unwrap_or(true)))
                .collect(),
            high_priority: action.priority == xds::RoutingPriority::High,
        })
    }
}

fn ops(add: &[xds::HeaderValueOption], remove: &[String], at: &Path<'_>, errors: &mut Errors) -> HeaderOps {
    errors.note(at, HeaderOps::compile(add, remove)).unwrap_or_default()
}

fn clusters(action: &xds::RouteAction, at: &Path<'_>, errors: &mut Errors) -> Option<Clusters> {
    if let Some(cluster) = &action.cluster {
        return Some(Clusters::One(Arc::from(cluster.as_str())));
    }
    if let Some(header) = &action.cluster_header {
        return Some(Clusters::Header(header_name(header)));
    }
    let Some(weighted) = &action.weighted_clusters else {
        errors.refuse(at, "a route needs cluster, cluster_header or weighted_clusters");
        return None;
    };
    let at = at.field("weighted_clusters");
    let mut entries = Vec::with_capacity(weighted.clusters.len());
    let mut weights = Vec::with_capacity(weighted.clusters.len());
    for (n, cluster) in weighted.clusters.iter().enumerate() {
        let at = at.item("clusters", n);
        errors.unsupported(&at, "metadata_match", cluster.metadata_match.is_some());
        weights.push(cluster.weight.unwrap_or_default());
        entries.push(WeightedEntry {
            cluster: Arc::from(cluster.name.as_str()),
            cluster_header: Some(header_name(&cluster.cluster_header)).filter(|name| !name.is_empty()),
            host: cluster.host_rewrite_literal.as_ref().map(|host| Bytes::copy_from_slice(host.as_bytes())),
            request_ops: ops(&cluster.request_headers_to_add, &cluster.request_headers_to_remove, &at, errors),
            response_ops: ops(&cluster.response_headers_to_add, &cluster.response_headers_to_remove, &at, errors),
            filters: filters::compile(&cluster.typed_per_filter_config, &at, errors),
        });
    }
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    if sum == 0 || sum > u32::MAX.into() {
        errors.refuse(&at, format_args!("sum of weights must be from 1 to 4294967295; it is {sum}"));
        return None;
    }
    errors.unsupported(&at, "use_hash_policy", weighted.use_hash_policy == Some(true));
    let header = weighted.header_name.as_deref().map(header_name);
    Some(Clusters::Weighted(Weighted { entries, weights, header }))
}

fn path_rewrite(
    action: &xds::RouteAction,
    route: &xds::RouteMatch,
    at: &Path<'_>,
    errors: &mut Errors,
) -> Option<PathRewrite> {
    if !action.prefix_rewrite.is_empty() {
        return Some(PathRewrite::Matched(Bytes::copy_from_slice(action.prefix_rewrite.as_bytes())));
    }
    if let Some(rewrite) = &action.regex_rewrite {
        let (regex, with) = regex_rewrite(rewrite, &at.field("regex_rewrite"), errors)?;
        return Some(PathRewrite::Regex(regex, with));
    }
    if !action.path_rewrite.is_empty() {
        return errors.note(&at.field("path_rewrite"), Format::parse(&action.path_rewrite)).map(PathRewrite::Whole);
    }
    if let Some(policy) = &action.path_rewrite_policy {
        let at = at.field("path_rewrite_policy");
        return template_rewrite(policy, route, &at, errors).map(PathRewrite::Template);
    }
    Some(PathRewrite::Keep)
}

/// `envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig`
fn template_rewrite(
    policy: &xds::TypedExtensionConfig,
    route: &xds::RouteMatch,
    at: &Path<'_>,
    errors: &mut Errors,
) -> Option<Filling> {
    let field = |config: &xds::TypedExtensionConfig, field: &str| {
        config.typed_config.as_ref().and_then(|any| any.fields().get(field)?.as_str().map(str::to_owned))
    };
    let template = route.path_match_policy.as_ref().and_then(|policy| field(policy, "path_template"));
    let (Some(template), Some(text)) = (template, field(policy, "path_template_rewrite")) else {
        errors.refuse(at, "a path_template_rewrite belongs to a route with a path_template");
        return None;
    };
    let template = errors.note(at, policy::template::Template::parse(&template))?;
    errors.note(at, Filling::parse(&text, &template))
}

/// A pattern and what it is replaced by.
pub(crate) fn regex_rewrite(
    rewrite: &xds::RegexMatchAndSubstitute,
    at: &Path<'_>,
    errors: &mut Errors,
) -> Option<(Regex, Substitution)> {
    let pattern = rewrite.pattern.as_ref().map(|pattern| pattern.regex.as_str()).unwrap_or_default();
    let regex = errors.note(&at.field("pattern"), Regex::search(pattern))?;
    let with = errors.note(&at.field("substitution"), Substitution::parse(&rewrite.substitution, &regex))?;
    Some((regex, with))
}

fn host_rewrite(action: &xds::RouteAction, at: &Path<'_>, errors: &mut Errors) -> Option<HostRewrite> {
    if let Some(host) = action.host_rewrite_literal.as_ref().filter(|host| !host.is_empty()) {
        return Some(HostRewrite::Literal(Bytes::copy_from_slice(host.as_bytes())));
    }
    if let Some(header) = &action.host_rewrite_header {
        return Some(HostRewrite::Header(header_name(header)));
    }
    if let Some(rewrite) = &action.host_rewrite_path_regex {
        let (regex, with) = regex_rewrite(rewrite, &at.field("host_rewrite_path_regex"), errors)?;
        return Some(HostRewrite::PathRegex(regex, with));
    }
    if let Some(format) = &action.host_rewrite {
        return errors.note(&at.field("host_rewrite"), Format::parse(format)).map(HostRewrite::Format);
    }
    Some(if action.auto_host_rewrite == Some(true) { HostRewrite::Endpoint } else { HostRewrite::Keep })
}

fn redirect(action: &xds::RedirectAction, at: &Path<'_>, errors: &mut Errors) -> Option<Redirect> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let scheme =
        if action.https_redirect == Some(true) { Some("https".to_owned()) } else { action.scheme_redirect.clone() };
    let port = u16::try_from(action.port_redirect).ok();
    let port = errors.note(&at.field("port_redirect"), port.ok_or("a port is at most 65535"))?;
    let path = if let Some(path) = action.path_redirect.as_deref().and_then(text) {
        RedirectPath::Full(path)
    } else if let Some(prefix) = action.prefix_rewrite.as_deref().and_then(text) {
        RedirectPath::Prefix(prefix)
    } else if let Some(rewrite) = &action.regex_rewrite {
        let (regex, with) = regex_rewrite(rewrite, &at.field("regex_rewrite"), errors)?;
        RedirectPath::Regex(regex, with)
    } else {
        RedirectPath::Keep
    };
    Some(Redirect {
        scheme: scheme.filter(|scheme| !scheme.is_empty()),
        host: text(&action.host_redirect),
        port: (port != 0).then_some(port),
        path,
        strip_query: action.strip_query,
        code: RedirectCode::from_status(action.response_code.status()).unwrap_or_default(),
    })
}

fn mirror(policy: &xds::RequestMirrorPolicy, at: &Path<'_>, errors: &mut Errors) -> Option<Mirror> {
    let mutations = HeaderMutations::of_request(&policy.request_headers_mutations);
    Some(Mirror {
        traced: policy.trace_sampled != Some(false),
        cluster: Arc::from(policy.cluster.as_str()),
        cluster_header: Some(header_name(&policy.cluster_header)).filter(|name| !name.is_empty()),
        share: policy.runtime_fraction.as_ref().map_or(Fraction::ALL, Fraction::of_runtime),
        keep_host: policy.disable_shadow_host_suffix_append,
        host: Some(Bytes::copy_from_slice(policy.host_rewrite_literal.as_bytes())).filter(|host| !host.is_empty()),
        mutations: errors.note(&at.field("request_headers_mutations"), mutations)?,
    })
}

/// Lower case; `host` is Envoy's alias of `:authority`.
fn header_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower == "host" { ":authority".to_owned() } else { lower }
}
