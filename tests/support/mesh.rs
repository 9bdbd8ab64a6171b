//! A running mesh and what a case does with it.

use super::commands::{binary, checked, descendants, text, wait_for, with_input};
use super::place::{Place, Rung};
use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A running mesh.
pub struct Mesh {
    /// Of `mizzen up`, where it does not run in the background.
    process: Mutex<Option<Child>>,
    place: Arc<Place>,
}

impl Mesh {
    /// A mesh in a new folder.
    pub fn start(rung: Rung) -> anyhow::Result<Self> {
        Self::start_in(Arc::new(Place::new(rung)?), &[])
    }

    /// A mesh in `place`, by `mizzen up` with further arguments.
    pub fn start_in(place: Arc<Place>, arguments: &[&str]) -> anyhow::Result<Self> {
        let log = std::fs::File::create(place.log())?;
        let mut command = place.mizzen();
        command.args(["up", "--state"]).arg(place.state()).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("cannot start mizzen up")?;
        let mesh = Self { process: Mutex::new(Some(process)), place };
        wait_for("the mesh to be up", || {
            let ended = mesh.process().as_mut().and_then(|process| process.try_wait().transpose());
            if let Some(status) = ended.transpose()? {
                bail!("mizzen up ended with {status}:\n{}", mesh.log());
            }
            Ok(mesh.mizzen(&["status", "--state", &mesh.state(), "-o", "json"]).is_ok().then_some(()))
        })?;
        mesh.kubectl(&[
            "wait",
            "-n",
            "istio-system",
            "deployment",
            "--all",
            "--for=condition=Available",
            "--timeout=60s",
        ])?;
        Ok(mesh)
    }

    /// The mesh that runs in the background in `place`.
    pub fn at(place: Arc<Place>) -> Self {
        Self { process: Mutex::new(None), place }
    }

    /// Takes the mesh down and looks for what it may have left.
    pub fn down(self) -> anyhow::Result<()> {
        self.mizzen(&["down", "--state", &self.state()])?;
        if let Some(process) = self.process().as_mut() {
            process.wait()?;
        }
        self.place.is_clean()
    }

    /// Sends the process of `mizzen up` a signal and waits for its end.
    pub fn end_by(self, signal: Signal) -> anyhow::Result<()> {
        let mut process = self.process();
        let process = process.as_mut().context("the mesh runs in the background")?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(process.id())?), signal)?;
        process.wait()?;
        Ok(())
    }

    /// Every process of the mesh, by number.
    pub fn processes(&self) -> anyhow::Result<BTreeSet<String>> {
        descendants(self.process().as_ref().context("the mesh runs in the background")?.id())
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> String {
        self.place.state().display().to_string()
    }

    /// What `mizzen up` printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.log()).unwrap_or_default()
    }

    /// What helps to understand a failed case.
    pub fn evidence(&self) -> Option<String> {
        let pods = self.kubectl(&["get", "pods", "-A", "-o", "wide"]).ok()?;
        let events = self.kubectl(&["get", "events", "-A"]).unwrap_or_default();
        let events: Vec<&str> = events.lines().rev().take(20).collect();
        Some(format!("\n{}\n{pods}\nlast events:\n{}\n", self.log(), events.join("\n")))
    }

    /// A folder for files of the cases.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.place.kubeconfig()
    }

    /// Runs kubectl; its standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(&mut self.kubectl_command(arguments))
    }

    /// Runs kubectl, which must fail; its standard error.
    pub fn kubectl_fails(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.kubectl_command(arguments).output()?;
        ensure!(!output.status.success(), "kubectl {arguments:?} succeeded: {}", text(&output.stdout));
        Ok(text(&output.stderr))
    }

    /// Waits for every Deployment of a namespace.
    pub fn available(&self, namespace: &str) -> anyhow::Result<()> {
        let all = ["deployment", "--all", "--for=condition=Available", "--timeout=120s"];
        self.kubectl(&[&["wait", "-n", namespace], &all[..]].concat()).map(drop)
    }

    /// Applies YAML text.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        with_input(self.kubectl_command(&["apply", "-f", "-"]), yaml)
    }

    /// Deletes the objects of YAML text.
    pub fn delete(&self, yaml: &str) -> anyhow::Result<String> {
        with_input(self.kubectl_command(&["delete", "--wait=false", "-f", "-"]), yaml)
    }

    /// Applies YAML text that must be refused; kubectl's standard error.
    pub fn apply_fails(&self, yaml: &str) -> anyhow::Result<String> {
        match with_input(self.kubectl_command(&["apply", "-f", "-"]), yaml) {
            Ok(output) => bail!("the API took it: {output}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// kubectl with this mesh's kubeconfig.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        command
    }

    /// Applies a manifest of the sheet, as it is written.
    pub fn apply_sheet(&self, file: &str) -> anyhow::Result<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/sheet").join(file);
        self.kubectl(&["apply", "-f", &path.display().to_string()])
    }

    /// One object, as JSON.
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["get", "-o", "json"];
        all.extend(arguments);
        Ok(serde_json::from_str(&self.kubectl(&all)?)?)
    }

    /// Runs the binary; its standard output.
    pub fn mizzen(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(&mut self.mizzen_command(arguments))
    }

    /// The binary with this mesh's kubeconfig.
    pub fn mizzen_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        command
    }

    /// Where the API listens, `HOST:PORT`.
    pub fn api_address(&self) -> anyhow::Result<String> {
        let status: Value =
            serde_json::from_str(&self.mizzen(&["status", "--state", &self.state(), "-o", "json"])?)?;
        let url = status["api"].as_str().context("the status names no API")?;
        Ok(url.trim_start_matches("https://").to_owned())
    }

    /// The port of this machine at which a LoadBalancer Service's port is published.
    pub fn published(&self, namespace: &str, service: &str, port: u16) -> anyhow::Result<u16> {
        wait_for(&format!("port {port} of {service} to be published"), || {
            let service = self.get(&["-n", namespace, "service", service])?;
            let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
            let position = ports.iter().position(|entry| entry["port"] == port);
            let published = &service["status"]["loadBalancer"]["ingress"][0]["ports"];
            let found = position.and_then(|position| published[position]["port"].as_u64());
            Ok(found.and_then(|port| u16::try_from(port).ok()))
        })
    }

    /// The name of a running pod with a label, one that is not being deleted.
    pub fn pod(&self, namespace: &str, selector: &str) -> anyhow::Result<String> {
        wait_for(&format!("a pod with {selector}"), || {
            let pods = self.get(&["-n", namespace, "pods", "-l", selector])?;
            let running = pods["items"].as_array().into_iter().flatten().find(|pod| {
                pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
            });
            Ok(running.and_then(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)))
        })
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // An orderly run has already ended it; this is for the others.
        match self.process().as_mut() {
            Some(process) => {
                let _ = process.kill();
                let _ = process.wait();
            }
            None => {
                let _ = self.mizzen(&["down", "--state", &self.state()]);
            }
        }
    }
}
