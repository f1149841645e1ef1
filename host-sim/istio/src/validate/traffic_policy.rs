//! `trafficPolicy`, at the level of a rule, a subset or a port.

use super::{Check, name};
use crate::resource::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, H2UpgradePolicy, LoadBalancer, OutlierDetection, TrafficPolicy, Tunnel,
};

impl<T> Check<'_, T> {
    pub(crate) fn traffic_policy(&mut self, path: &str, policy: &TrafficPolicy) {
        if *policy == TrafficPolicy::default() {
            return self.refuse(path, "traffic policy must have at least one field");
        }
        if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
            return self.refuse(path, "tunnel and proxyProtocol must not be set together");
        }
        self.blocks(
            path,
            policy.load_balancer.as_ref(),
            policy.connection_pool.as_ref(),
            policy.outlier_detection.as_ref(),
            policy.tls.as_ref(),
        );
        if let Some(tunnel) = &policy.tunnel {
            self.tunnel(&format!("{path}.tunnel"), tunnel);
        }
        for (i, port) in policy.port_level_settings.iter().enumerate() {
            let path = format!("{path}.portLevelSettings[{i}]");
            self.refuse_if(port.port.is_none(), &path, "portTrafficPolicy must have valid port");
            let empty = port.load_balancer.is_none()
                && port.connection_pool.is_none()
                && port.outlier_detection.is_none()
                && port.tls.is_none();
            self.refuse_if(empty, &path, "port traffic policy must have at least one field");
            self.blocks(
                &path,
                port.load_balancer.as_ref(),
                port.connection_pool.as_ref(),
                port.outlier_detection.as_ref(),
                port.tls.as_ref(),
            );
        }
        if let Some(percent) = policy.retry_budget.as_ref().and_then(|budget| budget.percent) {
            self.refuse_if(
                !(0.0..=100.0).contains(&percent),
                &format!("{path}.retryBudget.percent"),
                "percent is not in range 0..100",
            );
        }
    }

    fn tunnel(&mut self, path: &str, tunnel: &Tunnel) {
        let known = matches!(tunnel.protocol.as_str(), "" | "CONNECT" | "POST");
        self.refuse_if(!known, path, "tunnel protocol must be \"CONNECT\" or \"POST\"");
        let host = &tunnel.target_host;
        let named = host.parse::<std::net::IpAddr>().is_ok() || name::fqdn(host).is_ok();
        self.refuse_if(!named, path, "tunnel target host must be valid FQDN or IP address");
        self.port(&format!("{path}.targetPort"), tunnel.target_port);
    }

    fn blocks(
        &mut self,
        path: &str,
        balancer: Option<&LoadBalancer>,
        pool: Option<&ConnectionPool>,
        outlier: Option<&OutlierDetection>,
        tls: Option<&ClientTls>,
    ) {
        if let Some(outlier) = outlier {
            self.outlier_detection(&format!("{path}.outlierDetection"), outlier);
        }
        if let Some(pool) = pool {
            self.connection_pool(&format!("{path}.connectionPool"), pool);
        }
        if let Some(balancer) = balancer {
            self.load_balancer(&format!("{path}.loadBalancer"), balancer);
        }
        if let Some(tls) = tls {
            self.client_tls(&format!("{path}.tls"), tls);
        }
    }

    pub(crate) fn outlier_detection(&mut self, path: &str, outlier: &OutlierDetection) {
        self.duration(&format!("{path}.baseEjectionTime"), outlier.base_ejection_time);
        self.duration(&format!("{path}.interval"), outlier.interval);
        let split_missing =
            !outlier.split_external_local_origin_errors && outlier.consecutive_local_origin_failures.unwrap_or(0) > 0;
        let reason = "outlier detection consecutive local origin failures is specified, but split external local origin errors is set to false";
        self.refuse_if(split_missing, path, reason);
        let strange = outlier.http_error_codes.iter().find(|code| !(100..=599).contains(*code));
        if let Some(code) = strange {
            self.refuse(
                &format!("{path}.outlierDetectionHttpErrorCodes"),
                format!("{code} is no HTTP status (100..599)"),
            );
        }
        for (field, percent) in
            [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)]
        {
            self.refuse_if(
                !(0..=100).contains(&percent),
                &format!("{path}.{field}"),
                &format!("percentage {percent} is not in range 0..100"),
            );
        }
    }

    pub(crate) fn connection_pool(&mut self, path: &str, pool: &ConnectionPool) {
        if pool.http.is_none() && pool.tcp.is_none() {
            return self.refuse(path, "connection pool must have at least one field");
        }
        if let Some(http) = &pool.http {
            let path = format!("{path}.http");
            for (value, field, what) in [
                (http.http1_max_pending_requests, "http1MaxPendingRequests", "http1 max pending requests"),
                (http.http2_max_requests, "http2MaxRequests", "http2 max requests"),
                (http.max_requests_per_connection, "maxRequestsPerConnection", "max requests per connection"),
                (http.max_retries, "maxRetries", "max retries"),
                (http.max_concurrent_streams, "maxConcurrentStreams", "max concurrent streams"),
            ] {
                self.refuse_if(value < 0, &format!("{path}.{field}"), &format!("{what} must be non-negative"));
            }
            self.duration(&format!("{path}.idleTimeout"), http.idle_timeout);
            let both = http.h2_upgrade_policy == H2UpgradePolicy::Upgrade && http.use_client_protocol;
            self.refuse_if(both, &path, "use client protocol must not be true when H2UpgradePolicy is UPGRADE");
            if let Some(keepalive) = &http.http2_keep_alive {
                let path = format!("{path}.http2KeepAlive");
                self.refuse_if(keepalive.interval.is_none(), &path, "http2 keepalive interval is required");
                self.refuse_if(keepalive.timeout.is_none(), &path, "http2 keepalive timeout is required");
                self.duration(&format!("{path}.interval"), keepalive.interval);
                self.duration(&format!("{path}.timeout"), keepalive.timeout);
            }
        }
        if let Some(tcp) = &pool.tcp {
            let path = format!("{path}.tcp");
            self.refuse_if(
                tcp.max_connections < 0,
                &format!("{path}.maxConnections"),
                "max connections must be non-negative",
            );
            self.duration(&format!("{path}.connectTimeout"), tcp.connect_timeout);
            self.duration(&format!("{path}.maxConnectionDuration"), tcp.max_connection_duration);
            // 0s switches the timeout off.
            self.duration(&format!("{path}.idleTimeout"), tcp.idle_timeout.filter(|timeout| timeout.0 != 0));
            if let Some(keepalive) = &tcp.tcp_keepalive {
                self.duration(&format!("{path}.tcpKeepalive.time"), keepalive.time);
                self.duration(&format!("{path}.tcpKeepalive.interval"), keepalive.interval);
            }
        }
    }

    fn load_balancer(&mut self, path: &str, balancer: &LoadBalancer) {
        self.refuse_if(
            balancer.simple.is_some() && balancer.consistent_hash.is_some(),
            path,
            "only one of simple, consistentHash can be set",
        );
        let both = balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some();
        self.refuse_if(both, path, "only one of localityLbSetting and zoneAwareLbSetting can be set");
        if let Some(setting) = &balancer.locality_lb_setting {
            self.locality(&format!("{path}.localityLbSetting"), setting);
        }
        if let Some(setting) = &balancer.zone_aware_lb_setting {
            self.zone_aware(&format!("{path}.zoneAwareLbSetting"), setting);
        }
        if let Some(hash) = &balancer.consistent_hash {
            self.consistent_hash(&format!("{path}.consistentHash"), hash);
        }
        if let Some(warmup) = &balancer.warmup {
            let path = format!("{path}.warmup");
            self.duration(&format!("{path}.duration"), warmup.duration);
            let percent = warmup.minimum_percent.unwrap_or(0.0);
            let reason = "minimumPercent value should be between 0 and 100";
            self.refuse_if(!(0.0..=100.0).contains(&percent), &path, reason);
            self.refuse_if(
                warmup.aggression.is_some_and(|value| value <= 0.0),
                &path,
                "aggression should be greater than 0",
            );
        }
    }

    fn consistent_hash(&mut self, path: &str, hash: &crate::resource::destination_rule::ConsistentHash) {
        let keys = [
            hash.http_header_name.is_some(),
            hash.http_cookie.is_some(),
            hash.use_source_ip.is_some(),
            hash.http_query_parameter_name.is_some(),
        ];
        let reason = "only one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName can be set";
        self.refuse_if(keys.iter().filter(|set| **set).count() > 1, path, reason);
        self.refuse_if(
            hash.ring_hash.is_some() && hash.maglev.is_some(),
            path,
            "only one of ringHash, maglev can be set",
        );
        let reason = "only one of MinimumRingSize or Maglev/Ringhash can be specified";
        self.refuse_if(
            hash.minimum_ring_size != 0 && (hash.ring_hash.is_some() || hash.maglev.is_some()),
            path,
            reason,
        );
        if let Some(cookie) = &hash.http_cookie {
            let path = format!("{path}.httpCookie");
            self.refuse_if(cookie.name.is_empty(), &path, "name required for HttpCookie");
            for (i, attribute) in cookie.attributes.iter().enumerate() {
                let twice = cookie.attributes.iter().take(i).any(|earlier| earlier.name == attribute.name);
                self.refuse_if(attribute.name.is_empty(), &path, "cookie attribute name cannot be empty");
                self.refuse_if(twice, &path, &format!("duplicate cookie attribute name: {}", attribute.name));
            }
        }
        if let Some(maglev) = &hash.maglev {
            let path = format!("{path}.maglev.tableSize");
            self.refuse_if(maglev.table_size == 0, &path, "tableSize must be set for maglev");
            self.refuse_if(maglev.table_size >= 5_000_011, &path, "tableSize must be less than 5000011 for maglev");
            self.refuse_if(!is_prime(maglev.table_size), &path, "tableSize must be a prime number for maglev");
        }
    }

    fn client_tls(&mut self, path: &str, tls: &ClientTls) {
        let own_files =
            [&tls.client_certificate, &tls.private_key, &tls.ca_certificates].iter().any(|file| !file.is_empty());
        if tls.insecure_skip_verify == Some(true) && matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) {
            let credential = tls.mode == ClientTlsMode::Simple && !tls.credential_name.is_empty();
            let given = !tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty() || credential;
            self.refuse_if(given, path, "cannot specify CaCertificates or CredentialName or SubjectAltNames when InsecureSkipVerify is set true");
        }
        match tls.mode {
            ClientTlsMode::Simple | ClientTlsMode::Mutual if !tls.credential_name.is_empty() => {
                let given = own_files || !tls.ca_crl.is_empty();
                self.refuse_if(
                    given,
                    path,
                    "cannot specify client certificates or CA certificate or CA CRL If credentialName is set",
                );
            }
            ClientTlsMode::Mutual => {
                self.refuse_if(tls.client_certificate.is_empty(), path, "client certificate required for mutual tls");
                self.refuse_if(tls.private_key.is_empty(), path, "private key required for mutual tls");
            }
            _ => {}
        }
    }
}

/// As Envoy counts primes for Maglev tables; 1, 2 and 3 pass.
fn is_prime(number: u64) -> bool {
    if number != 0 && number < 4 {
        return true;
    }
    !number.is_multiple_of(2)
        && (3..)
            .step_by(2)
            .take_while(|factor: &u64| factor * factor <= number)
            .all(|factor| !number.is_multiple_of(factor))
}
