//! TLS to a service (IST0128) or one of its ports (IST0129) without authorities to check its certificate with.

use mizzen_api::{
    Config, Spec,
    networking::{ClientTls, ClientTlsMode, TrafficPolicy},
};

use crate::{
    Code, code,
    registry::Registry,
    report::Report,
    world::{Item, World},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for item in world.configs() {
        let Spec::DestinationRule(rule) = &item.value.spec else { continue };
        if let Some(policy) = &rule.traffic_policy {
            check_policy(item, policy, "spec.trafficPolicy", report);
        }
        for (index, subset) in rule.subsets.iter().enumerate() {
            if let Some(policy) = &subset.traffic_policy {
                check_policy(item, policy, &format!("spec.subsets[{index}].trafficPolicy"), report);
            }
        }
    }
}

fn check_policy(item: &Item<Config>, policy: &TrafficPolicy, path: &str, report: &mut Report) {
    if let Some(tls) = &policy.tls {
        check(item, tls, code::NO_VERIFICATION, &format!("{path}.tls"), report);
    }
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        if let Some(tls) = &port.tls {
            let path = format!("{path}.portLevelSettings[{index}].tls");
            check(item, tls, code::NO_VERIFICATION_AT_PORT, &path, report);
        }
    }
}

fn check(item: &Item<Config>, tls: &ClientTls, code: Code, path: &str, report: &mut Report) {
    if !matches!(tls.mode, Some(ClientTlsMode::Simple | ClientTlsMode::Mutual)) {
        return;
    }
    let (message, help) = if tls.insecure_skip_verify == Some(true) {
        ("the certificate of the server is not checked at all", "take insecureSkipVerify out")
    } else if tls.ca_certificates.is_none() && tls.credential_name.is_none() {
        (
            "no authorities are named to check the certificate of the server with; those of the system are used",
            "set caCertificates, as to /etc/ssl/certs/ca-certificates.crt, or credentialName",
        )
    } else {
        return;
    };
    report.add(&item.source, code, path, message.to_owned(), Some(help.to_owned()));
}
