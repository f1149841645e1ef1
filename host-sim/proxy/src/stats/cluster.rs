//! `cluster.<name>.`: what a cluster's connections and requests did.

group! {
    /// One worker's share of a cluster.
    ClusterStats {
        bind_errors: Counter,
        retry_or_shadow_abandoned: Counter,
        lb_healthy_panic: Counter,
        upstream_cx_active: Gauge,
        upstream_cx_close_notify: Counter,
        upstream_cx_connect_attempts_exceeded: Counter,
        upstream_cx_connect_fail: Counter,
        upstream_cx_connect_ms: Histogram,
        upstream_cx_connect_timeout: Counter,
        upstream_cx_destroy: Counter,
        upstream_cx_destroy_local: Counter,
        upstream_cx_destroy_local_with_active_rq: Counter,
        upstream_cx_destroy_remote: Counter,
        upstream_cx_destroy_remote_with_active_rq: Counter,
        upstream_cx_destroy_with_active_rq: Counter,
        upstream_cx_http1_total: Counter,
        upstream_cx_http2_total: Counter,
        upstream_cx_idle_timeout: Counter,
        upstream_cx_length_ms: Histogram,
        upstream_cx_max_duration_reached: Counter,
        upstream_cx_max_requests: Counter,
        upstream_cx_none_healthy: Counter,
        upstream_cx_overflow: Counter,
        upstream_cx_pool_overflow: Counter,
        upstream_cx_protocol_error: Counter,
        upstream_cx_rx_bytes_buffered: Gauge,
        upstream_cx_rx_bytes_total: Counter,
        upstream_cx_total: Counter,
        upstream_cx_tx_bytes_buffered: Gauge,
        upstream_cx_tx_bytes_total: Counter,
        upstream_flow_control_backed_up_total: Counter,
        upstream_flow_control_drained_total: Counter,
        upstream_flow_control_paused_reading_total: Counter,
        upstream_flow_control_resumed_reading_total: Counter,
        upstream_internal_redirect_failed_total: Counter,
        upstream_internal_redirect_succeeded_total: Counter,
        upstream_rq: Statuses,
        external_upstream_rq: Statuses = "external.upstream_rq",
        internal_upstream_rq: Statuses = "internal.upstream_rq",
        external_upstream_rq_time: LateHistogram = "external.upstream_rq_time",
        internal_upstream_rq_time: LateHistogram = "internal.upstream_rq_time",
        upstream_rq_active: Gauge,
        upstream_rq_active_overflow: Counter,
        upstream_rq_cancelled: Counter,
        upstream_rq_maintenance_mode: Counter,
        upstream_rq_max_duration_reached: Counter,
        upstream_rq_pending_active: Gauge,
        upstream_rq_pending_failure_eject: Counter,
        upstream_rq_pending_overflow: Counter,
        upstream_rq_pending_total: Counter,
        upstream_rq_per_cx: Histogram,
        upstream_rq_per_try_idle_timeout: Counter,
        upstream_rq_per_try_timeout: Counter,
        upstream_rq_retry: Counter,
        upstream_rq_retry_backoff_exponential: Counter,
        upstream_rq_retry_backoff_ratelimited: Counter,
        upstream_rq_retry_limit_exceeded: Counter,
        upstream_rq_retry_overflow: Counter,
        upstream_rq_retry_success: Counter,
        upstream_rq_rx_reset: Counter,
        upstream_rq_time: Histogram,
        upstream_rq_timeout: Counter,
        upstream_rq_total: Counter,
        upstream_rq_tx_reset: Counter,
    }
}

group! {
    /// A cluster's hosts: one per process, kept by whoever applies a configuration.
    MembershipStats {
        max_host_weight: Gauge,
        membership_change: Counter,
        membership_degraded: Gauge,
        membership_excluded: Gauge,
        membership_healthy: Gauge,
        membership_total: Gauge,
        update_attempt: Counter,
        update_empty: Counter,
        update_failure: Counter,
        update_no_rebuild: Counter,
        update_success: Counter,
        version: Gauge,
        warming_state: Gauge,
        default_total_match_count: Counter = "default.total_match_count",
    }
}

group! {
    /// A cluster's circuit breakers: one per process, 1 while open.
    BreakerStats {
        default_cx_open: Gauge = "circuit_breakers.default.cx_open",
        default_cx_pool_open: Gauge = "circuit_breakers.default.cx_pool_open",
        default_rq_open: Gauge = "circuit_breakers.default.rq_open",
        default_rq_pending_open: Gauge = "circuit_breakers.default.rq_pending_open",
        default_rq_retry_open: Gauge = "circuit_breakers.default.rq_retry_open",
        high_cx_open: Gauge = "circuit_breakers.high.cx_open",
        high_cx_pool_open: Gauge = "circuit_breakers.high.cx_pool_open",
        high_rq_open: Gauge = "circuit_breakers.high.rq_open",
        high_rq_pending_open: Gauge = "circuit_breakers.high.rq_pending_open",
        high_rq_retry_open: Gauge = "circuit_breakers.high.rq_retry_open",
    }
}

group! {
    /// A cluster with outlier detection.
    OutlierStats {
        ejections_active: Gauge = "outlier_detection.ejections_active",
        ejections_consecutive_5xx: Counter = "outlier_detection.ejections_consecutive_5xx",
        ejections_detected_consecutive_5xx: Counter = "outlier_detection.ejections_detected_consecutive_5xx",
        ejections_detected_consecutive_gateway_failure: Counter = "outlier_detection.ejections_detected_consecutive_gateway_failure",
        ejections_detected_consecutive_local_origin_failure: Counter = "outlier_detection.ejections_detected_consecutive_local_origin_failure",
        ejections_enforced_consecutive_5xx: Counter = "outlier_detection.ejections_enforced_consecutive_5xx",
        ejections_enforced_consecutive_gateway_failure: Counter = "outlier_detection.ejections_enforced_consecutive_gateway_failure",
        ejections_enforced_consecutive_local_origin_failure: Counter = "outlier_detection.ejections_enforced_consecutive_local_origin_failure",
        ejections_enforced_total: Counter = "outlier_detection.ejections_enforced_total",
        ejections_overflow: Counter = "outlier_detection.ejections_overflow",
        ejections_total: Counter = "outlier_detection.ejections_total",
    }
}

impl ClusterStats {
    /// A whole answer came from upstream, so long after the request had been sent.
    pub fn charge_time(&self, milliseconds: u64, internal: bool) {
        self.upstream_rq_time.record(milliseconds);
        if internal { &self.internal_upstream_rq_time } else { &self.external_upstream_rq_time }.0.record(milliseconds);
    }

    /// One answer to a request that was meant for this cluster, made here or upstream; `internal` as `x-envoy-internal` has it.
    pub fn charge_response(&self, status: u16, internal: bool) {
        self.upstream_rq.charge(status);
        if internal { &self.internal_upstream_rq } else { &self.external_upstream_rq }.charge(status);
    }
}
