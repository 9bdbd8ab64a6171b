//! Names of the annotations and labels of Istio's that mean something to Mizzen. Those that ask for
//! what Mizzen does not do are not here: their users are told so.

/// Labels.
pub mod label {
    /// On a namespace: `enabled` injects sidecars into its pods, `disabled` does not.
    pub const INJECTION: &str = "istio-injection";
    /// On a pod: `true` or `false` decides on injection, whatever the namespace says.
    pub const INJECT: &str = "sidecar.istio.io/inject";
    /// On a namespace or pod: the revision of the control plane that serves it.
    pub const REVISION: &str = "istio.io/rev";
    /// On a pod: `istio` says that it speaks the mesh's mutual TLS.
    pub const TLS_MODE: &str = "security.istio.io/tlsMode";
    /// On a workload: the name of the service it is known as in telemetry.
    pub const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
    /// On a workload: its version as telemetry has it.
    pub const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
    /// On a workload: its name, where it is not that of the controller.
    pub const WORKLOAD_NAME: &str = "service.istio.io/workload-name";
    /// On a node: the part of the zone it is in.
    pub const SUBZONE: &str = "topology.istio.io/subzone";
    /// On a namespace, pod or service: its network.
    pub const NETWORK: &str = "topology.istio.io/network";
    /// On a pod: its cluster.
    pub const CLUSTER: &str = "topology.istio.io/cluster";
    /// On a pod: its region, zone and subzone, separated by dots or slashes.
    pub const LOCALITY: &str = "istio-locality";
    /// On a ServiceEntry: `false` keeps it from being given an address.
    pub const ENABLE_AUTOALLOCATE_IP: &str = "networking.istio.io/enable-autoallocate-ip";
    /// On a namespace or pod: `ambient` or `none`; Mizzen has sidecars only.
    pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
}

/// Annotations of pods: what their sidecars are like.
pub mod pod {
    /// `true` or `false` decides on injection; the label of the same name is preferred.
    pub const INJECT: &str = "sidecar.istio.io/inject";
    /// What was injected, in JSON; set by injection.
    pub const STATUS: &str = "sidecar.istio.io/status";
    /// Overrides of the proxy's configuration, in YAML.
    pub const PROXY_CONFIG: &str = "proxy.istio.io/config";
    /// Send the application's HTTP probes through the sidecar. Default `true`.
    pub const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
    /// The image of the sidecar.
    pub const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
    /// The processor time the sidecar asks for.
    pub const PROXY_CPU: &str = "sidecar.istio.io/proxyCPU";
    /// The most processor time of the sidecar.
    pub const PROXY_CPU_LIMIT: &str = "sidecar.istio.io/proxyCPULimit";
    /// The memory the sidecar asks for.
    pub const PROXY_MEMORY: &str = "sidecar.istio.io/proxyMemory";
    /// The most memory of the sidecar.
    pub const PROXY_MEMORY_LIMIT: &str = "sidecar.istio.io/proxyMemoryLimit";
    /// The log level of the sidecar.
    pub const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
    /// The log level of the sidecar's agent.
    pub const AGENT_LOG_LEVEL: &str = "sidecar.istio.io/agentLogLevel";
    /// How connections are intercepted: `REDIRECT`, `TPROXY` or `NONE`.
    pub const INTERCEPTION_MODE: &str = "sidecar.istio.io/interceptionMode";
    /// The port of the sidecar's health and merged metrics. Default 15020.
    pub const STATUS_PORT: &str = "status.sidecar.istio.io/port";
    /// Seconds before the sidecar's first readiness probe.
    pub const READINESS_INITIAL_DELAY: &str = "readiness.status.sidecar.istio.io/initialDelaySeconds";
    /// Seconds between the sidecar's readiness probes.
    pub const READINESS_PERIOD: &str = "readiness.status.sidecar.istio.io/periodSeconds";
    /// Failures in a row before the sidecar counts as not ready.
    pub const READINESS_FAILURES: &str = "readiness.status.sidecar.istio.io/failureThreshold";
    /// Ranges whose outbound traffic is intercepted. Default `*`.
    pub const INCLUDE_OUTBOUND_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
    /// Ranges whose outbound traffic is left alone.
    pub const EXCLUDE_OUTBOUND_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
    /// Ports whose inbound traffic is intercepted. Default `*`.
    pub const INCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";
    /// Ports whose inbound traffic is left alone.
    pub const EXCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
    /// Ports whose outbound traffic is intercepted, whatever the range.
    pub const INCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
    /// Ports whose outbound traffic is left alone.
    pub const EXCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
    /// Interfaces whose traffic is left alone.
    pub const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";
    /// Merge the application's metrics with the sidecar's. Default as the mesh says.
    pub const MERGE_METRICS: &str = "prometheus.istio.io/merge-metrics";
    /// Whether Prometheus scrapes the pod.
    pub const PROMETHEUS_SCRAPE: &str = "prometheus.io/scrape";
    /// The port Prometheus scrapes.
    pub const PROMETHEUS_PORT: &str = "prometheus.io/port";
    /// The path Prometheus scrapes.
    pub const PROMETHEUS_PATH: &str = "prometheus.io/path";
    /// The injection templates of a pod; `gateway` makes it a gateway.
    pub const TEMPLATES: &str = "inject.istio.io/templates";
}

/// Annotations of services and of the mesh's own resources.
pub mod object {
    /// On a Service: the namespaces that see it, separated by commas; `~` for none.
    pub const EXPORT_TO: &str = "networking.istio.io/exportTo";
    /// On an AuthorizationPolicy: `true` only reports what it would do.
    pub const DRY_RUN: &str = "istio.io/dry-run";
    /// On anything: codes of analysis that are not reported, separated by commas; `*` for all.
    pub const ANALYZE_SUPPRESS: &str = "galley.istio.io/analyze-suppress";
    /// On a namespace, Service or ServiceEntry: which endpoints are preferred.
    pub const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
}
