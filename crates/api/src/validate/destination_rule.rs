//! What makes a DestinationRule valid.

use super::{
    findings::Findings,
    load_balancer,
    names::{check_destination_host, check_export_to, check_labels, check_port, is_dns_label},
    tls::check_client_tls,
};
use crate::networking::{
    ClientTls, ConnectionPool, DestinationRule, HttpPool, LoadBalancer, OutlierDetection, TrafficPolicy,
    Tunnel,
};

pub(super) fn check(spec: &DestinationRule, findings: &mut Findings) {
    check_destination_host(&spec.host, "spec.host", findings);
    if let Some(policy) = &spec.traffic_policy {
        check_traffic_policy(policy, "spec.trafficPolicy", findings);
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{index}]");
        if !is_dns_label(&subset.name) {
            let message =
                format!("{:?} is not the name of a subset; use letters, digits and hyphens", subset.name);
            findings.error(format!("{path}.name"), message);
        }
        check_labels(&subset.labels, &format!("{path}.labels"), findings);
        if let Some(policy) = &subset.traffic_policy {
            check_traffic_policy(policy, &format!("{path}.trafficPolicy"), findings);
        }
    }
    let name_path = |index| format!("spec.subsets[{index}].name");
    findings.unique(&spec.subsets, |subset| Some(subset.name.clone()), name_path, "the subset");
    check_export_to(&spec.export_to, findings);
    if let Some(selector) = &spec.workload_selector {
        check_labels(&selector.match_labels, "spec.workloadSelector.matchLabels", findings);
    }
}

fn check_traffic_policy(policy: &TrafficPolicy, path: &str, findings: &mut Findings) {
    if *policy == TrafficPolicy::default() {
        findings.error(path, "is empty; set a policy or take it out");
    }
    check_blocks(
        (&policy.load_balancer, &policy.connection_pool, &policy.outlier_detection, &policy.tls),
        path,
        findings,
    );
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        match &settings.port {
            Some(port) => check_port(port.number, &format!("{path}.port.number"), findings),
            None => {
                findings.error(format!("{path}.port"), "is required; say which port the settings are for")
            }
        }
        check_blocks(
            (&settings.load_balancer, &settings.connection_pool, &settings.outlier_detection, &settings.tls),
            &path,
            findings,
        );
    }
    findings.unique(
        &policy.port_level_settings,
        |settings| settings.port.as_ref().map(|port| port.number.to_string()),
        |index| format!("{path}.portLevelSettings[{index}].port.number"),
        "the port",
    );
    if let Some(tunnel) = &policy.tunnel {
        check_tunnel(tunnel, &format!("{path}.tunnel"), findings);
    }
}

/// The blocks that a policy of all ports and one of a single port share.
type Blocks<'a> = (
    &'a Option<LoadBalancer>,
    &'a Option<ConnectionPool>,
    &'a Option<OutlierDetection>,
    &'a Option<ClientTls>,
);

fn check_blocks((balancer, pool, outliers, tls): Blocks<'_>, path: &str, findings: &mut Findings) {
    if let Some(balancer) = balancer {
        load_balancer::check(balancer, outliers.is_some(), &format!("{path}.loadBalancer"), findings);
    }
    if let Some(pool) = pool {
        check_connection_pool(pool, &format!("{path}.connectionPool"), findings);
    }
    if let Some(outliers) = outliers {
        check_outlier_detection(outliers, &format!("{path}.outlierDetection"), findings);
    }
    if let Some(tls) = tls {
        check_client_tls(tls, &format!("{path}.tls"), findings);
    }
}

/// Checks limits on connections and requests.
pub(super) fn check_connection_pool(pool: &ConnectionPool, path: &str, findings: &mut Findings) {
    if pool.tcp.is_none() && pool.http.is_none() {
        findings.error(path, "is empty; set tcp or http");
    }
    if let Some(http) = &pool.http {
        check_http_pool(http, &format!("{path}.http"), findings);
    }
}

fn check_http_pool(pool: &HttpPool, path: &str, findings: &mut Findings) {
    if *pool == HttpPool::default() {
        findings.error(path, "is empty; set a limit or take it out");
    }
    if pool.use_client_protocol && pool.h2_upgrade_policy == Some(crate::networking::H2UpgradePolicy::Upgrade)
    {
        findings.error(path, "cannot both upgrade to HTTP/2 and use the client's protocol; set only one");
    }
}

fn check_outlier_detection(outliers: &OutlierDetection, path: &str, findings: &mut Findings) {
    if outliers.consecutive_errors.is_some() {
        findings.warning(format!("{path}.consecutiveErrors"), "is superseded; use consecutive5xxErrors");
    }
    if outliers.consecutive_local_origin_failures.is_some() && !outliers.split_external_local_origin_errors {
        let message = "is used only with splitExternalLocalOriginErrors: true";
        findings.error(format!("{path}.consecutiveLocalOriginFailures"), message);
    }
}

fn check_tunnel(tunnel: &Tunnel, path: &str, findings: &mut Findings) {
    if let Some(protocol) =
        tunnel.protocol.as_deref().filter(|protocol| !["CONNECT", "POST"].contains(protocol))
    {
        findings.error(format!("{path}.protocol"), format!("{protocol:?} is not CONNECT or POST"));
    }
    check_destination_host(&tunnel.target_host, &format!("{path}.targetHost"), findings);
    check_port(tunnel.target_port, &format!("{path}.targetPort"), findings);
}
