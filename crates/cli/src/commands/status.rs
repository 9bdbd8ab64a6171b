//! `status`: the mesh of a state folder at a glance.

use crate::local::folder::{StateFolder, StateOption};
use crate::local::report;
use crate::table::Table;
use anyhow::Context as _;
use clap::ValueEnum;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mizzen status\n  \
    mizzen status -o json")]
pub struct Arguments {
    #[command(flatten)]
    state: StateOption,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = StateFolder::at(arguments.state.path());
    let Some(process) = folder.running() else {
        return Err(crate::exit::ExitError {
            code: 1,
            message: format!(
                "no mesh is running with the state in {}; start one with `mizzen up`",
                folder.path().display()
            ),
        }
        .into());
    };
    let summary = folder.summary().context("the mesh is still starting")?;
    let client = folder.client().await?;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items.len();
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?.items;
    let namespaces = count(&pods);
    let published = report::published(&client).await?;
    if arguments.output == Output::Json {
        let pods: Vec<Value> = namespaces
            .iter()
            .map(|(namespace, (ready, all))| json!({"namespace": namespace, "ready": ready, "total": all}))
            .collect();
        let published: Vec<Value> = published
            .iter()
            .map(|port| json!({"service": port.service, "port": port.service_port, "address": port.address}))
            .collect();
        let status = json!({
            "state": folder.path(), "process": process, "rung": summary.rung.to_string(), "api": summary.api_url,
            "kubeconfig": summary.kubeconfig, "nodes": nodes, "pods": pods, "published": published
        });
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    println!("Sandbox:     {} (process {process})", summary.rung);
    println!("API:         {}", summary.api_url);
    println!("Kubeconfig:  {}", summary.kubeconfig.display());
    println!("Nodes:       {nodes}\n");
    let mut table = Table::new(3, ["NAMESPACE", "PODS READY", "PODS"]);
    for (namespace, (ready, all)) in &namespaces {
        table.row([namespace.clone(), ready.to_string(), all.to_string()]);
    }
    print!("{}", table.render());
    if !published.is_empty() {
        let mut table = Table::new(3, ["PUBLISHED", "SERVICE", "PORT"]);
        for port in published {
            table.row([port.address, port.service, port.service_port.to_string()]);
        }
        print!("\n{}", table.render());
    }
    Ok(())
}

/// Ready and all pods by namespace.
fn count(pods: &[Pod]) -> BTreeMap<String, (usize, usize)> {
    let mut namespaces = BTreeMap::<String, (usize, usize)>::new();
    for pod in pods {
        let (ready, all) = namespaces.entry(pod.metadata.namespace.clone().unwrap_or_default()).or_default();
        *all += 1;
        *ready += usize::from(report::is_ready(pod));
    }
    namespaces
}
