//! `version`: this program's, the control plane's and the proxies'.

use crate::access::{Access, AccessOptions};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen version\n  \
    mizzen version --remote=false -o json")]
pub struct Arguments {
    /// Only the versions, not how each was built
    #[arg(short, long, default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    short: bool,
    /// Ask the control plane and count the proxies
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    remote: bool,
    /// Output format
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Json,
    Yaml,
}

/// What the mesh says.
struct Remote {
    control_planes: Vec<(String, String)>,
    proxies: BTreeMap<String, usize>,
}

pub async fn run(arguments: Arguments, options: &AccessOptions) -> anyhow::Result<()> {
    let client = mizzen_base::version::MIZZEN;
    let remote = match arguments.remote {
        true => match ask(options).await {
            Ok(remote) => Some(remote),
            Err(error) => {
                eprintln!("the mesh was not asked: {error:#}");
                None
            }
        },
        false => None,
    };
    match arguments.output {
        Some(format) => print_structured(format, client, remote.as_ref())?,
        None => crate::exit::print(&format!("{}\n", describe(client, arguments.short, remote.as_ref()))),
    }
    Ok(())
}

async fn ask(options: &AccessOptions) -> anyhow::Result<Remote> {
    let access: Access = options.connect().await?;
    let mut remote = Remote { control_planes: Vec::new(), proxies: BTreeMap::new() };
    for pod in access.control_plane_pods().await? {
        let Some(istiod) = pod.metadata.name else { continue };
        let version = access.get(&access.istio_namespace, &istiod, 15014, "/version").await?;
        remote.control_planes.push((istiod.clone(), String::from_utf8_lossy(&version).trim().to_owned()));
        let proxies = access.get(&access.istio_namespace, &istiod, 15014, "/debug/syncz").await?;
        for proxy in serde_json::from_slice::<Vec<Value>>(&proxies)? {
            let version = proxy["istio_version"].as_str().unwrap_or("unknown").to_owned();
            *remote.proxies.entry(version).or_default() += 1;
        }
    }
    Ok(remote)
}

fn describe(client: &str, short: bool, remote: Option<&Remote>) -> String {
    let mut lines = match short {
        true => vec![format!("client version: {client}")],
        false => vec![format!("client version: {client} (answers as Istio {})", mizzen_base::version::ISTIO)],
    };
    let Some(remote) = remote else { return lines.join("\n") };
    let mut versions: Vec<&str> = remote.control_planes.iter().map(|(_, version)| version.as_str()).collect();
    versions.dedup();
    match versions.as_slice() {
        [only] => lines.push(format!("control plane version: {only}")),
        _ => lines
            .extend(remote.control_planes.iter().map(|(name, version)| format!("{name} version: {version}"))),
    }
    let proxies: Vec<String> =
        remote.proxies.iter().map(|(version, count)| format!("{version} ({count} proxies)")).collect();
    let proxies = if proxies.is_empty() { "none".to_owned() } else { proxies.join(", ") };
    lines.push(format!("data plane version: {proxies}"));
    lines.join(
        "
",
    )
}

fn print_structured(output: Output, client: &str, remote: Option<&Remote>) -> anyhow::Result<()> {
    let mut versions = json!({"clientVersion": {"version": client}});
    if let Some(remote) = remote {
        versions["meshVersion"] = remote
            .control_planes
            .iter()
            .map(|(name, version)| json!({"Component": "istiod", "ID": name, "Info": {"version": version}}))
            .collect();
        versions["dataPlaneVersion"] = remote
            .proxies
            .iter()
            .map(|(version, count)| json!({"version": version, "proxies": count}))
            .collect();
    }
    match output {
        Output::Json => crate::exit::print(&format!("{}\n", serde_json::to_string_pretty(&versions)?)),
        Output::Yaml => crate::exit::print(&serde_saphyr::to_string(&versions)?),
    }
    Ok(())
}
