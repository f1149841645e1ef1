//! Statistics under Envoy's names, as `/stats` and `/stats/prometheus` print them.
//!
//! A scope (`cluster.shop.`) is a struct whose fields are its series. Each worker asks the [`Registry`] for its own copy once, when a configuration
//! is built, and counts with one relaxed atomic operation that no other worker's core shares; whoever prints adds the copies up. A copy lives as
//! long as somebody holds it: a configuration that is replaced by one with the same scopes hands its counts on, a removed cluster takes its
//! series with it, as in Envoy.
//!
//! | scope | struct | series |
//! |---|---|---|
//! | `cluster.<name>.` | [`ClusterStats`] | `upstream_cx_*`, `upstream_rq_*` (also by status and class, and again below `external.` and `internal.`), `upstream_flow_control_*`, `lb_healthy_panic`, `retry_or_shadow_abandoned`, `bind_errors` |
//! | `cluster.<name>.` | [`MembershipStats`] | `membership_*`, `update_*`, `version`, `warming_state`, `max_host_weight`, `default.total_match_count` |
//! | `cluster.<name>.circuit_breakers.<priority>.` | [`BreakerStats`] | `cx_open`, `cx_pool_open`, `rq_open`, `rq_pending_open`, `rq_retry_open` |
//! | `cluster.<name>.outlier_detection.` | [`OutlierStats`] | `ejections_*` |
//! | `cluster.<name>.ssl.`, `listener.<address>.ssl.` | [`TlsStats`] | `handshake`, `connection_error`, `fail_verify_*`, `no_certificate`, `session_reused` |
//! | `http.<stat_prefix>.` | [`HttpStats`] | `downstream_cx_*`, `downstream_rq_*`, `no_route`, `no_cluster`, `rq_*`, `rs_too_large`, `tracing.*` |
//! | `http.<stat_prefix>.fault.` | [`FaultStats`] | `aborts_injected`, `delays_injected`, `active_faults`, `faults_overflow`, `response_rl_injected` |
//! | `http.<stat_prefix>.cors.` | [`CorsStats`] | `origin_valid`, `origin_invalid` |
//! | `<stat_prefix>.http_local_rate_limit.` | [`LocalRateLimitStats`] | `enabled`, `enforced`, `ok`, `rate_limited`, `shadow_mode` |
//! | `listener.<address>.` | [`ListenerStats`] | `downstream_cx_*`, `downstream_pre_cx_*`, `downstream_listener_filter_*`, `no_filter_chain_match` |
//! | `listener.<address>.worker_<n>.` | [`WorkerStats`] | `downstream_cx_active`, `downstream_cx_total` |
//! | `listener.<address>.http.<stat_prefix>.` | [`ListenerHttpStats`] | `downstream_rq_1xx` to `_5xx`, `downstream_rq_completed` |
//! | `server.` | [`ServerStats`] | `live`, `state`, `uptime`, `concurrency`, `total_connections`, `days_until_first_cert_expiring` |
//! | `cluster_manager.`, `listener_manager.` | [`ClusterManagerStats`], [`ListenerManagerStats`] | `active_clusters`, `cluster_added`, `listener_added`, `total_listeners_active`, … |
//! | `tracing.opentelemetry.` | [`TracingStats`] | `spans_sent`, `spans_dropped`, `timer_flushed`; once something is traced |
//! | `access_log.` | [`AccessLogStats`] | `records_written`, `records_dropped`, `write_failed`; ours, not Envoy's |
//! | `wasmcustom.` | [`modules`] | what modules define; handed in when printing |
//!
//! A cluster's name is its `alt_stat_name`, when it has one; `:` is written `_`. Names become labels by the bootstrap's `stats_config.stats_tags`
//! and Envoy's own rules (`use_all_default_tags`), at the time of printing.
//!
//! Not here: text readouts, per-endpoint statistics, `stats_matcher`, `histogram_bucket_settings`, sinks. There is no flush interval either: the
//! first number of a histogram's pair, the last interval's, is `nan`.

#[macro_use]
mod group;
mod cell;
mod cluster;
mod filter;
mod histogram;
mod http;
mod listener;
mod modules;
mod prometheus;
mod registry;
mod server;
mod statuses;
mod tags;
mod text;

#[cfg(test)]
mod tests;

/// Between the name and the labels of a series that brings its labels along, and between the labels.
pub(crate) const ISTIO: &str = ".;.";

pub use cell::{Counter, Gauge};
pub use cluster::{BreakerStats, ClusterStats, MembershipStats, OutlierStats};
pub use filter::{Filter, InvalidFilter};
pub use group::{Group, LateHistogram, Sample, See, Stat};
pub use histogram::{Distribution, Histogram};
pub use http::{CorsStats, FaultStats, HttpStats, ListenerHttpStats, LocalRateLimitStats};
pub use listener::{ListenerStats, TlsStats, WorkerStats};
pub use modules::modules;
pub use registry::{Registry, Worker};
pub use server::{AccessLogStats, ClusterManagerStats, ListenerManagerStats, ServerStats, TracingStats};
pub use statuses::Statuses;
pub use tags::InvalidStatsConfig;
