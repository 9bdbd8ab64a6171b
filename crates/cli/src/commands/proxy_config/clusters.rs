//! `proxy-config clusters`.

use super::dump::{self, text};
use crate::table::Table;
use serde_json::Value;

/// Which clusters to show.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only clusters of this service
    #[arg(long)]
    fqdn: Option<String>,
    /// Only clusters of this port
    #[arg(long)]
    port: Option<u16>,
    /// Only clusters of this subset
    #[arg(long)]
    subset: Option<String>,
    /// Only inbound or outbound clusters
    #[arg(long)]
    direction: Option<String>,
}

/// The four parts of `DIRECTION|PORT|SUBSET|HOST`; a name of another form is the host.
struct Parts<'a> {
    host: &'a str,
    port: &'a str,
    subset: &'a str,
    direction: &'a str,
}

fn parts(name: &str) -> Parts<'_> {
    match name.split('|').collect::<Vec<_>>().as_slice() {
        [direction, port, subset, host] => Parts { host, port, subset, direction },
        _ => Parts { host: name, port: "", subset: "", direction: "" },
    }
}

/// The clusters that pass `filter`, sorted by service, subset, port and direction.
pub fn select(dump: &Value, filter: &Filter) -> Vec<Value> {
    let mut clusters = dump::clusters(dump);
    clusters.retain(|cluster| {
        let parts = parts(text(cluster, "name"));
        filter.fqdn.as_deref().is_none_or(|fqdn| parts.host.contains(fqdn))
            && filter.port.is_none_or(|port| parts.port == port.to_string())
            && filter.subset.as_deref().is_none_or(|subset| parts.subset == subset)
            && filter.direction.as_deref().is_none_or(|direction| parts.direction == direction)
    });
    clusters.sort_by(|left, right| key(left).cmp(&key(right)));
    clusters
}

fn key(cluster: &Value) -> (&str, &str, u32, &str) {
    let parts = parts(text(cluster, "name"));
    (parts.host, parts.subset, parts.port.parse().unwrap_or_default(), parts.direction)
}

/// One row a cluster.
pub fn table(clusters: &[Value]) -> Table {
    let mut table =
        Table::new(5, ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"]);
    for cluster in clusters {
        let parts = parts(text(cluster, "name"));
        let or_dash = |part: &str| if part.is_empty() { "-".to_owned() } else { part.to_owned() };
        table.row([
            parts.host.to_owned(),
            or_dash(parts.port),
            or_dash(parts.subset),
            or_dash(parts.direction),
            kind(cluster),
            dump::origin(cluster),
        ]);
    }
    table
}

fn kind(cluster: &Value) -> String {
    let custom = cluster["cluster_type"]["name"].as_str();
    // STATIC is the zero value of the enum, which JSON leaves out.
    custom.or(cluster["type"].as_str()).unwrap_or("STATIC").to_owned()
}
