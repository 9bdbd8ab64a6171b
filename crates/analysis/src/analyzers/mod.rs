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
mod service_port_names;
mod virtual_service_destinations;
mod virtual_service_gateways;
mod virtual_service_hosts;
mod virtual_service_matches;

use crate::{registry::Registry, report::Report, world::World};

/// Looks at the objects and reports what it finds.
type Analyzer = fn(&World, &Registry<'_>, &mut Report);

/// All analyzers. The order does not matter, as diagnostics are sorted.
pub(crate) const ALL: [Analyzer; 18] = [
    annotations::analyze,
    deployment_ports::analyze,
    destination_rule_hosts::analyze,
    destination_rule_tls::analyze,
    gateway_conflicts::analyze,
    gateway_credentials::analyze,
    gateway_ports::analyze,
    gateway_selectors::analyze,
    injection::analyze,
    per_namespace::analyze,
    policy_selectors::analyze,
    schema::analyze,
    service_entry_addresses::analyze,
    service_port_names::analyze,
    virtual_service_destinations::analyze,
    virtual_service_gateways::analyze,
    virtual_service_hosts::analyze,
    virtual_service_matches::analyze,
];
