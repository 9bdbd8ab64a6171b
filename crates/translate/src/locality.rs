//! Which localities are preferred: failover by priority, or distribution by weight.
//!
//! Envoy fails over only to a higher priority number, so priorities are dense and start at zero. Without
//! outlier detection nothing would ever leave the first priority, so failover needs it, as in Istio.

use mizzen_api::networking::{LocalityDistribute, LocalityFailover, LocalityLoadBalancer};
use mizzen_model::{Endpoint, Locality, Service, mesh::MeshConfig};

use crate::{
    context::Context,
    envoy::{self as e, core, endpoint as pb},
    traffic_policy::ClusterPolicy,
};

/// The setting that holds for a cluster, if localities matter to it at all.
pub(crate) fn effective(
    mesh: &MeshConfig,
    service: &Service,
    policy: &ClusterPolicy,
) -> Option<LocalityLoadBalancer> {
    let own = policy.load_balancer.as_ref().and_then(|balancer| balancer.locality_lb_setting.clone());
    let setting = match own {
        Some(setting) if setting.enabled == Some(false) => return None,
        Some(setting) => setting,
        None => match service.traffic_distribution.as_deref() {
            Some("PreferClose" | "PreferSameZone") => {
                let priorities = [
                    "topology.istio.io/network",
                    "topology.kubernetes.io/region",
                    "topology.kubernetes.io/zone",
                ];
                return Some(LocalityLoadBalancer {
                    failover_priority: priorities.map(str::to_owned).into(),
                    ..LocalityLoadBalancer::default()
                });
            }
            Some("PreferSameNode") => {
                let priorities = [
                    "topology.istio.io/network",
                    "topology.kubernetes.io/region",
                    "topology.kubernetes.io/zone",
                    "topology.istio.io/subzone",
                    "kubernetes.io/hostname",
                ];
                return Some(LocalityLoadBalancer {
                    failover_priority: priorities.map(str::to_owned).into(),
                    ..LocalityLoadBalancer::default()
                });
            }
            _ if mesh.locality_failover => LocalityLoadBalancer::default(),
            _ => return None,
        },
    };
    (policy.outlier_detection.is_some() || !setting.distribute.is_empty()).then_some(setting)
}

/// Orders localities by nearness to the client: same subzone, zone, region, the region to fail over to, rest.
pub(crate) fn prioritise(
    client: &Locality,
    failover: &[LocalityFailover],
    groups: &mut [pb::LocalityLbEndpoints],
) {
    if client.is_empty() {
        return;
    }
    let failover_region =
        failover.iter().find(|rule| rule.from == client.region).map(|rule| rule.to.as_str());
    let rank = |locality: &core::Locality| -> u32 {
        if locality.region != client.region {
            return match failover_region {
                Some(region) if locality.region != region => 4,
                _ => 3,
            };
        }
        match (locality.zone == client.zone, locality.sub_zone == client.subzone) {
            (false, _) => 2,
            (true, false) => 1,
            (true, true) => 0,
        }
    };
    let nowhere = core::Locality::default();
    let ranks: Vec<u32> =
        groups.iter().map(|group| rank(group.locality.as_ref().unwrap_or(&nowhere))).collect();
    let mut used = ranks.clone();
    used.sort_unstable();
    used.dedup();
    for (group, rank) in groups.iter_mut().zip(ranks) {
        let dense = used.iter().position(|known| *known == rank).unwrap_or_default();
        group.priority = u32::try_from(dense).unwrap_or(u32::MAX);
    }
}

/// Gives localities the weights of the first rule that is for the client's; a locality no rule names gets none.
pub(crate) fn distribute(
    client: &Locality,
    rules: &[LocalityDistribute],
    groups: &mut Vec<pb::LocalityLbEndpoints>,
) {
    let nowhere = core::Locality::default();
    let here = core::Locality {
        region: client.region.clone(),
        zone: client.zone.clone(),
        sub_zone: client.subzone.clone(),
    };
    let Some(rule) = rules.iter().find(|rule| matches(&rule.from, &here)) else { return };
    let mut weights: Vec<u32> = vec![0; groups.len()];
    let mut taken: Vec<bool> = vec![false; groups.len()];
    // The most specific pattern claims a locality.
    let mut targets: Vec<(&String, &u32)> = rule.to.iter().collect();
    targets.sort_by_key(|(pattern, _)| {
        std::cmp::Reverse(pattern.matches('/').count() * 2 + usize::from(!pattern.ends_with('*')))
    });
    for (pattern, share) in targets {
        let members: Vec<usize> = groups
            .iter()
            .enumerate()
            .filter(|(index, group)| {
                !taken.get(*index).copied().unwrap_or(true)
                    && matches(pattern, group.locality.as_ref().unwrap_or(&nowhere))
            })
            .map(|(index, _)| index)
            .collect();
        let endpoints: usize =
            members.iter().filter_map(|index| groups.get(*index)).map(|g| g.lb_endpoints.len()).sum();
        for index in members {
            let size = groups.get(index).map_or(0, |group| group.lb_endpoints.len());
            // A pattern's share is split among its localities by their number of endpoints. Scaled so that
            // rounding does not matter.
            let weight = (*share as usize * 1000 * size).checked_div(endpoints).unwrap_or_default();
            if let (Some(slot), Some(flag)) = (weights.get_mut(index), taken.get_mut(index)) {
                *slot = u32::try_from(weight).unwrap_or(u32::MAX);
                *flag = true;
            }
        }
    }
    for (group, weight) in groups.iter_mut().zip(weights) {
        group.load_balancing_weight = Some(e::uint32(weight));
    }
    groups.retain(|group| group.load_balancing_weight.as_ref().is_some_and(|weight| weight.value > 0));
}

/// Whether a locality is within `region[/zone[/subzone]]`, each of which may be `*`.
fn matches(pattern: &str, locality: &core::Locality) -> bool {
    let parts = [&locality.region, &locality.zone, &locality.sub_zone];
    pattern.split('/').zip(parts).all(|(wanted, part)| wanted == "*" || wanted == part)
}

/// How many of the labels, in order, a client and an endpoint have in common. `label=value` asks for the
/// value of the endpoint alone.
pub(crate) fn labels_in_common(priorities: &[String], context: &Context<'_>, endpoint: &Endpoint) -> usize {
    let same = |priority: &&String| match priority.split_once('=') {
        Some((label, value)) => label_of_endpoint(label, endpoint).as_deref() == Some(value),
        None => label_of_client(priority, context) == label_of_endpoint(priority, endpoint),
    };
    priorities.iter().take_while(same).count()
}

fn label_of_endpoint(label: &str, endpoint: &Endpoint) -> Option<String> {
    let workload = &endpoint.workload;
    let own = workload.labels.get(label).cloned();
    own.or_else(|| well_known(label, &workload.locality, &workload.node, &workload.network))
}

fn label_of_client(label: &str, context: &Context<'_>) -> Option<String> {
    let own = context.scope.labels().get(label).cloned();
    own.or_else(|| well_known(label, &context.locality, &context.proxy.node, ""))
}

fn well_known(label: &str, locality: &Locality, node: &str, network: &str) -> Option<String> {
    let value = match label {
        "topology.kubernetes.io/region" => locality.region.as_str(),
        "topology.kubernetes.io/zone" => &locality.zone,
        "topology.istio.io/subzone" => &locality.subzone,
        "kubernetes.io/hostname" => node,
        "topology.istio.io/network" => network,
        _ => return None,
    };
    (!value.is_empty()).then(|| value.to_owned())
}
