//! `authn tls-check`: mutual TLS between a workload and every service it sees: what servers ask for,
//! what this client sends, and whether that goes together.

use crate::access::{Access, AccessOptions};
use crate::table::Table;
use anyhow::{Context as _, bail};
use serde_json::Value;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen authn tls-check payments-v1-5c7f9d-x2x4z.default")]
pub struct Arguments {
    #[command(subcommand)]
    check: Check,
}

#[derive(Debug, clap::Subcommand)]
enum Check {
    /// Check the mutual TLS settings between a workload and the services it calls
    #[command(
        name = "tls-check",
        after_help = "Examples:\n  mizzen authn tls-check payments-v1-5c7f9d-x2x4z.default\n  \
        mizzen authn tls-check payments-v1-5c7f9d-x2x4z.default catalog.shop.svc.cluster.local"
    )]
    TlsCheck {
        /// The calling workload: POD[.NAMESPACE]
        pod: String,
        /// Only this service
        service: Option<String>,
        /// Output format
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

pub async fn run(arguments: Arguments, options: &AccessOptions) -> anyhow::Result<()> {
    let Check::TlsCheck { pod, service, output } = arguments.check;
    let access = options.connect().await?;
    let (pod, namespace) = access.resolve_pod(&pod).await?;
    let mut rows = rows(&access, &pod, &namespace).await?;
    if let Some(service) = &service {
        rows.retain(|row| {
            row["host"]
                .as_str()
                .is_some_and(|host| host == service || host.split('.').next() == Some(service))
        });
        if rows.is_empty() {
            bail!("pod {pod}.{namespace} sees no service {service}");
        }
    }
    match output {
        Output::Json => crate::exit::print(&format!("{}\n", serde_json::to_string_pretty(&rows)?)),
        Output::Table => crate::exit::print(&table(&rows).render()),
    }
    Ok(())
}

async fn rows(access: &Access, pod: &str, namespace: &str) -> anyhow::Result<Vec<Value>> {
    let path = format!("/debug/authenticationz?proxyID={pod}.{namespace}");
    let mut refusal = String::new();
    for istiod in access.control_plane_pods().await? {
        let Some(istiod) = istiod.metadata.name else { continue };
        let (status, body) =
            access.request(&access.istio_namespace, &istiod, 15014, http::Method::GET, &path).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).context("the control plane did not answer with a list");
        }
        refusal = String::from_utf8_lossy(&body).trim().to_owned();
    }
    bail!("{refusal}")
}

/// One row a port of a service, in the columns the command had in Istio.
fn table(rows: &[Value]) -> Table {
    let mut table =
        Table::new(5, ["HOST:PORT", "STATUS", "SERVER", "CLIENT", "AUTHN POLICY", "DESTINATION RULE"]);
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or("-").to_owned();
    for row in rows {
        table.row([
            format!("{}:{}", text(row, "host"), row["port"].as_u64().unwrap_or_default()),
            text(row, "TLS_conflict_status"),
            text(row, "server_protocol"),
            text(row, "client_protocol"),
            text(row, "authentication_policy_name"),
            text(row, "destination_rule_name"),
        ]);
    }
    table
}
