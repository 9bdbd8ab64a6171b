//! The kinds of resource Mizzen speaks: their names, groups and versions, and how `kubectl get` shows them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Every kind of Istio's custom resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A load balancer at the edge of the mesh and the ports it opens.
    Gateway,
    /// How requests to a host are routed.
    VirtualService,
    /// What happens to traffic after routing: subsets, load balancing, limits, TLS.
    DestinationRule,
    /// A service the platform's registry does not know.
    ServiceEntry,
    /// One workload that is not a pod.
    WorkloadEntry,
    /// What the workloads of a group that are not pods have in common.
    WorkloadGroup,
    /// What a sidecar accepts and what it can reach.
    Sidecar,
    /// Patches to the Envoy configuration.
    EnvoyFilter,
    /// Settings of the proxy itself, used at injection.
    ProxyConfig,
    /// A WebAssembly extension of the proxy.
    WasmPlugin,
    /// A WebAssembly or Lua extension of the proxy.
    TrafficExtension,
    /// What mutual TLS a workload asks of its clients.
    PeerAuthentication,
    /// What JSON web tokens a workload accepts.
    RequestAuthentication,
    /// Who may do what.
    AuthorizationPolicy,
    /// Tracing, metrics and access logs.
    Telemetry,
}

/// A column `kubectl get` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrinterColumn {
    /// The heading.
    pub name: &'static str,
    /// The path of the value in the object, such as `.spec.hosts`.
    pub json_path: &'static str,
    /// The OpenAPI type: `string` or `date`.
    pub column_type: &'static str,
    /// What the column means.
    pub description: &'static str,
}

const AGE: PrinterColumn = PrinterColumn {
    name: "Age",
    json_path: ".metadata.creationTimestamp",
    column_type: "date",
    description: "How long ago the object was created.",
};

const fn column(name: &'static str, json_path: &'static str, description: &'static str) -> PrinterColumn {
    PrinterColumn { name, json_path, column_type: "string", description }
}

/// What the API knows a kind by. Source: Istio's custom resource definitions.
struct Names {
    kind: &'static str,
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
    columns: &'static [PrinterColumn],
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];

const VIRTUAL_SERVICE_COLUMNS: &[PrinterColumn] = &[
    column("Gateways", ".spec.gateways", "The gateways and sidecars that apply these routes."),
    column("Hosts", ".spec.hosts", "The hosts the routes are for."),
    AGE,
];
const DESTINATION_RULE_COLUMNS: &[PrinterColumn] =
    &[column("Host", ".spec.host", "The service the rule is for."), AGE];
const SERVICE_ENTRY_COLUMNS: &[PrinterColumn] = &[
    column("Hosts", ".spec.hosts", "The hosts of the service."),
    column("Location", ".spec.location", "Whether the service is part of the mesh."),
    column("Resolution", ".spec.resolution", "How the addresses behind the hosts are found."),
    AGE,
];
const WORKLOAD_ENTRY_COLUMNS: &[PrinterColumn] =
    &[AGE, column("Address", ".spec.address", "Where the workload is reached.")];
const PEER_AUTHENTICATION_COLUMNS: &[PrinterColumn] =
    &[column("Mode", ".spec.mtls.mode", "The mutual TLS asked of clients."), AGE];
const AUTHORIZATION_POLICY_COLUMNS: &[PrinterColumn] =
    &[column("Action", ".spec.action", "What a match leads to."), AGE];

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 15] = [
        Kind::Gateway,
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
        Kind::WorkloadGroup,
        Kind::Sidecar,
        Kind::EnvoyFilter,
        Kind::ProxyConfig,
        Kind::WasmPlugin,
        Kind::TrafficExtension,
        Kind::PeerAuthentication,
        Kind::RequestAuthentication,
        Kind::AuthorizationPolicy,
        Kind::Telemetry,
    ];

    const fn names(self) -> Names {
        const fn names(
            kind: &'static str,
            group: &'static str,
            versions: &'static [&'static str],
            (plural, singular): (&'static str, &'static str),
            short: &'static [&'static str],
            columns: &'static [PrinterColumn],
        ) -> Names {
            Names { kind, group, versions, plural, singular, short, columns }
        }
        match self {
            Kind::Gateway => {
                names("Gateway", NETWORKING, NETWORKING_VERSIONS, ("gateways", "gateway"), &["gw"], &[])
            }
            Kind::VirtualService => names(
                "VirtualService",
                NETWORKING,
                NETWORKING_VERSIONS,
                ("virtualservices", "virtualservice"),
                &["vs"],
                VIRTUAL_SERVICE_COLUMNS,
            ),
            Kind::DestinationRule => names(
                "DestinationRule",
                NETWORKING,
                NETWORKING_VERSIONS,
                ("destinationrules", "destinationrule"),
                &["dr"],
                DESTINATION_RULE_COLUMNS,
            ),
            Kind::ServiceEntry => names(
                "ServiceEntry",
                NETWORKING,
                NETWORKING_VERSIONS,
                ("serviceentries", "serviceentry"),
                &["se"],
                SERVICE_ENTRY_COLUMNS,
            ),
            Kind::WorkloadEntry => names(
                "WorkloadEntry",
                NETWORKING,
                NETWORKING_VERSIONS,
                ("workloadentries", "workloadentry"),
                &["we"],
                WORKLOAD_ENTRY_COLUMNS,
            ),
            Kind::WorkloadGroup => names(
                "WorkloadGroup",
                NETWORKING,
                NETWORKING_VERSIONS,
                ("workloadgroups", "workloadgroup"),
                &["wg"],
                &[AGE],
            ),
            Kind::Sidecar => {
                names("Sidecar", NETWORKING, NETWORKING_VERSIONS, ("sidecars", "sidecar"), &[], &[])
            }
            Kind::EnvoyFilter => {
                names("EnvoyFilter", NETWORKING, &["v1alpha3"], ("envoyfilters", "envoyfilter"), &[], &[])
            }
            Kind::ProxyConfig => {
                names("ProxyConfig", NETWORKING, &["v1beta1"], ("proxyconfigs", "proxyconfig"), &[], &[])
            }
            Kind::WasmPlugin => {
                names("WasmPlugin", EXTENSIONS, &["v1alpha1"], ("wasmplugins", "wasmplugin"), &[], &[AGE])
            }
            Kind::TrafficExtension => names(
                "TrafficExtension",
                EXTENSIONS,
                &["v1alpha1"],
                ("trafficextensions", "trafficextension"),
                &[],
                &[AGE],
            ),
            Kind::PeerAuthentication => names(
                "PeerAuthentication",
                SECURITY,
                SECURITY_VERSIONS,
                ("peerauthentications", "peerauthentication"),
                &["pa"],
                PEER_AUTHENTICATION_COLUMNS,
            ),
            Kind::RequestAuthentication => names(
                "RequestAuthentication",
                SECURITY,
                SECURITY_VERSIONS,
                ("requestauthentications", "requestauthentication"),
                &["ra"],
                &[],
            ),
            Kind::AuthorizationPolicy => names(
                "AuthorizationPolicy",
                SECURITY,
                SECURITY_VERSIONS,
                ("authorizationpolicies", "authorizationpolicy"),
                &["ap"],
                AUTHORIZATION_POLICY_COLUMNS,
            ),
            Kind::Telemetry => names(
                "Telemetry",
                TELEMETRY,
                &["v1alpha1", "v1"],
                ("telemetries", "telemetry"),
                &["telemetry"],
                &[AGE],
            ),
        }
    }

    /// The name in `kind:`.
    pub const fn name(self) -> &'static str {
        self.names().kind
    }

    /// The API group, such as `networking.istio.io`.
    pub const fn group(self) -> &'static str {
        self.names().group
    }

    /// The served versions; the first is the one objects are stored in.
    pub const fn versions(self) -> &'static [&'static str] {
        self.names().versions
    }

    /// The version objects are stored in.
    pub const fn storage_version(self) -> &'static str {
        match self.names().versions {
            [first, ..] => first,
            [] => "v1",
        }
    }

    /// The resource's name in URLs, such as `virtualservices`.
    pub const fn plural(self) -> &'static str {
        self.names().plural
    }

    /// The name of one, as `kubectl get` accepts it.
    pub const fn singular(self) -> &'static str {
        self.names().singular
    }

    /// Abbreviations `kubectl get` accepts.
    pub const fn short_names(self) -> &'static [&'static str] {
        self.names().short
    }

    /// The columns of `kubectl get`.
    pub const fn printer_columns(self) -> &'static [PrinterColumn] {
        self.names().columns
    }

    /// The groups of resources the kind is part of: `kubectl get istio-io` lists them all.
    pub fn categories(self) -> [String; 2] {
        ["istio-io".to_owned(), self.group().replace('.', "-")]
    }

    /// Whether objects live in a namespace. All of Istio's do.
    pub const fn is_namespaced(self) -> bool {
        true
    }

    /// The kind of an object with this `apiVersion` and `kind`, in any served version.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        let (group, version) = api_version.split_once('/')?;
        let found = Kind::ALL.into_iter().find(|k| k.group() == group && k.name() == kind)?;
        found.versions().contains(&version).then_some(found)
    }

    /// The kind whose resource has this group and plural name.
    pub fn of_resource(group: &str, plural: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.group() == group && k.plural() == plural)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
