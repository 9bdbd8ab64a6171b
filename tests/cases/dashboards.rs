//! The built-in pages: opened by the command, with the mesh's traffic on them, drawn by a browser.

use super::traffic::{NAMESPACE, in_client, prepare};
use crate::support::{Mesh, checked, eventually};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

pub fn open(mesh: &Mesh) -> anyhow::Result<()> {
    for (page, path) in [("kiali", "/graph"), ("jaeger", "/traces"), ("prometheus", "/metrics")] {
        let mut command = mesh.mizzen_command(&["dashboard", page, "--browser=false"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        // Held until the end: a closed pipe would end the command with its next line.
        let mut lines = BufReader::new(output).lines();
        let url = lines.next().context("no address was printed")??;
        let fetched = (|| {
            ensure!(url.starts_with("http://localhost:") && url.ends_with(path), "{url}");
            eventually("the page", || checked(Command::new("curl").args(["--silent", "--fail", &url])))
        })();
        child.kill()?;
        child.wait()?;
        ensure!(fetched?.contains("<title>Mizzen</title>"), "{page} is not the built-in page");
    }
    Ok(())
}

fn address(mesh: &Mesh) -> anyhow::Result<String> {
    Ok(format!("http://127.0.0.1:{}", mesh.published("istio-system", "mizzen-dashboard", 20001)?))
}

fn data(mesh: &Mesh, path: &str) -> anyhow::Result<Value> {
    let url = format!("{}{path}", address(mesh)?);
    Ok(serde_json::from_str(&checked(Command::new("curl").args(["--silent", "--fail", &url]))?)?)
}

/// A few requests from the client to the server, one of them traced.
fn make_traffic(mesh: &Mesh) -> anyhow::Result<()> {
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c803199-b7ad6b7169203331-01";
    let script = format!(
        "curl --silent --fail --output /dev/null --header '{trace}' http://server/ && \
         curl --silent --fail --output /dev/null 'http://server/#[1-20]'"
    );
    in_client(mesh, &script).map(drop)
}

pub fn show_the_traffic(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    eventually("the graph's edge under mutual TLS", || {
        make_traffic(mesh)?;
        let graph = data(mesh, "/api/graph")?;
        let name = |index: &Value| {
            let node =
                &graph["nodes"][index.as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(0)];
            (node["namespace"].clone(), node["app"].clone())
        };
        let here = |app: &str| (Value::from(NAMESPACE), Value::from(app));
        let edges = graph["edges"].as_array().into_iter().flatten();
        let edge = edges
            .into_iter()
            .find(|edge| {
                name(&edge["source"]) == here("client")
                    && name(&edge["target"]) == here("server")
                    && edge["protocol"] == "http"
            })
            .with_context(|| format!("no edge from client to server: {graph}"))?;
        ensure!(edge["mutual_tls"] == 1.0, "no padlock: {edge}");
        ensure!(edge["rate"].as_f64().is_some_and(|rate| rate > 0.0), "{edge}");
        ensure!(edge["p95"].is_number(), "{edge}");
        Ok(())
    })?;
    eventually("the trace in the list, and its waterfall", || {
        let traces = data(mesh, "/api/trace-list?service=server.traffic")?;
        let listed = traces["traces"].as_array().into_iter().flatten();
        let trace =
            listed.into_iter().find_map(|trace| trace["id"].as_str()).context("no trace of the server")?;
        let spans = data(mesh, &format!("/api/trace/{trace}"))?;
        let spans = spans.as_array().context("no spans")?;
        ensure!(spans.iter().any(|span| span["service"] == "server.traffic"), "{spans:?}");
        ensure!(
            spans.iter().all(|span| span["duration"].is_number() && span["start"].is_number()),
            "{spans:?}"
        );
        Ok(())
    })?;
    eventually("the server's chart", || {
        let charts = data(mesh, "/api/charts")?;
        let services = charts["services"].as_array().into_iter().flatten();
        let chart = services
            .into_iter()
            .find(|chart| chart["namespace"] == NAMESPACE && chart["service"] == "server")
            .with_context(|| format!("no chart of the server: {charts}"))?;
        let rates = chart["rate"].as_array().into_iter().flatten();
        ensure!(
            rates.into_iter().filter_map(Value::as_f64).any(|rate| rate > 0.0),
            "an empty chart: {chart}"
        );
        Ok(())
    })?;
    let proxies = data(mesh, "/api/proxies")?.to_string();
    ensure!(proxies.contains("server-v1-") && proxies.contains("istio-ingressgateway-"), "{proxies}");
    ensure!(data(mesh, "/api/config").is_ok(), "the page of the configuration fails");
    Ok(())
}

/// What a browser makes of the pages.
pub fn drawn(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    for (path, expected) in [
        ("/graph", vec!["class=\"lock\"", "server", "client"]),
        ("/traces", vec!["server.traffic"]),
        ("/traces/0af7651916cd43dd8448eb211c803199", vec!["server.traffic", "client.traffic"]),
        ("/metrics", vec!["server", "<svg"]),
        ("/proxies", vec!["server-v1-"]),
        ("/config", vec!["access-logs"]),
    ] {
        eventually(path, || {
            make_traffic(mesh)?;
            let drawn = browse(&format!("{}{path}", address(mesh)?))?;
            let missing: Vec<_> = expected.iter().filter(|word| !drawn.contains(**word)).collect();
            ensure!(missing.is_empty(), "{path} lacks {missing:?}:\n{drawn}");
            Ok(())
        })?;
    }
    Ok(())
}

/// The page as it stands after its script has run.
fn browse(url: &str) -> anyhow::Result<String> {
    let profile = tempfile::tempdir()?;
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    chromium.arg(format!("--user-data-dir={}", profile.path().display()));
    checked(chromium.args(["--virtual-time-budget=3000", "--dump-dom", url]))
}
