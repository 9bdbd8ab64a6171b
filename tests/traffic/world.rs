//! What the cases call: a client and servers in two versions, in one namespace for each data plane, and a stranger
//! without a sidecar.

use super::Column;
use super::call;
use super::table::{Call, Case};
use crate::support::{Mesh, Shared, certificate, echo, eventually_within, https_server, tls_secret};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where whoever has no sidecar is.
const OUTSIDE: &str = "outside";
/// How long a case may take to come out as expected. It only bounds a failing run.
const CASE_PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    mesh: Shared,
    envoy: Option<PathBuf>,
    prepared: Mutex<BTreeSet<&'static str>>,
    attempts: AtomicUsize,
}

impl World {
    pub fn new(mesh: Shared, envoy: Option<PathBuf>) -> Self {
        Self { mesh, envoy, prepared: Mutex::default(), attempts: AtomicUsize::new(0) }
    }

    /// Takes the mesh down and looks for what it may have left.
    pub fn finish(&self) -> anyhow::Result<()> {
        self.mesh.finish()
    }

    /// Shows a case on a data plane.
    pub fn show(&self, column: Column, case: &Case) -> anyhow::Result<()> {
        self.mesh.with(|mesh| {
            self.prepare(mesh, column)?;
            let manifest = case.manifest(column.name());
            if let Some(manifest) = &manifest {
                mesh.apply(manifest)?;
            }
            let shown = self.comes_out(mesh, column, case);
            if let Some(manifest) = &manifest {
                mesh.delete(manifest)?;
            }
            shown
        })
    }

    fn comes_out(&self, mesh: &Mesh, column: Column, case: &Case) -> anyhow::Result<()> {
        let calls: Vec<(usize, &Call)> = case.calls.iter().enumerate().collect();
        let (of_stranger, of_client): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|(_, call)| call.stranger);
        let mark = eventually_within(CASE_PATIENCE, &format!("{} to come out", case.name), || {
            let mark = format!("{}.{}", case.name, self.attempts.fetch_add(1, Ordering::Relaxed));
            for (namespace, client, calls) in
                [(column.name(), "client", &of_client), (OUTSIDE, "stranger", &of_stranger)]
            {
                if calls.is_empty() {
                    continue;
                }
                let script = call::script(calls, &mark);
                let deployment = format!("deploy/{client}");
                let printed = mesh.kubectl(&[
                    "exec",
                    "-n",
                    namespace,
                    &deployment,
                    "-c",
                    "app",
                    "--",
                    "sh",
                    "-c",
                    &script,
                ])?;
                let answers = call::answers(calls, &printed)?;
                for ((index, call), answers) in calls.iter().zip(&answers) {
                    call::compare(call, answers).with_context(|| format!("call {index}"))?;
                }
            }
            Ok(mark)
        })?;
        for (index, call) in of_client {
            self.leaves_traces(mesh, column, call, &call::user_agent(&mark, index))
                .with_context(|| format!("call {index}"))?;
        }
        Ok(())
    }

    /// What a call leaves in access logs, which are written a little later.
    fn leaves_traces(&self, mesh: &Mesh, column: Column, call: &Call, agent: &str) -> anyhow::Result<()> {
        let log_of = |deployment: &str| {
            let deployment = format!("deploy/{deployment}");
            mesh.kubectl(&["logs", "-n", column.name(), &deployment, "-c", "istio-proxy", "--tail=400"])
        };
        if let Some(expected) = &call.flags {
            eventually_within(CASE_PATIENCE, "the line in the client's access log", || {
                let log = log_of("client")?;
                let found = call::flags(&log, agent)?;
                // Envoy writes them in the order in which they came up, which nobody promises.
                let set = |flags: &str| flags.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
                ensure!(set(found) == set(expected), "flags {found}, not {expected}");
                Ok(())
            })?;
        }
        if let Some(version) = &call.mirrored_to {
            eventually_within(CASE_PATIENCE, "the line in the mirror's access log", || {
                let log = log_of(&format!("server-{version}"))?;
                let copied = log.lines().any(|line| line.contains(agent) && line.contains("-shadow"));
                ensure!(copied, "no line of a copy");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn prepare(&self, mesh: &Mesh, column: Column) -> anyhow::Result<()> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.is_empty() {
            mesh.apply_sheet("5-access-logs.yaml")?;
            mesh.apply(&namespace(OUTSIDE, false))?;
            mesh.apply(&echo(OUTSIDE, "stranger", "stranger", "stranger", 1))?;
            mesh.apply(&service(OUTSIDE, "stranger", "stranger", &[("http", 80, 8080)]))?;
            for name in ["tls-one", "tls-two"] {
                mesh.apply(&tls_secret(OUTSIDE, name, &certificate(name)?))?;
                mesh.apply(&https_server(OUTSIDE, name, name, 443))?;
                mesh.apply(&service(OUTSIDE, name, name, &[("tls", 443, 443)]))?;
            }
            prepared.insert(OUTSIDE);
        }
        if prepared.insert(column.name()) {
            self.populate(mesh, column)?;
            for namespace in [OUTSIDE, column.name()] {
                mesh.available(namespace)?;
            }
        }
        Ok(())
    }

    fn populate(&self, mesh: &Mesh, column: Column) -> anyhow::Result<()> {
        let here = column.name();
        mesh.apply(&namespace(here, true))?;
        let server = [("http", 80, 8080), ("http-alt", 8000, 8080), ("tcp", 9000, 9000)];
        mesh.apply(&service(here, "server", "server", &server))?;
        mesh.apply(&service(here, "plain", "server", &[("http", 80, 8080), ("http-alt", 8000, 8080)]))?;
        mesh.apply(&service(here, "greeter", "greeter", &[("tcp", 9000, 9000)]))?;
        for host in ["server", "greeter"] {
            mesh.apply(&versions(here, host))?;
        }
        for (name, app, version) in [
            ("client", "client", "v1"),
            ("server-v1", "server", "v1"),
            ("server-v2", "server", "v2"),
            ("greeter-v1", "greeter", "v1"),
            ("greeter-v2", "greeter", "v2"),
        ] {
            let mut deployment: Value = serde_json::from_str(&echo(here, name, app, version, 1))?;
            let template = &mut deployment["spec"]["template"];
            template["metadata"]["annotations"] = json!({"proxy.istio.io/config": self.proxy_config(column)});
            let container = &mut template["spec"]["containers"][0];
            container["ports"] = json!([{"containerPort": 8080}, {"containerPort": 9000}]);
            if app == "greeter" {
                let greets = json!({"name": "MIZZEN_ECHO_SERVER_FIRST", "value": "true"});
                container["env"].as_array_mut().context("no environment")?.push(greets);
            }
            mesh.apply(&deployment.to_string())?;
        }
        Ok(())
    }

    fn proxy_config(&self, column: Column) -> String {
        let program = self.envoy.as_ref().filter(|_| column == Column::Envoy);
        let mut config = json!({"concurrency": 1});
        if let Some(program) = program {
            config["binaryPath"] = json!(program);
        }
        config.to_string()
    }
}

fn namespace(name: &str, injected: bool) -> String {
    let labels = if injected { json!({"istio-injection": "enabled"}) } else { json!({}) };
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}).to_string()
}

fn service(namespace: &str, name: &str, app: &str, ports: &[(&str, u16, u16)]) -> String {
    let port =
        |(name, port, target): &(&str, u16, u16)| json!({"name": name, "port": port, "targetPort": target});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": app}, "ports": ports.iter().map(port).collect::<Vec<_>>()}})
    .to_string()
}

/// The subsets that most cases route to.
fn versions(namespace: &str, host: &str) -> String {
    let subset = |version: &str| json!({"name": version, "labels": {"version": version}});
    json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": host, "namespace": namespace},
        "spec": {"host": host, "subsets": [subset("v1"), subset("v2")]}})
    .to_string()
}
