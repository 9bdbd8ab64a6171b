//! Secrets of Gateways that are not there (IST0101) or are not a certificate and key (IST0161).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use mizzen_api::{
    Spec,
    networking::{Gateway, ServerTlsMode},
};

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{World, selects},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    if !world.knows_secrets() {
        return;
    }
    for item in world.configs() {
        let Spec::Gateway(gateway) = &item.value.spec else { continue };
        let namespaces = proxy_namespaces(world, gateway, item.namespace());
        for (path, credential, mode) in credentials(gateway) {
            for namespace in &namespaces {
                match world.secret(namespace, credential) {
                    None => {
                        let message = format!(
                            "there is no Secret {namespace}/{credential}, so TLS fails for these hosts"
                        );
                        let help = format!(
                            "the Secret must be in the namespace of the gateway's pods; make it with `kubectl create secret \
                             tls {credential} -n {namespace} --cert=FILE --key=FILE`"
                        );
                        report.add(
                            &item.source,
                            code::REFERENCED_RESOURCE_NOT_FOUND,
                            &path,
                            message,
                            Some(help),
                        );
                    }
                    Some(secret) => {
                        // Authorities of clients may be in a Secret of their own.
                        let authorities = world.secret(namespace, &format!("{credential}-cacert"));
                        let mode = if authorities.is_some() { ServerTlsMode::Simple } else { mode };
                        if let Some(missing) = missing_keys(secret, mode) {
                            let message = format!("the Secret {namespace}/{credential} has no {missing}");
                            let help = "it needs tls.crt and tls.key (and ca.crt for mutual TLS)".to_owned();
                            report.add(&item.source, code::INVALID_CREDENTIAL, &path, message, Some(help));
                        }
                    }
                }
            }
        }
    }
}

/// The namespaces of the proxies that open the Gateway's ports; its own where none is known.
fn proxy_namespaces<'a>(world: &'a World, gateway: &Gateway, own: &'a str) -> BTreeSet<&'a str> {
    let selected: BTreeSet<_> = world
        .workloads()
        .filter(|workload| !gateway.selector.is_empty() && selects(&gateway.selector, &workload.value.labels))
        .map(|workload| workload.namespace())
        .collect();
    if selected.is_empty() { BTreeSet::from([own]) } else { selected }
}

/// The Secrets a Gateway names, with the path of the field that does.
fn credentials(gateway: &Gateway) -> Vec<(String, &str, ServerTlsMode)> {
    let mut found = Vec::new();
    for (index, server) in gateway.servers.iter().enumerate() {
        let Some(tls) = &server.tls else { continue };
        let path = format!("spec.servers[{index}].tls");
        let mode = tls.mode.unwrap_or_default();
        if let Some(name) = &tls.credential_name {
            found.push((format!("{path}.credentialName"), name.as_str(), mode));
        }
        for (position, name) in tls.credential_names.iter().enumerate() {
            found.push((format!("{path}.credentialNames[{position}]"), name.as_str(), mode));
        }
    }
    // Other schemes, such as configmap:// and builtin://, do not name Secrets.
    found.retain(|(_, name, _)| !name.contains("://"));
    found
}

/// The keys that a Secret lacks to be a credential for this mode.
fn missing_keys(secret: &Secret, mode: ServerTlsMode) -> Option<&'static str> {
    let data =
        secret.data.iter().flatten().filter(|(_, value)| !value.0.is_empty()).map(|(key, _)| key.as_str());
    let texts = secret
        .string_data
        .iter()
        .flatten()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, _)| key.as_str());
    let keys: BTreeSet<_> = data.chain(texts).collect();
    let any = |names: [&str; 2]| names.iter().any(|name| keys.contains(name));
    if !any(["tls.crt", "cert"]) {
        Some("certificate (tls.crt)")
    } else if !any(["tls.key", "key"]) {
        Some("private key (tls.key)")
    } else if mode == ServerTlsMode::Mutual && !any(["ca.crt", "cacert"]) {
        Some("authorities (ca.crt)")
    } else {
        None
    }
}
