//! `proxy-config routes`.

use super::dump::{self, list, text};
use crate::table::Table;
use serde_json::Value;
use std::cmp::Ordering;

/// How many domains of a virtual host are shown before the rest is counted.
const DOMAINS_SHOWN: usize = 2;

/// Which routes to show.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Only the route configuration of this name
    #[arg(long)]
    name: Option<String>,
    /// Show each route; otherwise count virtual hosts
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub verbose: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { name: None, verbose: true }
    }
}

/// The route configurations that pass `filter`, by name; numbers in their order.
pub fn select(dump: &Value, filter: &Filter) -> Vec<Value> {
    let mut routes = dump::routes(dump);
    routes.retain(|route| filter.name.as_deref().is_none_or(|name| text(route, "name") == name));
    routes.sort_by(|left, right| by_name(text(left, "name"), text(right, "name")));
    routes
}

fn by_name(left: &str, right: &str) -> Ordering {
    match (left.parse::<u32>(), right.parse::<u32>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        _ => left.cmp(right),
    }
}

/// One row a route, or a count of virtual hosts.
pub fn table(routes: &[Value], verbose: bool) -> Table {
    if !verbose {
        let mut table = Table::new(5, ["NAME", "VIRTUAL HOSTS"]);
        for route in routes {
            table.row([text(route, "name").to_owned(), list(route, "virtual_hosts").len().to_string()]);
        }
        return table;
    }
    let mut table = Table::new(5, ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"]);
    for configuration in routes {
        for host in list(configuration, "virtual_hosts") {
            for (matched, origin) in rows(host) {
                table.row([
                    text(configuration, "name").to_owned(),
                    text(host, "name").to_owned(),
                    domains(host),
                    matched,
                    origin,
                ]);
            }
        }
    }
    table
}

/// What each route of a virtual host matches and where it comes from. Routes that only pass
/// traffic through are left out; a host without routes answers 404.
fn rows(host: &Value) -> Vec<(String, String)> {
    let routes = list(host, "routes");
    if routes.is_empty() {
        return vec![("/*".to_owned(), "404".to_owned())];
    }
    routes
        .iter()
        .filter(|route| route["route"]["cluster"] != "PassthroughCluster")
        .map(|route| (describe_match(&route["match"]), dump::origin(route)))
        .collect()
}

/// The path part of a route match, in Istio's short form.
pub fn describe_match(matched: &Value) -> String {
    if let Some(prefix) = matched["prefix"].as_str() {
        format!("{prefix}*")
    } else if let Some(prefix) = matched["path_separated_prefix"].as_str() {
        format!("PathPrefix:{prefix}")
    } else if let Some(path) = matched["path"].as_str() {
        path.to_owned()
    } else if let Some(regex) = matched["safe_regex"]["regex"].as_str() {
        format!("regex {regex}")
    } else {
        String::new()
    }
}

/// The domains without ports and without the longer spellings of the same service.
fn domains(host: &Value) -> String {
    let all: Vec<&str> = list(host, "domains").iter().filter_map(Value::as_str).collect();
    if let [only] = all.as_slice() {
        return (*only).to_owned();
    }
    let without_port: Vec<&str> = all.iter().copied().filter(|domain| !has_port(domain)).collect();
    let longer_spelling = |domain: &str| {
        [".svc.cluster.local", ".svc"]
            .iter()
            .any(|suffix| domain.strip_suffix(suffix).is_some_and(|short| without_port.contains(&short)))
    };
    let shown: Vec<&str> = without_port.iter().copied().filter(|domain| !longer_spelling(domain)).collect();
    match shown.get(..DOMAINS_SHOWN) {
        Some(first) if shown.len() > DOMAINS_SHOWN => {
            format!("{} + {} more...", first.join(", "), shown.len() - DOMAINS_SHOWN)
        }
        _ => shown.join(", "),
    }
}

/// Whether a domain names a port; an IPv6 address has colons of its own.
fn has_port(domain: &str) -> bool {
    match domain.rsplit_once(']') {
        Some((_, rest)) => rest.starts_with(':'),
        None => domain.matches(':').count() == 1,
    }
}
