//! The codes of diagnostics, which are Istio's: number, name and level are the contract, the wording is ours.

use crate::diagnostic::Level;

/// A kind of diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// The number, such as `IST0101`.
    pub id: &'static str,
    /// The name, such as `ReferencedResourceNotFound`.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
}

macro_rules! codes {
    ($($constant:ident = $id:literal $name:literal $level:ident, $what:literal;)*) => {
        $(
            #[doc = $what]
            pub const $constant: Code = Code { id: $id, name: $name, level: Level::$level };
        )*

        /// Every code that is reported.
        pub const ALL: &[Code] = &[$($constant),*];
    };
}

codes! {
    REFERENCED_RESOURCE_NOT_FOUND = "IST0101" "ReferencedResourceNotFound" Error, "A reference to something that is not there.";
    NAMESPACE_NOT_INJECTED = "IST0102" "NamespaceNotInjected" Info, "A namespace whose pods get no sidecars.";
    POD_MISSING_PROXY = "IST0103" "PodMissingProxy" Warning, "A pod without the sidecar it should have.";
    SCHEMA_VALIDATION_ERROR = "IST0106" "SchemaValidationError" Error, "An object that is not valid.";
    MISPLACED_ANNOTATION = "IST0107" "MisplacedAnnotation" Warning, "An annotation on the wrong kind of object.";
    UNKNOWN_ANNOTATION = "IST0108" "UnknownAnnotation" Warning, "An annotation of Istio's that does not exist.";
    CONFLICTING_HOSTS = "IST0109" "ConflictingMeshGatewayVirtualServiceHosts" Error, "Several VirtualServices for one host.";
    CONFLICTING_SIDECARS = "IST0110" "ConflictingSidecarWorkloadSelectors" Error, "Several Sidecars that select one workload.";
    MULTIPLE_SIDECARS = "IST0111" "MultipleSidecarsWithoutWorkloadSelectors" Error, "Several Sidecars for a whole namespace.";
    PORT_REQUIRED = "IST0112" "VirtualServiceDestinationPortSelectorRequired" Error, "A destination that does not say which of several ports.";
    DEPLOYMENT_IN_SERVICES = "IST0116" "DeploymentAssociatedToMultipleServices" Warning, "One port, several protocols, by several Services.";
    PORT_NAME = "IST0118" "PortNameIsNotUnderNamingConvention" Info, "A port whose name does not say its protocol.";
    MULTIPLE_INJECTION_LABELS = "IST0123" "NamespaceMultipleInjectionLabels" Warning, "A namespace with both labels of injection.";
    NO_MATCHING_WORKLOADS = "IST0127" "NoMatchingWorkloadsFound" Warning, "A selector that selects nothing.";
    NO_VERIFICATION = "IST0128" "NoServerCertificateVerificationDestinationLevel" Warning, "TLS to a service without authorities to check with.";
    NO_VERIFICATION_AT_PORT = "IST0129" "NoServerCertificateVerificationPortLevel" Warning, "TLS to a port without authorities to check with.";
    UNREACHABLE_RULE = "IST0130" "VirtualServiceUnreachableRule" Warning, "A rule that earlier rules leave nothing for.";
    INEFFECTIVE_MATCH = "IST0131" "VirtualServiceIneffectiveMatch" Info, "A match that earlier rules leave nothing for.";
    HOST_NOT_IN_GATEWAY = "IST0132" "VirtualServiceHostNotFoundInGateway" Warning, "A host that the gateway does not serve.";
    SCHEMA_WARNING = "IST0133" "SchemaWarning" Warning, "An object with something doubtful.";
    ADDRESSES_REQUIRED = "IST0134" "ServiceEntryAddressesRequired" Warning, "A TCP service that cannot be told from others.";
    DEPRECATED_ANNOTATION = "IST0135" "DeprecatedAnnotation" Info, "An annotation that something else supersedes.";
    CONFLICTING_PORTS = "IST0137" "DeploymentConflictingPorts" Warning, "One container port, several ports of Services.";
    LOCALHOST_LISTENER = "IST0143" "LocalhostListener" Error, "A port of a Service that the application opens for itself only.";
    CONFLICTING_GATEWAYS = "IST0145" "ConflictingGateways" Error, "Several Gateways for one host and port.";
    INVALID_TELEMETRY_PROVIDER = "IST0157" "InvalidTelemetryProvider" Warning, "A Telemetry whose provider is not there.";
    CONFLICTING_TELEMETRIES = "IST0159" "ConflictingTelemetryWorkloadSelectors" Error, "Several Telemetries that select one workload.";
    MULTIPLE_TELEMETRIES = "IST0160" "MultipleTelemetriesWithoutWorkloadSelectors" Error, "Several Telemetries for a whole namespace.";
    INVALID_CREDENTIAL = "IST0161" "InvalidGatewayCredential" Error, "A Secret that is not a certificate and key.";
    PORT_NOT_ON_SERVICE = "IST0162" "GatewayPortNotDefinedOnService" Warning, "A port of a Gateway that clients cannot reach.";
    SUBSET_SELECTS_NOTHING = "IST0173" "DestinationRuleSubsetNotSelectPods" Error, "A subset without pods.";
    UNKNOWN_RULE_HOST = "IST0174" "UnknownDestinationRuleHost" Warning, "A DestinationRule for a host that is not there.";
}
