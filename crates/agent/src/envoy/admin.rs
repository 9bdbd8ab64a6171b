//! Envoy's admin interface, as far as an agent needs it.

use crate::bootstrap::ADMIN_PORT;
use crate::metrics::{ask, get};
use anyhow::{Context as _, ensure};
use http::Method;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Has both kinds of resources, and its workers listen. Source: Istio, `pilot/cmd/pilot-agent/status/ready`.
const READY: &str = "/stats?format=json&filter=^(server.state|listener_manager.workers_started|\
    cluster_manager.cds.update_success|listener_manager.lds.update_success)$";
/// Connections to listeners, those that bind no port included; the admin interface's own is among them.
const CONNECTIONS: &str = "/stats?format=json&filter=^listener\\..*\\.downstream_cx_active$";

/// The admin interface of the Envoy beside this agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin(SocketAddr);

impl Admin {
    pub(super) fn new() -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT))
    }

    async fn stats(self, path: &str) -> anyhow::Result<Vec<(String, u64)>> {
        let (status, body) = get(self.0, path, &[], TIMEOUT).await?;
        ensure!(status.is_success(), "Envoy answered {status} to {path}");
        statistics(&serde_json::from_slice(&body).context("Envoy's statistics are no JSON")?)
    }

    pub(super) async fn is_ready(self) -> anyhow::Result<bool> {
        Ok(is_ready(&self.stats(READY).await?))
    }

    /// Open connections to its listeners.
    pub(super) async fn connections(self) -> anyhow::Result<u64> {
        let statistics = self.stats(CONNECTIONS).await?;
        let of_listeners = statistics.iter().filter(|(name, _)| !name.starts_with("listener.admin."));
        Ok(of_listeners.map(|(_, value)| value).sum())
    }

    pub(super) async fn prometheus(self) -> anyhow::Result<String> {
        let (status, body) = get(self.0, "/stats/prometheus", &[], TIMEOUT).await?;
        ensure!(status.is_success(), "Envoy answered {status}");
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Closes listeners once what is open has been told to go.
    pub(super) async fn drain(self) -> anyhow::Result<()> {
        self.post("/drain_listeners?graceful").await
    }

    /// The same as SIGTERM.
    pub(super) async fn quit(self) -> anyhow::Result<()> {
        self.post("/quitquitquit").await
    }

    async fn post(self, path: &str) -> anyhow::Result<()> {
        let (status, _) = ask(Method::POST, self.0, path, &[], TIMEOUT).await?;
        ensure!(status.is_success(), "Envoy answered {status} to {path}");
        Ok(())
    }
}

/// Names and values of `/stats?format=json`.
fn statistics(answer: &Value) -> anyhow::Result<Vec<(String, u64)>> {
    let listed = answer["stats"].as_array().context("Envoy's statistics have no list")?;
    let pair = |entry: &Value| Some((entry["name"].as_str()?.to_owned(), entry["value"].as_u64()?));
    Ok(listed.iter().filter_map(pair).collect())
}

fn is_ready(statistics: &[(String, u64)]) -> bool {
    let value = |name: &str| statistics.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
    let some = |name: &str| value(name).is_some_and(|count| count > 0);
    // State 0 is "live".
    value("server.state") == Some(0)
        && some("listener_manager.workers_started")
        && some("cluster_manager.cds.update_success")
        && some("listener_manager.lds.update_success")
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
