//! A connection manager: how heads are treated, which filters run, where routes lead, how long anything may take.

use std::time::Duration;

use crate::access_log::AccessLog;
use crate::edge::EdgeConfig;
use crate::http_filters::{self, ChainError, FilterConfig, Loader};
use crate::http1::{BodyRules, HeadLimits, Underscores};
use crate::local_reply::Mapping;
use crate::route::{RouteTable, RouterOptions};
use crate::tracing::Tracing;

use super::Entrance;

/// A connection manager.
pub(crate) struct ManagerConfig {
    pub(crate) stat_prefix: String,
    pub(crate) edge: EdgeConfig,
    pub(crate) routes: RouteTable,
    pub(crate) codec: xds::CodecType,
    pub(crate) limits: HeadLimits,
    /// Trailers are read from and written to HTTP/1 clients.
    pub(crate) trailers: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) lifetime: LifetimeLimits,
    /// Protocols a client may upgrade to, lower case.
    pub(crate) upgrades: Vec<String>,
    /// All but the router, which is always last.
    pub(crate) filters: Vec<FilterConfig>,
    pub(crate) router: RouterOptions,
    pub(crate) access_log: Vec<AccessLog>,
    /// What becomes of the gateway's own answers. Absent: nothing.
    pub(crate) local_replies: Option<Mapping>,
    /// Absent: nothing is traced.
    pub(crate) tracing: Option<Tracing>,
    /// Bodies of HTTP/1 held by a filter may not grow beyond this many bytes.
    pub(crate) buffer_limit: usize,
    pub(crate) entrance: Entrance,
    pub(crate) http2: xds::Http2ProtocolOptions,
}

/// `None` waits for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// A connection without a request.
    pub(crate) idle: Option<Duration>,
    /// From a head's first byte to its last.
    pub(crate) headers: Option<Duration>,
    /// A stream on which nothing moves.
    pub(crate) stream_idle: Option<Duration>,
    /// From a request's first byte to its last.
    pub(crate) request: Option<Duration>,
    /// From a request's first byte to its answer's last.
    pub(crate) max_stream_duration: Option<Duration>,
    /// How long a connection that was refused may still be read from.
    pub(crate) delayed_close: Duration,
}

/// How long a client's connection may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LifetimeLimits {
    /// From its first byte on.
    pub(crate) duration: Option<Duration>,
    /// How long a connection whose time is over still answers: `drain_timeout`.
    pub(crate) drain: Duration,
    /// It then ends whether or not it was heard of; otherwise only behind an answer: `http1_safe_max_connection_duration`.
    pub(crate) abrupt: bool,
    /// How many requests it may carry.
    pub(crate) requests: Option<u32>,
}

/// `per_connection_buffer_limit_bytes`'s default.
const BUFFER: usize = 1024 * 1024;
/// `initial_stream_window_size`'s default.
const STREAM_WINDOW: u32 = 16 * 1024 * 1024;
const IDLE: Duration = Duration::from_secs(3600);
const STREAM_IDLE: Duration = Duration::from_secs(300);
const DRAIN: Duration = Duration::from_secs(5);
const DELAYED_CLOSE: Duration = Duration::from_secs(1);

impl ManagerConfig {
    pub(crate) fn compile(
        hcm: &xds::HttpConnectionManager,
        entrance: Entrance,
        loader: &Loader<'_>,
    ) -> Result<ManagerConfig, ChainError> {
        let undone = super::undone::of_manager(hcm);
        let mut problems = super::undone::not_supported(&undone);
        let mut edge =
            EdgeConfig::compile(hcm).map_err(|invalid| problems.push(invalid.to_string())).unwrap_or_default();
        edge.path.cut_fragment = loader.cut_fragment;
        if let Some((own, node)) = edge.add_user_agent.as_mut().zip(loader.tracing.node) {
            own.cluster = node.cluster.clone().into();
            own.id = node.id.clone().into();
        }
        let common = hcm.common_http_protocol_options.as_ref();
        let routes = routes(hcm).map_err(|found| problems.extend(found));
        let some = |timeout: Option<xds::Duration>, default: Option<Duration>| {
            timeout.map_or(default, |timeout| Some(timeout.0)).filter(|timeout| !timeout.is_zero())
        };
        let limits = HeadLimits {
            bytes: usize::try_from(hcm.max_request_headers_kb.unwrap_or(60)).unwrap_or(60).saturating_mul(1024),
            count: common
                .and_then(|common| common.max_headers_count)
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(100),
            hardened: loader.hardened,
            http10: hcm.http_protocol_options.as_ref().is_some_and(|options| options.accept_http_10),
            absolute_targets: hcm
                .http_protocol_options
                .as_ref()
                .is_none_or(|options| options.allow_absolute_url != Some(false)),
            underscores: match common.map(|common| common.headers_with_underscores_action) {
                None | Some(xds::HeadersWithUnderscoresAction::Allow) => Underscores::Allow,
                Some(xds::HeadersWithUnderscoresAction::RejectRequest) => Underscores::Reject,
                Some(xds::HeadersWithUnderscoresAction::DropHeader) => Underscores::Drop,
            },
        };
        let timeouts = Timeouts {
            idle: some(common.and_then(|common| common.idle_timeout), Some(IDLE)),
            headers: some(hcm.request_headers_timeout, None),
            stream_idle: some(hcm.stream_idle_timeout, Some(STREAM_IDLE)),
            request: some(hcm.request_timeout, None),
            max_stream_duration: some(common.and_then(|common| common.max_stream_duration), None),
            delayed_close: hcm.delayed_close_timeout.map_or(DELAYED_CLOSE, |timeout| timeout.0),
        };
        let lifetime = LifetimeLimits {
            duration: common.and_then(|common| common.max_connection_duration).map(|duration| duration.0),
            drain: hcm.drain_timeout.map_or(DRAIN, |timeout| timeout.0),
            abrupt: !hcm.http1_safe_max_connection_duration,
            requests: common.and_then(|common| common.max_requests_per_connection).filter(|most| *most > 0),
        };
        let upgrades = hcm.upgrade_configs.iter().filter(|config| config.enabled != Some(false));
        let chain = match http_filters::compile(&hcm.http_filters, loader) {
            Ok(chain) => Some(chain),
            Err(ChainError::Config(found)) => {
                problems.extend(found);
                None
            }
            Err(module) => return Err(module),
        };
        let logs = hcm.access_log.iter().map(|entry| AccessLog::compile(entry, loader.log_files));
        let access_log = logs.filter_map(|log| log.map_err(|error| problems.push(format!("access_log: {error}"))).ok());
        let access_log = access_log.collect();
        let local_replies = hcm.local_reply_config.as_ref().map(Mapping::compile).transpose();
        let local_replies = local_replies.unwrap_or_else(|found| {
            problems.extend(found.iter().map(ToString::to_string));
            None
        });
        let tracing = hcm.tracing.as_ref().map(|tracing| Tracing::compile(tracing, &loader.tracing)).transpose();
        let tracing = tracing.map_err(|why| problems.push(why)).ok().flatten().flatten();
        let (Ok(routes), Some((filters, router)), true) = (routes, chain, problems.is_empty()) else {
            return Err(ChainError::Config(problems));
        };
        let buffer_limit = entrance.listener.per_connection_buffer_limit_bytes;
        Ok(ManagerConfig {
            routes,
            stat_prefix: hcm.stat_prefix.clone(),
            edge,
            codec: hcm.codec_type,
            limits,
            trailers: hcm.http_protocol_options.as_ref().is_some_and(|options| options.enable_trailers),
            timeouts,
            lifetime,
            upgrades: upgrades.map(|config| config.upgrade_type.to_ascii_lowercase()).collect(),
            filters,
            router,
            access_log,
            local_replies,
            tracing,
            buffer_limit: buffer_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(BUFFER),
            entrance,
            http2: hcm.http2_protocol_options.clone().unwrap_or_default(),
        })
    }
}

impl ManagerConfig {
    /// What an HTTP/2 client may send ahead on a stream; and bodies held by a filter may not grow beyond it there.
    pub(crate) fn stream_window(&self) -> u32 {
        self.http2.initial_stream_window_size.unwrap_or(STREAM_WINDOW)
    }

    /// How bodies of HTTP/1 requests are read.
    pub(crate) fn body_rules(&self) -> BodyRules {
        BodyRules { trailers: self.trailers, hardened: self.limits.hardened, trailer_bytes: self.limits.bytes }
    }
}

fn routes(hcm: &xds::HttpConnectionManager) -> Result<RouteTable, Vec<String>> {
    let Some(config) = &hcm.route_config else {
        return Err(vec![
            "route_config: routes must be here in full; rds and scoped_routes ask a control plane".to_owned(),
        ]);
    };
    RouteTable::compile(config).map_err(|found| found.iter().map(|error| format!("route_config.{error}")).collect())
}
