//! `proxy-status`: which proxies are connected to the control plane and whether they have taken
//! over what they were sent; for one proxy, what it runs against what it should run.

use super::proxy_config::dump;
use crate::access::{Access, AccessOptions};
use crate::table::Table;
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen proxy-status\n  mizzen proxy-status -v 1\n  \
    mizzen proxy-status payments-v1-5c7f9d-x2x4z.default")]
pub struct Arguments {
    /// One proxy, whose configuration is compared: [TYPE/]NAME[.NAMESPACE]
    target: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// 1 shows the state of each type
    #[arg(short, long, default_value_t = 0)]
    verbosity: u8,
    /// Columns: those of today's Istio, or the classic ones of up to 1.26
    #[arg(long, value_enum, default_value = "new")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    New,
    Classic,
}

/// Types in the order in which Istio counts them.
const TYPES: [&str; 5] = ["CDS", "LDS", "EDS", "RDS", "ECDS"];

/// A proxy as one control plane pod has it.
struct Proxy {
    istiod: String,
    fields: Value,
}

pub async fn run(arguments: Arguments, options: &AccessOptions) -> anyhow::Result<()> {
    let access = options.connect().await?;
    if let Some(target) = &arguments.target {
        let (pod, namespace) = access.resolve_pod(target).await?;
        crate::exit::print(&compare(&access, &pod, &namespace).await?);
        return Ok(());
    }
    let proxies = proxies(&access).await?;
    let fields = || proxies.iter().map(|proxy| &proxy.fields).collect::<Vec<_>>();
    let text = match arguments.output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&fields())?),
        Output::Yaml => serde_saphyr::to_string(&fields())?,
        Output::Table => {
            let now = Timestamp::now();
            match (arguments.format, arguments.verbosity) {
                (Format::Classic, _) => classic(&proxies),
                (Format::New, 0) => summary(&proxies),
                (Format::New, _) => by_type(&proxies, now),
            }
            .render()
        }
    };
    crate::exit::print(&text);
    Ok(())
}

/// All proxies of all control plane pods, by name.
async fn proxies(access: &Access) -> anyhow::Result<Vec<Proxy>> {
    let mut proxies = Vec::new();
    for pod in access.control_plane_pods().await? {
        let Some(istiod) = pod.metadata.name else { continue };
        let body = access.get(&access.istio_namespace, &istiod, 15014, "/debug/syncz").await?;
        let list: Vec<Value> = serde_json::from_slice(&body)
            .with_context(|| format!("pod {istiod} did not answer with a list of proxies"))?;
        proxies.extend(list.into_iter().map(|fields| Proxy { istiod: istiod.clone(), fields }));
    }
    proxies.sort_by(|left, right| left.name().cmp(right.name()));
    Ok(proxies)
}

impl Proxy {
    fn name(&self) -> &str {
        dump::text(&self.fields, "proxy")
    }

    fn text(&self, field: &str) -> String {
        dump::text(&self.fields, field).to_owned()
    }

    fn types(&self) -> &[Value] {
        dump::list(&self.fields, "types")
    }

    /// The state of one type: `SYNCED`, `STALE`, `ERROR`, `NOT SENT`, or `IGNORED` for a type the
    /// proxy never asked for; with its age where `now` is given.
    fn state(&self, name: &str, now: Option<Timestamp>) -> String {
        let Some(of_type) = self.types().iter().find(|of_type| of_type["type"] == name) else {
            return "IGNORED".to_owned();
        };
        let state = dump::text(of_type, "status").replace('_', " ");
        let updated = of_type["last_updated"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        match (now, updated) {
            (Some(now), Some(updated)) if state != "NOT SENT" => {
                format!("{state} ({})", age(now.duration_since(updated).as_secs()))
            }
            _ => state,
        }
    }
}

fn summary(proxies: &[Proxy]) -> Table {
    let mut table = Table::new(5, ["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"]);
    for proxy in proxies {
        let mut names: Vec<&str> = proxy.types().iter().map(|of_type| dump::text(of_type, "type")).collect();
        names
            .sort_by_key(|name| (TYPES.iter().position(|known| known == name).unwrap_or(TYPES.len()), *name));
        let subscribed = match names.len() {
            0 => "0".to_owned(),
            count => format!("{count} ({})", names.join(",")),
        };
        table.row([
            proxy.name().to_owned(),
            proxy.text("cluster_id"),
            proxy.istiod.clone(),
            proxy.text("istio_version"),
            subscribed,
        ]);
    }
    table
}

fn by_type(proxies: &[Proxy], now: Timestamp) -> Table {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for of_type in proxies.iter().flat_map(Proxy::types) {
        seen.insert(dump::text(of_type, "type_url").to_owned(), dump::text(of_type, "type").to_owned());
    }
    let names: Vec<String> = seen.into_values().collect();
    let mut header = vec!["NAME".to_owned(), "CLUSTER".to_owned()];
    header.extend(names.iter().cloned());
    header.extend(["ISTIOD".to_owned(), "VERSION".to_owned()]);
    let mut table = Table::with_header(5, header);
    for proxy in proxies {
        let mut row = vec![proxy.name().to_owned(), proxy.text("cluster_id")];
        row.extend(names.iter().map(|name| proxy.state(name, Some(now))));
        row.extend([proxy.istiod.clone(), proxy.text("istio_version")]);
        table.row(row);
    }
    table
}

fn classic(proxies: &[Proxy]) -> Table {
    let mut table =
        Table::new(5, ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION"]);
    for proxy in proxies {
        let mut row = vec![proxy.name().to_owned(), proxy.text("cluster_id")];
        row.extend(TYPES.map(|name| proxy.state(name, None)));
        row.extend([proxy.istiod.clone(), proxy.text("istio_version")]);
        table.row(row);
    }
    table
}

/// Kubernetes' short form of a duration in seconds: two units while they matter.
fn age(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// What a proxy runs against what the control plane would have it run.
async fn compare(access: &Access, pod: &str, namespace: &str) -> anyhow::Result<String> {
    let path = format!("/debug/config_dump?proxyID={pod}.{namespace}");
    let mut wanted = None;
    for istiod in access.control_plane_pods().await? {
        let Some(istiod) = istiod.metadata.name else { continue };
        let (status, body) =
            access.request(&access.istio_namespace, &istiod, 15014, http::Method::GET, &path).await?;
        if status.is_success() {
            wanted = Some(serde_json::from_slice::<Value>(&body)?);
        }
    }
    let Some(wanted) = wanted else {
        bail!(
            "pod {pod}.{namespace} is not connected to the control plane; has it a sidecar that is running?"
        );
    };
    let running: Value = serde_json::from_slice(&access.get(namespace, pod, 15000, "/config_dump").await?)?;
    let mut text = String::new();
    for (name, select) in KINDS {
        text.push_str(&difference(name, select(&wanted), select(&running)));
    }
    Ok(text)
}

/// Finds all resources of a kind in a configuration dump.
type Select = fn(&Value) -> Vec<Value>;

const KINDS: [(&str, Select); 3] =
    [("Clusters", dump::clusters), ("Listeners", dump::listeners), ("Routes", dump::routes)];

fn difference(kind: &str, wanted: Vec<Value>, running: Vec<Value>) -> String {
    let by_name = |list: Vec<Value>| -> BTreeMap<String, Value> {
        list.into_iter().map(|resource| (dump::text(&resource, "name").to_owned(), resource)).collect()
    };
    // What a proxy has of its own (its bootstrap's clusters) the control plane does not know.
    let (wanted, running) = (by_name(wanted), by_name(running));
    let mut lines = Vec::new();
    for (name, resource) in &wanted {
        match running.get(name) {
            None => lines.push(format!("  - {name}: sent by the control plane, not running in the proxy")),
            Some(held) if held != resource => {
                lines.push(format!("  ~ {name}: the proxy runs another version"))
            }
            Some(_) => {}
        }
    }
    if lines.is_empty() {
        format!("{kind} Match\n")
    } else {
        format!("{kind} Don't Match\n{}\n", lines.join("\n"))
    }
}

#[cfg(test)]
#[path = "proxy_status_tests.rs"]
mod tests;
