//! The traffic policy that holds for one cluster, block by block.

use crate::{
    resource::destination_rule::{
        ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget, Subset, TrafficPolicy,
    },
    translate::{Context, destination_rules::MergedRule},
};

/// The blocks in effect.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy<'p> {
    pub(super) load_balancer: Option<&'p LoadBalancer>,
    pub(super) connection_pool: Option<&'p ConnectionPool>,
    pub(super) outlier_detection: Option<&'p OutlierDetection>,
    pub(super) tls: Option<&'p ClientTls>,
    pub(super) proxy_protocol: Option<&'p ProxyProtocol>,
    pub(super) retry_budget: Option<&'p RetryBudget>,
}

impl<'p> Policy<'p> {
    /// The rule's policy for the port, the mesh's default under it, the subset's over it. A port's settings take the place of the level they
    /// stand in: what they leave out is back at its default.
    pub(super) fn new(
        context: &Context<'p>,
        rule: Option<&MergedRule<'p>>,
        subset: Option<&'p Subset>,
        port: u32,
    ) -> Self {
        let mut policy =
            rule.and_then(|rule| rule.policy).map_or_else(Self::default, |policy| Self::at_level(policy, port).0);
        if let Some(default) = &context.resources.mesh.default_traffic_policy {
            policy.connection_pool = policy.connection_pool.or(default.connection_pool.as_ref());
            policy.outlier_detection = policy.outlier_detection.or(default.outlier_detection.as_ref());
        }
        match subset.and_then(|subset| subset.traffic_policy.as_ref()) {
            Some(own) => policy.overridden_by(Self::at_level(own, port)),
            None => policy,
        }
    }

    /// One level's blocks, and whether they are a port's.
    fn at_level(policy: &'p TrafficPolicy, port: u32) -> (Self, bool) {
        let mut settings = policy.port_level_settings.iter();
        let own = settings.find(|settings| settings.port.as_ref().is_some_and(|selector| selector.number == port));
        if let Some(own) = own {
            let blocks = Self {
                load_balancer: own.load_balancer.as_ref(),
                connection_pool: own.connection_pool.as_ref(),
                outlier_detection: own.outlier_detection.as_ref(),
                tls: own.tls.as_ref(),
                ..Self::default()
            };
            return (blocks, true);
        }
        let blocks = Self {
            load_balancer: policy.load_balancer.as_ref(),
            connection_pool: policy.connection_pool.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
            tls: policy.tls.as_ref(),
            proxy_protocol: policy.proxy_protocol.as_ref(),
            retry_budget: policy.retry_budget.as_ref(),
        };
        (blocks, false)
    }

    fn overridden_by(self, (own, is_port): (Self, bool)) -> Self {
        fn pick<T>(own: Option<T>, below: Option<T>, is_port: bool) -> Option<T> {
            if is_port { own } else { own.or(below) }
        }
        Self {
            load_balancer: pick(own.load_balancer, self.load_balancer, is_port),
            connection_pool: pick(own.connection_pool, self.connection_pool, is_port),
            outlier_detection: pick(own.outlier_detection, self.outlier_detection, is_port),
            tls: pick(own.tls, self.tls, is_port),
            proxy_protocol: own.proxy_protocol.or(self.proxy_protocol),
            retry_budget: own.retry_budget.or(self.retry_budget),
        }
    }

    /// Hosts below this share of health are all used; Istio switches that off unless asked.
    pub(super) fn min_health_percent(&self) -> f64 {
        self.outlier_detection.map_or(0.0, |outlier| f64::from(outlier.min_health_percent.max(0)))
    }
}
