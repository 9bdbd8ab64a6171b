//! What of a DestinationRule holds for one port and subset of a service.

use mizzen_api::networking::{
    ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget, TrafficPolicy,
    Tunnel,
};
use mizzen_model::DestinationRule;

/// The settings of one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClusterPolicy {
    pub(crate) load_balancer: Option<LoadBalancer>,
    pub(crate) connection_pool: Option<ConnectionPool>,
    pub(crate) outlier_detection: Option<OutlierDetection>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) retry_budget: Option<RetryBudget>,
}

impl ClusterPolicy {
    /// The policy of a port and subset: the subset's blocks before the rule's, whole blocks each. Settings
    /// of a port replace all four blocks together: what they leave out is default, not inherited.
    pub(crate) fn of(rule: Option<&DestinationRule>, port: u16, subset: Option<&str>) -> Self {
        let Some(rule) = rule else { return Self::default() };
        let base = rule.policy.as_deref().map(|policy| Self::of_port(policy, port)).unwrap_or_default();
        let own = subset
            .and_then(|name| rule.subset(name))
            .and_then(|subset| subset.traffic_policy.as_ref())
            .map(|policy| Self::of_port(policy, port));
        match own {
            None => base,
            Some(own) => Self {
                load_balancer: own.load_balancer.or(base.load_balancer),
                connection_pool: own.connection_pool.or(base.connection_pool),
                outlier_detection: own.outlier_detection.or(base.outlier_detection),
                tls: own.tls.or(base.tls),
                tunnel: own.tunnel.or(base.tunnel),
                proxy_protocol: own.proxy_protocol.or(base.proxy_protocol),
                retry_budget: own.retry_budget.or(base.retry_budget),
            },
        }
    }

    fn of_port(policy: &TrafficPolicy, port: u16) -> Self {
        let of_port = policy.port_level_settings.iter().find(|settings| {
            settings.port.as_ref().is_some_and(|selector| selector.number == u32::from(port))
        });
        let (load_balancer, connection_pool, outlier_detection, tls) = match of_port {
            Some(settings) => (
                settings.load_balancer.clone(),
                settings.connection_pool.clone(),
                settings.outlier_detection.clone(),
                settings.tls.clone(),
            ),
            None => (
                policy.load_balancer.clone(),
                policy.connection_pool.clone(),
                policy.outlier_detection.clone(),
                policy.tls.clone(),
            ),
        };
        Self {
            load_balancer,
            connection_pool,
            outlier_detection,
            tls,
            tunnel: policy.tunnel.clone(),
            proxy_protocol: policy.proxy_protocol.clone(),
            retry_budget: policy.retry_budget.clone(),
        }
    }

    /// Whether the endpoint is chosen by something of the request.
    pub(crate) fn hashes(&self) -> bool {
        self.load_balancer.as_ref().is_some_and(|balancer| balancer.consistent_hash.is_some())
    }
}
