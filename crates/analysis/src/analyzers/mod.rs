//! One file an analyzer. Each looks at the whole and says what it finds; none knows of another.

mod annotation_table;
mod annotations;
mod deployment_ports;
mod destination_rule_hosts;
mod destination_rule_tls;
mod gateway_conflicts;
mod gateway_credentials;
mod gateway_ports;
mod gateway_selectors;
mod injection;
mod per_namespace;
mod policy_selectors;
mod schema;
mod service_entry_addresses;
mod service_listeners;
mod service_port_names;
mod telemetry_providers;
mod virtual_service_destinations;
mod virtual_service_gateways;
mod virtual_service_hosts;
mod virtual_service_matches;

use crate::{Code, code, registry::Registry, report::Report, world::World};

/// Looks at the objects for one kind of mistake.
pub struct Analyzer {
    /// The name it is chosen by, such as `virtual-service-hosts`.
    pub name: &'static str,
    /// What it looks for, in words.
    pub finds: &'static str,
    /// What it reports.
    pub codes: &'static [Code],
    pub(crate) run: fn(&World, &Registry<'_>, &mut Report),
}

/// All analyzers, by name.
pub const ALL: &[Analyzer] = &[
    Analyzer {
        name: "annotations",
        finds: "annotations of Istio's that are misspelt, misplaced or superseded",
        codes: &[code::MISPLACED_ANNOTATION, code::UNKNOWN_ANNOTATION, code::DEPRECATED_ANNOTATION],
        run: annotations::analyze,
    },
    Analyzer {
        name: "deployment-ports",
        finds: "Services that say different things of one container port",
        codes: &[code::DEPLOYMENT_IN_SERVICES, code::CONFLICTING_PORTS],
        run: deployment_ports::analyze,
    },
    Analyzer {
        name: "destination-rule-hosts",
        finds: "DestinationRules for unknown hosts, and subsets without pods",
        codes: &[code::SUBSET_SELECTS_NOTHING, code::UNKNOWN_RULE_HOST],
        run: destination_rule_hosts::analyze,
    },
    Analyzer {
        name: "destination-rule-tls",
        finds: "TLS to servers whose certificates are not checked",
        codes: &[code::NO_VERIFICATION, code::NO_VERIFICATION_AT_PORT],
        run: destination_rule_tls::analyze,
    },
    Analyzer {
        name: "gateway-conflicts",
        finds: "several Gateways for one host and port",
        codes: &[code::CONFLICTING_GATEWAYS],
        run: gateway_conflicts::analyze,
    },
    Analyzer {
        name: "gateway-credentials",
        finds: "Secrets of Gateways that are missing or not a certificate and key",
        codes: &[code::REFERENCED_RESOURCE_NOT_FOUND, code::INVALID_CREDENTIAL],
        run: gateway_credentials::analyze,
    },
    Analyzer {
        name: "gateway-ports",
        finds: "ports of Gateways that their Service does not have",
        codes: &[code::PORT_NOT_ON_SERVICE],
        run: gateway_ports::analyze,
    },
    Analyzer {
        name: "gateway-selectors",
        finds: "Gateways that select no proxy",
        codes: &[code::REFERENCED_RESOURCE_NOT_FOUND],
        run: gateway_selectors::analyze,
    },
    Analyzer {
        name: "injection",
        finds: "namespaces and pods without sidecars",
        codes: &[code::NAMESPACE_NOT_INJECTED, code::POD_MISSING_PROXY, code::MULTIPLE_INJECTION_LABELS],
        run: injection::analyze,
    },
    Analyzer {
        name: "per-namespace",
        finds: "several Sidecars or Telemetries where only one is used",
        codes: &[
            code::CONFLICTING_SIDECARS,
            code::MULTIPLE_SIDECARS,
            code::CONFLICTING_TELEMETRIES,
            code::MULTIPLE_TELEMETRIES,
        ],
        run: per_namespace::analyze,
    },
    Analyzer {
        name: "policy-selectors",
        finds: "policies that select no workload",
        codes: &[code::NO_MATCHING_WORKLOADS],
        run: policy_selectors::analyze,
    },
    Analyzer {
        name: "schema",
        finds: "objects that are not valid, or doubtful",
        codes: &[code::SCHEMA_VALIDATION_ERROR, code::SCHEMA_WARNING],
        run: schema::analyze,
    },
    Analyzer {
        name: "service-entry-addresses",
        finds: "TCP services outside the mesh that have no address",
        codes: &[code::ADDRESSES_REQUIRED],
        run: service_entry_addresses::analyze,
    },
    Analyzer {
        name: "service-listeners",
        finds: "ports that applications of a live mesh open on their loopback only",
        codes: &[code::LOCALHOST_LISTENER],
        run: service_listeners::analyze,
    },
    Analyzer {
        name: "service-port-names",
        finds: "ports whose names do not say what is spoken there",
        codes: &[code::PORT_NAME],
        run: service_port_names::analyze,
    },
    Analyzer {
        name: "telemetry-providers",
        finds: "Telemetry without a provider that the mesh has",
        codes: &[code::INVALID_TELEMETRY_PROVIDER],
        run: telemetry_providers::analyze,
    },
    Analyzer {
        name: "virtual-service-destinations",
        finds: "destinations whose host, port or subset is not there",
        codes: &[code::REFERENCED_RESOURCE_NOT_FOUND, code::PORT_REQUIRED],
        run: virtual_service_destinations::analyze,
    },
    Analyzer {
        name: "virtual-service-gateways",
        finds: "VirtualServices for Gateways that are not there or do not serve their hosts",
        codes: &[code::REFERENCED_RESOURCE_NOT_FOUND, code::HOST_NOT_IN_GATEWAY],
        run: virtual_service_gateways::analyze,
    },
    Analyzer {
        name: "virtual-service-hosts",
        finds: "several VirtualServices for one host",
        codes: &[code::CONFLICTING_HOSTS],
        run: virtual_service_hosts::analyze,
    },
    Analyzer {
        name: "virtual-service-matches",
        finds: "rules and matches that earlier rules leave nothing for",
        codes: &[code::UNREACHABLE_RULE, code::INEFFECTIVE_MATCH],
        run: virtual_service_matches::analyze,
    },
];
