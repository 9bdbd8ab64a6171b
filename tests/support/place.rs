//! Where a mesh under test lives: with which privileges, and in which folder.

use super::commands::{binary, text};
use anyhow::ensure;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// That of whoever runs the tests.
pub fn own_rung() -> Rung {
    if nix::unistd::geteuid().is_root() { Rung::Root } else { Rung::Rootless }
}

/// Says so if a program is not installed.
pub fn missing_program(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    let tried = command.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    tried.status().is_err().then(|| format!("{program} is not installed"))
}

/// A user without privileges that every Linux has.
const NOBODY: &str = "65534";

/// Why the cases of a rung cannot run here; `None` when they can.
pub fn missing(rung: Rung) -> Option<String> {
    if let Some(reason) = ["kubectl", "curl", "python3"].into_iter().find_map(missing_program) {
        return Some(reason);
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

/// A folder for a mesh, removed at the end; its state outlives `mizzen down`.
#[derive(Debug)]
pub struct Place {
    rung: Rung,
    folder: tempfile::TempDir,
}

impl Place {
    /// A new folder, of the user who runs the mesh.
    pub fn new(rung: Rung) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("mizzen-test-").tempdir()?;
        let place = Self { rung, folder };
        if place.is_of_another_user() {
            let nobody: u32 = NOBODY.parse()?;
            let (user, group) = (nix::unistd::Uid::from_raw(nobody), nix::unistd::Gid::from_raw(nobody));
            nix::unistd::chown(place.folder(), Some(user), Some(group))?;
            // The build's folder may be closed to others; the user gets a copy of the binary.
            std::fs::copy(binary(), place.copy())?;
        }
        Ok(place)
    }

    /// The binary as the user of the mesh runs it.
    pub fn mizzen(&self) -> Command {
        if !self.is_of_another_user() {
            return Command::new(binary());
        }
        let mut command = as_nobody();
        command.arg(self.copy()).env("HOME", self.folder());
        command
    }

    fn is_of_another_user(&self) -> bool {
        self.rung == Rung::Rootless && nix::unistd::geteuid().is_root()
    }

    fn copy(&self) -> PathBuf {
        self.folder().join("mizzen")
    }

    /// The folder, also for files of the cases.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The mesh's state.
    pub fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    /// What `mizzen up` prints.
    pub fn log(&self) -> PathBuf {
        self.folder().join("up.log")
    }

    /// The way to the mesh's API.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state().join("kubeconfig")
    }

    /// Processes that run with the state of this place, and mounts in it.
    pub fn left(&self) -> anyhow::Result<Vec<String>> {
        let state = self.state().display().to_string();
        let processes = Command::new("pgrep").args(["-f", "-a", &state]).output()?;
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let mounts = mounts.lines().filter(|mount| mount.contains(&state)).map(str::to_owned);
        Ok(text(&processes.stdout).lines().map(str::to_owned).chain(mounts).collect())
    }

    /// Fails if anything of the mesh is left.
    pub fn is_clean(&self) -> anyhow::Result<()> {
        let left = self.left()?;
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }
}
