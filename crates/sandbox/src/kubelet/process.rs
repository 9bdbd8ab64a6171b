//! A running process of a container and its end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use mizzen_net::process::Placement;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use tokio::process::{Child, Command};

use super::image::Program;

/// What a program that is not found is looked for in, when the machine says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where and how processes of a container run: kept for `exec`, hooks and probes.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its namespaces and working directory.
    pub placement: Placement,
    /// Its environment, complete.
    pub environment: BTreeMap<String, String>,
}

/// The streams of a new process.
pub struct Streams {
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
}

/// The environment every container has before its own.
pub fn base_environment(host_name: &str) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    [("PATH", path.as_str()), ("HOME", "/"), ("HOSTNAME", host_name)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Starts a program. It leads a process group of its own, which [`Group`] ends.
pub fn start(place: &Place, program: &Program, arguments: &[String], streams: Streams) -> io::Result<Child> {
    let mut command = match program {
        // The path may have been replaced by a newer build meanwhile; this is what runs now.
        Program::Own => {
            let mut command = std::process::Command::new("/proc/self/exe");
            command.arg0("mizzen");
            command
        }
        Program::Host(name) => std::process::Command::new(find(name, &place.environment)),
    };
    command.args(arguments).env_clear().envs(&place.environment);
    command.stdin(streams.stdin).stdout(streams.stdout).stderr(streams.stderr);
    place.placement.clone().apply(&mut command);
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command.spawn()
}

/// A bare name is looked for in the container's own `PATH`; what is not found fails at the start.
fn find(name: &str, environment: &BTreeMap<String, String>) -> std::path::PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let path = environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let found =
        path.split(':').map(|folder| Path::new(folder).join(name)).find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| name.into())
}

/// A container's process group.
#[derive(Clone, Copy, Debug)]
pub struct Group(Pid);

impl Group {
    /// The group a started process leads.
    pub fn of(child: &Child) -> Option<Self> {
        let process = i32::try_from(child.id()?).ok()?;
        Some(Self(Pid::from_raw(process)))
    }

    /// Signals every process of the group; one that is gone is fine.
    pub fn signal(self, signal: Signal) {
        let _ = killpg(self.0, signal);
    }
}

/// Asks the group to end, insists after `grace`, and waits for the leader.
pub async fn end(child: &mut Child, group: Group, grace: Duration) -> io::Result<ExitStatus> {
    group.signal(Signal::SIGTERM);
    if let Ok(ended) = tokio::time::timeout(grace, child.wait()).await {
        return ended;
    }
    group.signal(Signal::SIGKILL);
    child.wait().await
}

/// Exit code and signal as Kubernetes reports them.
pub fn exit_code(status: ExitStatus) -> (i32, Option<i32>) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (code, None),
        (None, Some(signal)) => (128 + signal, Some(signal)),
        (None, None) => (255, None),
    }
}
