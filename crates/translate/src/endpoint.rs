//! Endpoints: `ClusterLoadAssignment`s, by locality and priority.

use std::collections::BTreeMap;

use mizzen_api::networking::LocalityLoadBalancer;
use mizzen_model::{
    DestinationRule, Endpoint, EndpointAddress, Labels, Locality, Scope, ServerTls, Service,
    workload::selects,
};

use crate::{
    context::Context,
    envoy::{self as e, core, endpoint as pb},
    locality,
    traffic_policy::ClusterPolicy,
};

/// The key under which endpoints say how they are spoken to.
pub(crate) const TRANSPORT_SOCKET_MATCH: &str = "envoy.transport_socket_match";

/// The endpoints of a cluster, or nothing where the client does not see the service or port.
pub(crate) fn of_cluster(
    context: &Context<'_>,
    port: u16,
    subset: &str,
    host: &mizzen_model::Host,
) -> Option<pb::ClusterLoadAssignment> {
    let service = context.scope.service(host)?;
    service.port(port).filter(|_| context.scope.sees_port(service, port))?;
    let rule = context.scope.destination_rule(service);
    let name = crate::name::outbound_cluster(port, subset, host);
    Some(assignment(
        context,
        service,
        port,
        (!subset.is_empty()).then_some(subset),
        rule.map(|rule| &**rule),
        name,
    ))
}

/// The endpoints of a service's port and subset.
pub(crate) fn assignment(
    context: &Context<'_>,
    service: &Service,
    port: u16,
    subset: Option<&str>,
    rule: Option<&DestinationRule>,
    cluster_name: String,
) -> pb::ClusterLoadAssignment {
    let labels = match (subset, rule.and_then(|rule| rule.subset(subset?))) {
        (None, _) => Some(Labels::new()),
        (Some(_), found) => found.map(|subset| subset.labels.clone()),
    };
    let policy = ClusterPolicy::of(rule, port, subset);
    let endpoints = context.scope.snapshot().endpoints(&service.key());
    let endpoints = endpoints.map_or(&[][..], |endpoints| endpoints.of_port(port));
    let selected = endpoints
        .iter()
        .filter(|endpoint| labels.as_ref().is_some_and(|labels| selects(labels, &endpoint.workload.labels)));
    let mut localities: BTreeMap<&Locality, Vec<pb::LbEndpoint>> = BTreeMap::new();
    let mut by_labels: Vec<(&Endpoint, pb::LbEndpoint)> = Vec::new();
    for endpoint in selected {
        let encoded = lb_endpoint(&context.scope, endpoint);
        by_labels.push((endpoint, encoded.clone()));
        localities.entry(&endpoint.workload.locality).or_default().push(encoded);
    }
    let setting = locality::effective(context.scope.snapshot().mesh(), service, &policy);
    let groups = match &setting {
        Some(setting) if !setting.failover_priority.is_empty() => {
            by_failover_priority(context, &setting.failover_priority, by_labels)
        }
        _ => localities.into_iter().map(|(locality, endpoints)| group(locality, endpoints)).collect(),
    };
    let mut assignment = pb::ClusterLoadAssignment { cluster_name, endpoints: groups, ..Default::default() };
    if let Some(setting) = setting.filter(|setting| setting.failover_priority.is_empty()) {
        apply_setting(context, &setting, &mut assignment);
    }
    assignment
}

fn apply_setting(
    context: &Context<'_>,
    setting: &LocalityLoadBalancer,
    assignment: &mut pb::ClusterLoadAssignment,
) {
    if setting.distribute.is_empty() {
        locality::prioritise(&context.locality, &setting.failover, &mut assignment.endpoints);
    } else {
        locality::distribute(&context.locality, &setting.distribute, &mut assignment.endpoints);
    }
}

fn group(locality: &Locality, endpoints: Vec<pb::LbEndpoint>) -> pb::LocalityLbEndpoints {
    let weight = endpoints
        .iter()
        .filter_map(|endpoint| endpoint.load_balancing_weight.as_ref())
        .map(|w| w.value)
        .sum();
    pb::LocalityLbEndpoints {
        locality: (!locality.is_empty()).then(|| core::Locality {
            region: locality.region.clone(),
            zone: locality.zone.clone(),
            sub_zone: locality.subzone.clone(),
        }),
        lb_endpoints: endpoints,
        load_balancing_weight: Some(e::uint32(weight)),
        ..Default::default()
    }
}

/// Groups by how many of the labels, in order, an endpoint has in common with the client.
fn by_failover_priority(
    context: &Context<'_>,
    priorities: &[String],
    endpoints: Vec<(&Endpoint, pb::LbEndpoint)>,
) -> Vec<pb::LocalityLbEndpoints> {
    let mut groups: BTreeMap<(usize, Locality), Vec<pb::LbEndpoint>> = BTreeMap::new();
    for (endpoint, encoded) in endpoints {
        let matched = locality::labels_in_common(priorities, context, endpoint);
        groups
            .entry((priorities.len() - matched, endpoint.workload.locality.clone()))
            .or_default()
            .push(encoded);
    }
    let mut ranks: Vec<usize> = groups.keys().map(|(rank, _)| *rank).collect();
    ranks.dedup();
    // Envoy wants priorities without gaps.
    let dense = |rank: usize| ranks.iter().position(|known| *known == rank).unwrap_or_default();
    groups
        .into_iter()
        .map(|((rank, locality), endpoints)| pb::LocalityLbEndpoints {
            priority: u32::try_from(dense(rank)).unwrap_or(u32::MAX),
            ..group(&locality, endpoints)
        })
        .collect()
}

fn lb_endpoint(scope: &Scope, endpoint: &Endpoint) -> pb::LbEndpoint {
    let workload = &endpoint.workload;
    let mesh = scope.snapshot().mesh();
    let described = format!(
        "{};{};{};{};{}",
        workload.workload_name,
        workload.namespace,
        workload.canonical_name(),
        workload.canonical_revision(),
        "Kubernetes"
    );
    let mut metadata = e::metadata("istio", e::structure([("workload", e::string_value(described))]));
    if mesh.auto_mtls && accepts_mutual_tls(scope, endpoint) {
        let mode = e::structure([("tlsMode", e::string_value("istio"))]);
        metadata.filter_metadata.insert(TRANSPORT_SOCKET_MATCH.to_owned(), mode);
    }
    let address = match &endpoint.address {
        EndpointAddress::Ip(address) => e::socket_address(address, endpoint.port),
        EndpointAddress::Dns(host) => e::socket_address(host, endpoint.port),
        EndpointAddress::Unix(path) => e::pipe(path),
    };
    pb::LbEndpoint {
        health_status: core::HealthStatus::Healthy as i32,
        metadata: Some(metadata),
        load_balancing_weight: Some(e::uint32(endpoint.weight)),
        host_identifier: Some(pb::lb_endpoint::HostIdentifier::Endpoint(pb::Endpoint {
            address: Some(address),
            ..Default::default()
        })),
    }
}

/// Whether an endpoint is spoken to by mutual TLS: it has a sidecar, and that does not refuse it.
fn accepts_mutual_tls(scope: &Scope, endpoint: &Endpoint) -> bool {
    let workload = &endpoint.workload;
    workload.meshed
        && scope.snapshot().peer_policy(&workload.namespace, &workload.labels).of_port(endpoint.port)
            != ServerTls::Disable
}
