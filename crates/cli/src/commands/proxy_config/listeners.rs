//! `proxy-config listeners`.

use super::dump::{self, list, text};
use super::routes::describe_match;
use crate::table::Table;
use serde_json::Value;

const HTTP_CONNECTION_MANAGER: &str = "HttpConnectionManager";
const TCP_PROXY: &str = "TcpProxy";

/// Sets of application protocols that stand for something, as Istio's command names them.
const KNOWN_PROTOCOLS: [(&[&str], &str); 4] = [
    (&["http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"], "App: HTTP TLS"),
    (&["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"], "App: Istio HTTP Plain"),
    (&["istio-peer-exchange", "istio"], "App: TCP TLS"),
    (&["http/1.0", "http/1.1", "h2c"], "App: HTTP"),
];

/// Which listeners to show.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Only listeners on this address
    #[arg(long)]
    address: Option<String>,
    /// Only listeners on this port
    #[arg(long)]
    port: Option<u16>,
    /// Only listeners of this type: HTTP, TCP or HTTP+TCP
    #[arg(long = "type")]
    kind: Option<String>,
    /// Show each filter chain; otherwise the type of each listener
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub verbose: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { address: None, port: None, kind: None, verbose: true }
    }
}

/// The listeners that pass `filter`, by port, address and type.
pub fn select(dump: &Value, filter: &Filter) -> Vec<Value> {
    let mut listeners = dump::listeners(dump);
    listeners.retain(|listener| {
        filter.address.as_deref().is_none_or(|wanted| address(listener) == wanted)
            && filter.port.is_none_or(|wanted| port(listener) == Some(wanted.into()))
            && filter.kind.as_deref().is_none_or(|wanted| kind(listener).eq_ignore_ascii_case(wanted))
    });
    listeners.sort_by_key(|listener| (port(listener), address(listener).to_owned(), kind(listener)));
    listeners
}

fn address(listener: &Value) -> &str {
    listener["address"]["socket_address"]["address"].as_str().unwrap_or_default()
}

fn port(listener: &Value) -> Option<u64> {
    listener["address"]["socket_address"]["port_value"].as_u64()
}

fn port_cell(listener: &Value) -> String {
    port(listener).map(|port| port.to_string()).unwrap_or_default()
}

/// All filter chains, the default one last.
fn filter_chains(listener: &Value) -> impl Iterator<Item = &Value> {
    list(listener, "filter_chains").iter().chain(listener.get("default_filter_chain"))
}

/// The first filter of a chain whose configuration is of the given message type.
fn filter<'a>(chain: &'a Value, message: &str) -> Option<&'a Value> {
    let configs = list(chain, "filters").iter().filter_map(|filter| filter.get("typed_config"));
    configs.into_iter().find(|config| text(config, "@type").ends_with(message))
}

fn kind(listener: &Value) -> &'static str {
    let http = filter_chains(listener).any(|chain| filter(chain, HTTP_CONNECTION_MANAGER).is_some());
    let tcp = filter_chains(listener).any(|chain| filter(chain, TCP_PROXY).is_some());
    match (http, tcp) {
        (true, true) => "HTTP+TCP",
        (true, false) => "HTTP",
        (false, true) => "TCP",
        (false, false) => "UNKNOWN",
    }
}

/// One row a filter chain, or one row a listener.
pub fn table(listeners: &[Value], verbose: bool) -> Table {
    if !verbose {
        let mut table = Table::new(1, ["ADDRESSES", "PORT", "TYPE"]);
        for listener in listeners {
            table.row([address(listener).to_owned(), port_cell(listener), kind(listener).to_owned()]);
        }
        return table;
    }
    let mut table = Table::new(1, ["ADDRESSES", "PORT", "MATCH", "DESTINATION"]);
    for listener in listeners {
        let mut rows: Vec<(String, String)> = filter_chains(listener)
            .map(|chain| (describe_destination(chain), describe_chain_match(chain)))
            .collect();
        rows.sort_by(|left, right| right.0.cmp(&left.0));
        for (destination, matched) in rows {
            table.row([address(listener).to_owned(), port_cell(listener), matched, destination]);
        }
    }
    table
}

/// What a filter chain accepts; `ALL` where it accepts everything.
fn describe_chain_match(chain: &Value) -> String {
    let matched = &chain["filter_chain_match"];
    let words = |field| list(matched, field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let mut parts = Vec::new();
    let names = words("server_names");
    if !names.is_empty() {
        parts.push(format!("SNI: {}", names.join(",")));
    }
    if !text(matched, "transport_protocol").is_empty() {
        parts.push(format!("Trans: {}", text(matched, "transport_protocol")));
    }
    let protocols = words("application_protocols");
    if !protocols.is_empty() {
        let known = KNOWN_PROTOCOLS.iter().find(|(set, _)| *set == protocols.as_slice());
        parts.push(
            known.map_or_else(|| format!("App: {}", protocols.join(",")), |(_, name)| (*name).to_owned()),
        );
    }
    let ranges: Vec<String> = list(matched, "prefix_ranges")
        .iter()
        .map(|range| {
            format!("{}/{}", text(range, "address_prefix"), range["prefix_len"].as_u64().unwrap_or_default())
        })
        .collect();
    let port = matched["destination_port"].as_u64();
    match (ranges.is_empty(), port) {
        (true, None) => {}
        (true, Some(port)) => parts.push(format!("Addr: *:{port}")),
        (false, None) => parts.push(format!("Addr: {}", ranges.join(","))),
        (false, Some(port)) => parts.push(format!("Addr: {}:{port}", ranges.join(","))),
    }
    if parts.is_empty() { "ALL".to_owned() } else { parts.join("; ") }
}

/// Where a filter chain sends its traffic.
fn describe_destination(chain: &Value) -> String {
    if let Some(http) = filter(chain, HTTP_CONNECTION_MANAGER) {
        if let Some(name) = http["rds"]["route_config_name"].as_str() {
            return format!("Route: {name}");
        }
        return describe_inline_routes(&http["route_config"]);
    }
    let Some(tcp) = filter(chain, TCP_PROXY) else { return "Non-HTTP/Non-TCP".to_owned() };
    if let Some(cluster) = tcp["cluster"].as_str() {
        return cluster_name(cluster);
    }
    let weighted = list(&tcp["weighted_clusters"], "clusters").iter();
    weighted.map(|cluster| cluster_name(text(cluster, "name"))).collect::<Vec<_>>().join(",")
}

/// Clusters of services are marked as such; the fixed ones speak for themselves.
fn cluster_name(name: &str) -> String {
    if name.contains('|') { format!("Cluster: {name}") } else { name.to_owned() }
}

fn describe_inline_routes(configuration: &Value) -> String {
    let hosts = list(configuration, "virtual_hosts");
    if let [host] = hosts
        && let [route] = list(host, "routes")
        && route["match"]["prefix"] == "/"
        && let Some(cluster) = route["route"]["cluster"].as_str()
    {
        return cluster_name(cluster);
    }
    let described: Vec<String> = hosts
        .iter()
        .map(|host| {
            let domains: Vec<&str> = list(host, "domains")
                .iter()
                .filter_map(Value::as_str)
                .filter(|domain| *domain != "*")
                .collect();
            let routes: Vec<String> =
                list(host, "routes").iter().map(|route| describe_match(&route["match"])).collect();
            if domains.is_empty() {
                routes.join(", ")
            } else {
                format!("{} {}", domains.join("/"), routes.join(", "))
            }
        })
        .collect();
    format!("Inline Route: {}", described.join("; "))
}
