//! What is said once for the process: `server.`, `cluster_manager.`, `listener_manager.`, `access_log.`.

group! {
    /// `server.`
    ServerStats {
        concurrency: Gauge,
        days_until_first_cert_expiring: Gauge,
        live: Gauge,
        state: Gauge,
        total_connections: Gauge,
        uptime: Gauge,
    }
}

group! {
    /// `cluster_manager.`
    ClusterManagerStats {
        active_clusters: Gauge,
        cluster_added: Counter,
        cluster_modified: Counter,
        cluster_removed: Counter,
        cluster_updated: Counter,
        warming_clusters: Gauge,
    }
}

group! {
    /// `listener_manager.`
    ListenerManagerStats {
        listener_added: Counter,
        listener_create_failure: Counter,
        listener_create_success: Counter,
        listener_in_place_updated: Counter,
        listener_modified: Counter,
        listener_removed: Counter,
        listener_stopped: Counter,
        total_filter_chains_draining: Gauge,
        total_listeners_active: Gauge,
        total_listeners_draining: Gauge,
        total_listeners_warming: Gauge,
        workers_started: Gauge,
    }
}

group! {
    /// `access_log.`, not Envoy's: what became of records, over all files.
    AccessLogStats {
        records_dropped: Counter,
        records_written: Counter,
        write_failed: Counter,
    }
}

group! {
    /// `tracing.opentelemetry.`
    TracingStats {
        spans_dropped: Counter,
        spans_sent: Counter,
        timer_flushed: Counter,
    }
}
