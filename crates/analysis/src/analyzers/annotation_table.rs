//! The annotations of Istio's: which kinds of object they belong on.

/// On which kinds of object an annotation means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On pods, and the templates of pods.
    Pod,
    /// On Services.
    Service,
    /// On any of these kinds.
    Kinds(&'static [&'static str]),
    /// On anything.
    Any,
}

/// An annotation.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// What to use in its stead.
    pub(super) superseded_by: Option<&'static str>,
}

const fn pod(name: &'static str) -> Known {
    Known { name, place: Place::Pod, superseded_by: None }
}

const fn superseded(name: &'static str, by: &'static str) -> Known {
    Known { name, place: Place::Pod, superseded_by: Some(by) }
}

const fn on(name: &'static str, place: Place) -> Known {
    Known { name, place, superseded_by: None }
}

/// The annotation of this name.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.name == name)
}

/// The annotation that a misspelt one was meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    mizzen_api::spelling::nearest(name, TABLE.iter().map(|known| known.name))
}

/// Whether a name is one of Istio's, known or not.
pub(super) fn is_istios(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain == "istio.io" || domain.ends_with(".istio.io"))
}

static TABLE: [Known; 61] = [
    pod("prometheus.istio.io/merge-metrics"),
    on("alpha.istio.io/kubernetes-serviceaccounts", Place::Service),
    on("alpha.istio.io/canonical-serviceaccounts", Place::Service),
    on("networking.istio.io/exportTo", Place::Service),
    on("traffic.istio.io/nodeSelector", Place::Service),
    superseded("sidecar.istio.io/inject", "the label of the same name"),
    pod("sidecar.istio.io/status"),
    pod("sidecar.istio.io/rewriteAppHTTPProbers"),
    superseded(
        "sidecar.istio.io/discoveryAddress",
        "discoveryAddress in the annotation proxy.istio.io/config",
    ),
    pod("sidecar.istio.io/proxyImage"),
    pod("sidecar.istio.io/proxyImageType"),
    pod("sidecar.istio.io/proxyCPU"),
    pod("sidecar.istio.io/proxyCPULimit"),
    pod("sidecar.istio.io/proxyMemory"),
    pod("sidecar.istio.io/proxyMemoryLimit"),
    pod("sidecar.istio.io/interceptionMode"),
    pod("sidecar.istio.io/bootstrapOverride"),
    superseded(
        "sidecar.istio.io/statsInclusionPrefixes",
        "proxyStatsMatcher in the annotation proxy.istio.io/config",
    ),
    superseded(
        "sidecar.istio.io/statsInclusionSuffixes",
        "proxyStatsMatcher in the annotation proxy.istio.io/config",
    ),
    superseded(
        "sidecar.istio.io/statsInclusionRegexps",
        "proxyStatsMatcher in the annotation proxy.istio.io/config",
    ),
    pod("sidecar.istio.io/statsHistogramBuckets"),
    pod("sidecar.istio.io/statsFlushInterval"),
    pod("sidecar.istio.io/statsEvictionInterval"),
    pod("sidecar.istio.io/statsHistogramBins"),
    superseded(
        "sidecar.istio.io/statsCompression",
        "statsCompression in the annotation proxy.istio.io/config",
    ),
    superseded("sidecar.istio.io/extraStatTags", "a Telemetry resource"),
    pod("sidecar.istio.io/userVolume"),
    pod("sidecar.istio.io/userVolumeMount"),
    pod("sidecar.istio.io/logLevel"),
    pod("sidecar.istio.io/componentLogLevel"),
    pod("sidecar.istio.io/agentLogLevel"),
    pod("sidecar.istio.io/nativeSidecar"),
    pod("status.sidecar.istio.io/port"),
    pod("readiness.status.sidecar.istio.io/initialDelaySeconds"),
    pod("readiness.status.sidecar.istio.io/periodSeconds"),
    pod("readiness.status.sidecar.istio.io/failureThreshold"),
    pod("readiness.status.sidecar.istio.io/applicationPorts"),
    pod("traffic.sidecar.istio.io/includeOutboundIPRanges"),
    pod("traffic.sidecar.istio.io/excludeOutboundIPRanges"),
    pod("traffic.sidecar.istio.io/includeInboundPorts"),
    pod("traffic.sidecar.istio.io/excludeInboundPorts"),
    pod("traffic.sidecar.istio.io/excludeInterfaces"),
    pod("traffic.sidecar.istio.io/includeOutboundPorts"),
    pod("traffic.sidecar.istio.io/excludeOutboundPorts"),
    superseded("traffic.sidecar.istio.io/kubevirtInterfaces", "istio.io/reroute-virtual-interfaces"),
    pod("istio.io/reroute-virtual-interfaces"),
    pod("proxy.istio.io/config"),
    pod("proxy.istio.io/overrides"),
    pod("inject.istio.io/templates"),
    pod("istio.io/rev"),
    pod("ambient.istio.io/redirection"),
    on("galley.istio.io/analyze-suppress", Place::Any),
    on("istio.io/dry-run", Place::Kinds(&["AuthorizationPolicy"])),
    on("istio.io/autoRegistrationGroup", Place::Kinds(&["WorkloadEntry"])),
    on("istio.io/workloadController", Place::Kinds(&["WorkloadEntry"])),
    on("istio.io/connectedAt", Place::Kinds(&["WorkloadEntry"])),
    on("istio.io/disconnectedAt", Place::Kinds(&["WorkloadEntry"])),
    on("topology.istio.io/controlPlaneClusters", Place::Kinds(&["Namespace"])),
    on("networking.istio.io/service-type", Place::Kinds(&["Gateway"])),
    on("networking.istio.io/traffic-distribution", Place::Kinds(&["Namespace", "Service", "ServiceEntry"])),
    on("gateway.istio.io/controller-version", Place::Any),
];
