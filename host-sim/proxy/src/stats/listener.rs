//! `listener.<address>.`: sockets and handshakes. An address is written with `_` for `:`.

group! {
    /// One worker's share of a listener.
    ListenerStats {
        connections_accepted_per_socket_event: Histogram,
        downstream_cx_active: Gauge,
        downstream_cx_destroy: Counter,
        downstream_cx_length_ms: Histogram,
        downstream_cx_overflow: Counter,
        downstream_cx_overload_reject: Counter,
        downstream_cx_total: Counter,
        downstream_cx_transport_socket_connect_timeout: Counter,
        downstream_global_cx_overflow: Counter,
        downstream_listener_filter_error: Counter,
        downstream_listener_filter_remote_close: Counter,
        downstream_pre_cx_active: Gauge,
        downstream_pre_cx_timeout: Counter,
        no_filter_chain_match: Counter,
    }
}

group! {
    /// `listener.<address>.worker_<n>.`: how evenly the kernel deals connections.
    WorkerStats {
        downstream_cx_active: Gauge,
        downstream_cx_total: Counter,
    }
}

group! {
    /// `ssl.` below a listener or a cluster: handshakes. `ciphers`, `curves`, `versions` and `sigalgs` are not kept.
    TlsStats {
        connection_error: Counter,
        fail_verify_cert_hash: Counter,
        fail_verify_error: Counter,
        fail_verify_no_cert: Counter,
        fail_verify_san: Counter,
        handshake: Counter,
        no_certificate: Counter,
        session_reused: Counter,
    }
}
