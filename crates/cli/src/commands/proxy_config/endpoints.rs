//! `proxy-config endpoints`, from `/clusters?format=json` (Envoy: `envoy.admin.v3.Clusters`).

use super::dump::{self, list, text};
use crate::table::Table;
use serde_json::{Value, json};

/// Which endpoints to show.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only endpoints of this address
    #[arg(long)]
    address: Option<String>,
    /// Only endpoints of this port
    #[arg(long)]
    port: Option<u16>,
    /// Only endpoints of this cluster
    #[arg(long)]
    cluster: Option<String>,
    /// Only endpoints of this status (healthy, unhealthy, ...)
    #[arg(long)]
    status: Option<String>,
}

/// Endpoints as `{address, port, status, outlier, cluster}`, sorted by address, port and cluster.
pub fn select(clusters: &Value, filter: &Filter) -> Vec<Value> {
    let mut endpoints: Vec<Value> = list(clusters, "cluster_statuses")
        .iter()
        .flat_map(|cluster| {
            list(cluster, "host_statuses").iter().map(|host| endpoint(host, text(cluster, "name")))
        })
        .filter(|endpoint| {
            filter.address.as_deref().is_none_or(|address| text(endpoint, "address") == address)
                && filter.port.is_none_or(|port| endpoint["port"].as_u64() == Some(port.into()))
                && filter.cluster.as_deref().is_none_or(|cluster| text(endpoint, "cluster") == cluster)
                && filter
                    .status
                    .as_deref()
                    .is_none_or(|status| text(endpoint, "status").eq_ignore_ascii_case(status))
        })
        .collect();
    endpoints.sort_by(|left, right| key(left).cmp(&key(right)));
    endpoints
}

fn key(endpoint: &Value) -> (&str, Option<u64>, &str) {
    (text(endpoint, "address"), endpoint["port"].as_u64(), text(endpoint, "cluster"))
}

fn endpoint(host: &Value, cluster: &str) -> Value {
    let health = &host["health_status"];
    let failed = health["failed_outlier_check"].as_bool().unwrap_or_default();
    let mut fields = address(&host["address"]);
    fields["status"] = json!(health["eds_health_status"].as_str().unwrap_or("UNKNOWN"));
    fields["outlier"] = json!(if failed { "FAILED" } else { "OK" });
    fields["cluster"] = json!(cluster);
    fields
}

fn address(address: &Value) -> Value {
    let socket = &address["socket_address"];
    match address["pipe"]["path"].as_str() {
        Some(path) => json!({"address": format!("unix://{path}")}),
        None => json!({"address": socket["address"], "port": socket["port_value"].as_u64()}),
    }
}

fn display(endpoint: &Value) -> String {
    match endpoint["port"].as_u64() {
        Some(port) => format!("{}:{port}", text(endpoint, "address")),
        None => text(endpoint, "address").to_owned(),
    }
}

/// One row an endpoint.
pub fn table(endpoints: &[Value]) -> Table {
    let mut table = Table::new(5, ["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"]);
    for endpoint in endpoints {
        let field = |name| text(endpoint, name).to_owned();
        table.row([display(endpoint), field("status"), field("outlier"), field("cluster")]);
    }
    table
}

/// The table of `proxy-config all`, from the endpoints in the configuration dump.
pub fn from_config_dump(dump: &Value) -> Table {
    let mut rows = Vec::new();
    for assignment in dump::endpoints(dump) {
        for group in list(&assignment, "endpoints") {
            let part = |name: &&str| group["locality"][*name].as_str().filter(|part| !part.is_empty());
            let locality: Vec<&str> = ["region", "zone", "sub_zone"].iter().filter_map(part).collect();
            for host in list(group, "lb_endpoints") {
                let status = host["health_status"].as_str().unwrap_or("UNKNOWN").to_owned();
                let name = display(&address(&host["endpoint"]["address"]));
                rows.push([name, status, locality.join("/"), text(&assignment, "cluster_name").to_owned()]);
            }
        }
    }
    rows.sort();
    let mut table = Table::new(5, ["NAME", "STATUS", "LOCALITY", "CLUSTER"]);
    rows.into_iter().for_each(|row| table.row(row));
    table
}
