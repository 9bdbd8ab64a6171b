//! A mesh under test: started once for a rung of privileges, shared by its cases, taken down by
//! the last.

pub mod kubectl;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest any condition is waited for. Never asserted: it only bounds a failing run.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// With which privileges the mesh runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// As root.
    Root,
    /// As a user without privileges, in user namespaces.
    Rootless,
}

impl Rung {
    /// For names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Rung::Root => "root",
            Rung::Rootless => "rootless",
        }
    }
}

/// A user without privileges that every Linux has.
const NOBODY: &str = "65534";

/// Why the cases of a rung cannot run here; `None` when they can.
pub fn missing(rung: Rung) -> Option<String> {
    for program in ["kubectl", "curl"] {
        if Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Some(format!("{program} is not installed"));
        }
    }
    let root = nix::unistd::geteuid().is_root();
    match rung {
        Rung::Root if !root => Some("the tests do not run as root".to_owned()),
        Rung::Rootless => {
            let mut probe = if root { as_nobody() } else { Command::new("env") };
            let allowed = probe.args(["unshare", "-Urnm", "true"]).stderr(Stdio::null()).status();
            match allowed {
                Ok(status) if status.success() => None,
                _ => Some("this kernel lets nobody create user namespaces".to_owned()),
            }
        }
        Rung::Root => None,
    }
}

/// A command as the user nobody.
fn as_nobody() -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    command
}

/// The mesh of a rung, started by the first case that needs it.
#[derive(Clone)]
pub struct Shared {
    rung: Rung,
    mesh: Arc<Mutex<State>>,
}

enum State {
    Unstarted,
    Running(Mesh),
    Failed(String),
}

impl Shared {
    pub fn new(rung: Rung) -> Self {
        Self { rung, mesh: Arc::new(Mutex::new(State::Unstarted)) }
    }

    /// Runs `case` with the mesh.
    pub fn with(&self, case: super::Case) -> anyhow::Result<()> {
        let mut state = self.mesh.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Unstarted = *state {
            *state = match Mesh::start(self.rung) {
                Ok(mesh) => State::Running(mesh),
                Err(error) => State::Failed(format!("{error:#}")),
            };
        }
        match &*state {
            State::Running(mesh) => case(mesh).map_err(|error| match mesh.evidence() {
                Some(evidence) => error.context(evidence),
                None => error,
            }),
            State::Failed(reason) => bail!("the mesh did not start: {reason}"),
            State::Unstarted => bail!("the mesh was not started"),
        }
    }

    /// Takes the mesh down and looks for what it may have left.
    pub fn finish(&self) -> anyhow::Result<()> {
        let mut state = self.mesh.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Unstarted) {
            State::Running(mesh) => mesh.down(),
            State::Failed(_) | State::Unstarted => Ok(()),
        }
    }
}

/// A running mesh.
pub struct Mesh {
    process: Mutex<Child>,
    folder: tempfile::TempDir,
}

/// Names of what was changed for a case, for its own use.
pub type Json = Value;

impl Mesh {
    fn start(rung: Rung) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("mizzen-test-").tempdir()?;
        let root = nix::unistd::geteuid().is_root();
        let mut command = match rung {
            Rung::Rootless if root => {
                let nobody: u32 = NOBODY.parse()?;
                let (user, group) = (nix::unistd::Uid::from_raw(nobody), nix::unistd::Gid::from_raw(nobody));
                nix::unistd::chown(folder.path(), Some(user), Some(group))?;
                let mut command = as_nobody();
                // The build's folder may be closed to others; the user gets a copy of the binary.
                let copy = folder.path().join("mizzen");
                std::fs::copy(binary(), &copy)?;
                command.arg(copy).env("HOME", folder.path());
                command
            }
            _ => Command::new(binary()),
        };
        let log = std::fs::File::create(folder.path().join("up.log"))?;
        command.args(["up", "--state"]).arg(folder.path().join("state"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("cannot start mizzen up")?;
        let mesh = Self { process: Mutex::new(process), folder };
        mesh.wait_for("the mesh to be up", || {
            let ended = mesh.process.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?;
            if let Some(status) = ended {
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

    fn down(self) -> anyhow::Result<()> {
        let state = self.state();
        self.mizzen(&["down", "--state", &state])?;
        self.process.lock().unwrap_or_else(PoisonError::into_inner).wait()?;
        let left = Command::new("pgrep").args(["-f", &format!("--state {state}")]).output();
        if let Ok(left) = left {
            let left = String::from_utf8_lossy(&left.stdout).into_owned();
            ensure!(left.trim().is_empty(), "processes were left behind: {left}");
        }
        Ok(())
    }

    fn state(&self) -> String {
        self.folder.path().join("state").display().to_string()
    }

    /// What `mizzen up` printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("up.log")).unwrap_or_default()
    }

    /// What helps to understand a failed case.
    fn evidence(&self) -> Option<String> {
        let pods = self.kubectl(&["get", "pods", "-A", "-o", "wide"]).ok()?;
        let events = self.kubectl(&["get", "events", "-A"]).unwrap_or_default();
        let events: Vec<&str> = events.lines().rev().take(20).collect();
        Some(format!("\n{}\n{pods}\nlast events:\n{}\n", self.log(), events.join("\n")))
    }

    /// A folder for files of the cases.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("state/kubeconfig")
    }

    /// Runs kubectl; its standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(Command::new("kubectl").env("KUBECONFIG", self.kubeconfig()).args(arguments))
    }

    /// Runs kubectl, which must fail; its standard error.
    pub fn kubectl_fails(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("kubectl").env("KUBECONFIG", self.kubeconfig()).args(arguments).output()?;
        ensure!(!output.status.success(), "kubectl {arguments:?} succeeded: {}", text(&output.stdout));
        Ok(text(&output.stderr))
    }

    /// Applies YAML text.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        with_input(self.kubectl_command(&["apply", "-f", "-"]), yaml)
    }

    /// Applies YAML text that must be refused; kubectl's standard error.
    pub fn apply_fails(&self, yaml: &str) -> anyhow::Result<String> {
        match with_input(self.kubectl_command(&["apply", "-f", "-"]), yaml) {
            Ok(output) => bail!("the API took it: {output}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Command {
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
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Json> {
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

    /// The port of this machine at which a LoadBalancer Service's port is published.
    pub fn published(&self, namespace: &str, service: &str, port: u16) -> anyhow::Result<u16> {
        self.wait_for(&format!("port {port} of {service} to be published"), || {
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
        self.wait_for(&format!("a pod with {selector}"), || {
            let pods = self.get(&["-n", namespace, "pods", "-l", selector])?;
            let running = pods["items"].as_array().into_iter().flatten().find(|pod| {
                pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
            });
            Ok(running.and_then(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)))
        })
    }

    /// Waits until `ready` gives something; errors inside end the wait at once.
    pub fn wait_for<T>(
        &self,
        what: &str,
        mut ready: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let (_keep, pause) = std::sync::mpsc::channel::<()>();
        loop {
            if let Some(found) = ready()? {
                return Ok(found);
            }
            ensure!(start.elapsed() < PATIENCE, "gave up waiting for {what}");
            // A pause between looks, not a wait for something to have happened.
            let _ = pause.recv_timeout(Duration::from_millis(100));
        }
    }

    /// The same for conditions whose errors only mean "not yet".
    pub fn eventually<T>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut last = None;
        let found = self.wait_for(what, || match attempt() {
            Ok(found) => Ok(Some(found)),
            Err(error) => {
                last = Some(error);
                Ok(None)
            }
        });
        found.map_err(|error| match last {
            Some(last) => last.context(error),
            None => error,
        })
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // `down` has already ended it in an orderly run; this is for the others.
        let _ = self.process.lock().unwrap_or_else(PoisonError::into_inner).kill();
        let _ = self.process.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_mizzen"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed; its standard output.
pub fn checked(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    succeeded(command, &output)
}

/// Runs a command that must succeed with something to read; its standard output.
pub fn with_input(mut command: Command, input: &str) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    succeeded(&command, &output)
}

fn succeeded(command: &Command, output: &Output) -> anyhow::Result<String> {
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}

/// A certificate for `name`, self-signed, as PEM: certificate and key.
pub fn certificate(name: &str) -> anyhow::Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// A TLS Secret.
pub fn tls_secret(namespace: &str, name: &str, (certificate, key): &(String, String)) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {"tls.crt": certificate, "tls.key": key}
    })
    .to_string()
}

/// A Deployment of the built-in echo application.
pub fn echo(namespace: &str, name: &str, app: &str, version: &str, replicas: u32) -> String {
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app, "version": version}},
            "template": {
                "metadata": {"labels": {"app": app, "version": version}},
                "spec": {"containers": [{"name": "app", "image": "mizzen/echo",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "VERSION", "value": version}]}]}
            }
        }
    })
    .to_string()
}
