//! The pod's own files under `/etc`: hosts, resolver settings and host name. Pure.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;

/// What the cluster's names end in and who answers them.
#[derive(Clone, Debug)]
pub struct ClusterDns {
    /// The resolver's address.
    pub address: Ipv4Addr,
    /// The suffix, `cluster.local`.
    pub domain: String,
    /// The machine's own `/etc/resolv.conf`, for pods with `dnsPolicy: Default`.
    pub host_settings: String,
}

/// The pod's host name.
pub fn host_name(pod: &Pod) -> String {
    let wanted = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    let name = wanted.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    // Linux allows 64 bytes, DNS 63.
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// `/etc/hosts`.
pub fn hosts(pod: &Pod, address: Ipv4Addr, domain: &str) -> String {
    let mut text =
        "# Managed by Mizzen.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    let name = host_name(pod);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let spec = pod.spec.as_ref();
    match spec.and_then(|spec| spec.subdomain.as_deref()) {
        Some(subdomain) => {
            text.push_str(&format!("{address}\t{name}.{subdomain}.{namespace}.svc.{domain}\t{name}\n"));
        }
        None => text.push_str(&format!("{address}\t{name}\n")),
    }
    for alias in spec.and_then(|spec| spec.host_aliases.as_ref()).into_iter().flatten() {
        let names = alias.hostnames.clone().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// `/etc/resolv.conf`.
pub fn resolver_settings(pod: &Pod, dns: &ClusterDns) -> String {
    let spec = pod.spec.as_ref();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let (mut servers, mut searches, mut options) = match policy {
        "None" => (Vec::new(), Vec::new(), Vec::new()),
        "Default" => return dns.host_settings.clone(),
        _ => {
            let domain = &dns.domain;
            let searches = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            (vec![dns.address.to_string()], searches.to_vec(), vec!["ndots:5".to_owned()])
        }
    };
    if let Some(extra) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        servers.extend(extra.nameservers.clone().unwrap_or_default());
        searches.extend(extra.searches.clone().unwrap_or_default());
        for option in extra.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.retain(|known: &String| known.split(':').next() != Some(&name));
            options.push(option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")));
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
