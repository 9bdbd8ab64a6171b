//! Which port of the machine a service port is tried on, and how that is remembered. Pure.

use crate::controllers::PublishedPort;
use std::collections::BTreeMap;

/// How many ports are tried before giving up.
const ATTEMPTS: u16 = 64;
/// The first port an ordinary user may listen on.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// The host ports to try, in this order: a wish of `--publish`, the one it had before, then the
/// usual one and those above it. 80 is usually at 8080 and 443 at 8443; a port below 1024 is
/// moved up by 8000, and any other keeps its number.
pub fn candidates(service_port: u16, wishes: &[PublishedPort], remembered: Option<u16>) -> Vec<u16> {
    let wish = wishes.iter().find(|wish| wish.service_port == service_port).map(|wish| wish.host_port);
    let usual = match service_port {
        80 => 8080,
        443 => 8443,
        low if low < FIRST_UNPRIVILEGED => low + 8000,
        other => other,
    };
    let first = wish.unwrap_or(usual);
    let mut tried: Vec<u16> = wish.into_iter().chain(remembered).collect();
    for step in 0..ATTEMPTS {
        if let Some(port) = first.checked_add(step)
            && !tried.contains(&port)
        {
            tried.push(port);
        }
    }
    tried
}

/// `127.0.0.1:8080->80,127.0.0.1:8443->443`, from service port to host port.
pub fn render_published(open: &BTreeMap<u16, u16>) -> String {
    let parts: Vec<String> = open
        .iter()
        .map(|(service_port, host_port)| format!("127.0.0.1:{host_port}->{service_port}"))
        .collect();
    parts.join(",")
}

/// Reads what [`render_published`] wrote; parts that make no sense are passed over, since a person
/// may have edited them and they are only a preference.
pub fn parse_published(text: &str) -> BTreeMap<u16, u16> {
    let part = |part: &str| {
        let (host, service) = part.split_once("->")?;
        let host_port = host.rsplit_once(':')?.1.parse().ok()?;
        Some((service.trim().parse().ok()?, host_port))
    };
    text.split(',').filter_map(part).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
