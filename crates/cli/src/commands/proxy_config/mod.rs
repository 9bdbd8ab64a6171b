//! `proxy-config`: what a proxy is running, read from its admin port and laid out as Istio's
//! command does. Each resource has a pure function from the dump to a table.

mod bootstrap;
mod clusters;
pub(super) mod dump;
mod endpoints;
mod listeners;
mod routes;
mod secrets;

use crate::access::{Access, AccessOptions};
use anyhow::Context as _;
use serde_json::Value;
use std::io::Read as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen proxy-config routes payments-v1-5c7f9d-x2x4z\n  \
    mizzen proxy-config clusters deployment/storefront.shop --fqdn payments.shop.svc.cluster.local\n  \
    mizzen proxy-config all istio-ingressgateway-6d9-abcde.istio-system -o json")]
pub struct Arguments {
    #[command(subcommand)]
    resource: Resource,
}

#[derive(Debug, clap::Subcommand)]
enum Resource {
    /// Clusters: the services a proxy can call
    #[command(
        name = "cluster", visible_aliases = ["clusters", "c"],
        after_help = "Examples:\n  mizzen proxy-config clusters deploy/storefront.shop --fqdn payments.shop.svc.cluster.local"
    )]
    Cluster {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        filter: clusters::Filter,
    },
    /// Listeners: where a proxy accepts connections
    #[command(
        name = "listener", visible_aliases = ["listeners", "l"],
        after_help = "Examples:\n  mizzen proxy-config listeners payments-v1-abc --port 15006"
    )]
    Listener {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        filter: listeners::Filter,
    },
    /// Routes: where requests go
    #[command(
        name = "route", visible_aliases = ["routes", "r"],
        after_help = "Examples:\n  mizzen proxy-config routes payments-v1-abc --name 80 -o json"
    )]
    Route {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        filter: routes::Filter,
    },
    /// Endpoints: the addresses behind the clusters
    #[command(
        name = "endpoint", visible_aliases = ["endpoints", "ep"],
        after_help = "Examples:\n  mizzen proxy-config endpoints payments-v1-abc --status healthy"
    )]
    Endpoint {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        filter: endpoints::Filter,
    },
    /// Secrets: certificates and trust bundles in use
    #[command(
        name = "secret", visible_aliases = ["secrets", "s"],
        after_help = "Examples:\n  mizzen proxy-config secret payments-v1-abc"
    )]
    Secret {
        #[command(flatten)]
        target: Target,
    },
    /// Bootstrap: what the proxy was started with
    #[command(
        name = "bootstrap",
        visible_alias = "b",
        after_help = "Examples:\n  mizzen proxy-config bootstrap payments-v1-abc -o yaml"
    )]
    Bootstrap {
        #[command(flatten)]
        target: Target,
    },
    /// Log levels of the proxy; --level changes them
    #[command(
        name = "log",
        visible_alias = "o",
        after_help = "Examples:\n  mizzen proxy-config log payments-v1-abc --level debug"
    )]
    Log {
        #[command(flatten)]
        target: Target,
        /// The new level: LEVEL, or LOGGER:LEVEL,...
        #[arg(long)]
        level: Option<String>,
        /// Go back to the level the proxy was started with
        #[arg(short, long, conflicts_with = "level")]
        reset: bool,
    },
    /// All of the above
    #[command(
        name = "all",
        visible_alias = "a",
        after_help = "Examples:\n  mizzen proxy-config all istio-ingressgateway-6d9-abcde.istio-system -o json"
    )]
    All {
        #[command(flatten)]
        target: Target,
    },
}

/// Whose configuration, and how to print it.
#[derive(Debug, clap::Args)]
struct Target {
    /// The proxy: [TYPE/]NAME[.NAMESPACE], for example pod/payments-v1-abc.default or deploy/payments-v1
    #[arg(id = "target", value_name = "TARGET", required_unless_present = "file")]
    name: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "short")]
    output: Output,
    /// Read a saved configuration dump (or standard input, -) instead of asking a proxy
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Port of the proxy's admin interface
    #[arg(long, default_value_t = 15000)]
    proxy_admin_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Short,
    Json,
    Yaml,
}

pub async fn run(arguments: Arguments, options: &AccessOptions) -> anyhow::Result<()> {
    let text = match arguments.resource {
        Resource::Cluster { target, filter } => {
            let dump = target.config_dump(options).await?;
            target.print(clusters::select(&dump, &filter), |clusters| {
                anyhow::ensure!(!clusters.is_empty(), "no clusters found");
                Ok(clusters::table(clusters).render())
            })?
        }
        Resource::Listener { target, filter } => {
            let dump = target.config_dump(options).await?;
            target.print(listeners::select(&dump, &filter), |found| {
                anyhow::ensure!(!found.is_empty(), "no listeners found");
                Ok(listeners::table(found, filter.verbose).render())
            })?
        }
        Resource::Route { target, filter } => {
            let dump = target.config_dump(options).await?;
            target.print(routes::select(&dump, &filter), |found| {
                Ok(routes::table(found, filter.verbose).render())
            })?
        }
        Resource::Endpoint { target, filter } => {
            let clusters = target.admin(options, "/clusters?format=json").await?;
            target
                .print(endpoints::select(&clusters, &filter), |found| Ok(endpoints::table(found).render()))?
        }
        Resource::Secret { target } => {
            let dump = target.config_dump(options).await?;
            target.print(dump::secrets(&dump), |found| {
                Ok(if found.is_empty() {
                    "No active or warming secrets found.\n".to_owned()
                } else {
                    secrets::table(found, jiff::Timestamp::now()).render()
                })
            })?
        }
        Resource::Bootstrap { target } => {
            let dump = target.config_dump(options).await?;
            let bootstrap = dump::bootstrap(&dump).context("the proxy gives no bootstrap")?;
            // Istio's command prints the whole bootstrap where no format is asked for.
            match target.output {
                Output::Yaml => serde_saphyr::to_string(bootstrap)?,
                Output::Json | Output::Short => format!("{}\n", serde_json::to_string_pretty(bootstrap)?),
            }
        }
        Resource::Log { target, level, reset } => log(&target, options, level, reset).await?,
        Resource::All { target } => all(&target, options).await?,
    };
    crate::exit::print(&text);
    Ok(())
}

/// Everything, each table behind a blank line.
async fn all(target: &Target, options: &AccessOptions) -> anyhow::Result<String> {
    let dump = target.config_dump(options).await?;
    match target.output {
        Output::Json => return Ok(format!("{}\n", serde_json::to_string_pretty(&dump)?)),
        Output::Yaml => return Ok(serde_saphyr::to_string(&dump)?),
        Output::Short => {}
    }
    let sections = [
        dump::bootstrap(&dump).map(bootstrap::summary).unwrap_or_default(),
        clusters::table(&clusters::select(&dump, &clusters::Filter::default())).render(),
        listeners::table(&listeners::select(&dump, &listeners::Filter::default()), true).render(),
        routes::table(&routes::select(&dump, &routes::Filter::default()), true).render(),
        secrets::table(&dump::secrets(&dump), jiff::Timestamp::now()).render(),
        endpoints::from_config_dump(&dump).render(),
    ];
    Ok(sections.join("\n"))
}

async fn log(
    target: &Target,
    options: &AccessOptions,
    level: Option<String>,
    reset: bool,
) -> anyhow::Result<String> {
    let (access, name, namespace) = target.locate(options).await?;
    let changes: Vec<String> = match (level, reset) {
        (Some(levels), _) => levels
            .split(',')
            .map(|change| match change.split_once(':') {
                Some((logger, level)) => format!("/logging?{logger}={level}"),
                None => format!("/logging?level={change}"),
            })
            .collect(),
        (None, true) => vec!["/logging?level=warning".to_owned()],
        (None, false) => vec!["/logging".to_owned()],
    };
    let mut answer = String::new();
    for path in changes {
        let (status, body) =
            access.request(&namespace, &name, target.proxy_admin_port, http::Method::POST, &path).await?;
        let body = String::from_utf8_lossy(&body).into_owned();
        anyhow::ensure!(status.is_success(), "the proxy refused the log level: {}", body.trim());
        answer = body;
    }
    Ok(format!("{name}.{namespace}:\n{answer}"))
}

impl Target {
    async fn locate(&self, options: &AccessOptions) -> anyhow::Result<(Access, String, String)> {
        let name = self.name.as_deref().context("name a pod: [TYPE/]NAME[.NAMESPACE]")?;
        let access = options.connect().await?;
        let (name, namespace) = access.resolve_pod(name).await?;
        Ok((access, name, namespace))
    }

    async fn config_dump(&self, options: &AccessOptions) -> anyhow::Result<Value> {
        self.admin(options, "/config_dump?include_eds=true").await
    }

    /// The JSON answer of the admin interface, or the file given instead.
    async fn admin(&self, options: &AccessOptions, path: &str) -> anyhow::Result<Value> {
        if let Some(file) = &self.file {
            let mut text = String::new();
            if file.as_os_str() == "-" {
                std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            } else {
                text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
            }
            return serde_json::from_str(&text).context("the file is not a configuration dump in JSON");
        }
        let (access, name, namespace) = self.locate(options).await?;
        let body = access.get(&namespace, &name, self.proxy_admin_port, path).await?;
        serde_json::from_slice(&body)
            .with_context(|| format!("pod {name}.{namespace} did not answer with JSON"))
    }

    /// Prints `resources` whole, or as the table that `short` makes of them.
    fn print(
        &self,
        resources: Vec<Value>,
        short: impl FnOnce(&[Value]) -> anyhow::Result<String>,
    ) -> anyhow::Result<String> {
        match self.output {
            Output::Short => short(&resources),
            Output::Json => Ok(format!("{}\n", serde_json::to_string_pretty(&resources)?)),
            Output::Yaml => Ok(serde_saphyr::to_string(&resources)?),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
