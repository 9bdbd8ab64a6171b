//! What is measured in a round: a proxy, or two, set up and running.

use crate::backend;
use crate::bootstrap::{self, Sidecars};
use crate::certificates::Certificates;
use crate::machine;
use crate::measure::{Cpu, Memory};
use crate::peer::{Peer, Program};
use crate::scenario::Path;
use crate::{haproxy, nginx, probe};
use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, Stdio};

/// What all targets of a run share.
pub struct Setting {
    /// Where configurations and logs go.
    pub folder: PathBuf,
    /// The run's certificates.
    pub certificates: Certificates,
}

/// One proxy process. It ends with this.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the last lines of its log when it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}: {}", last_lines(&self.log)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about other errors.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_lines(log: &FilePath) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// A path to the application with its proxies running.
pub struct Target {
    /// Where load goes.
    pub entry: SocketAddr,
    /// The proxies in the order a request meets them.
    pub processes: Vec<Process>,
    /// Their admin ports, where they have one with metrics.
    pub admin: Vec<SocketAddr>,
}

/// How one proxy is started.
struct Setup {
    role: &'static str,
    listens: SocketAddr,
    admin: Option<SocketAddr>,
    configuration: String,
}

impl Target {
    /// No proxy at all.
    pub fn direct() -> Self {
        Self { entry: backend::HTTP1, processes: Vec::new(), admin: Vec::new() }
    }

    /// Starts the proxies of `path` and waits until they listen. `place` tells apart the targets of a
    /// scenario, each of which has ports of its own.
    pub fn start(program: &Program, path: Path, place: u16, setting: &Setting) -> anyhow::Result<Self> {
        let setups = setups(program.peer, path, place, setting);
        let mut target = Self { entry: setups[0].listens, processes: Vec::new(), admin: Vec::new() };
        for setup in setups {
            let mut process = start(program, &setup, setting)?;
            probe::listening(setup.listens, || process.check())
                .with_context(|| format!("{} ({}) does not start", program.peer, setup.role))?;
            target.processes.push(process);
            target.admin.extend(setup.admin);
        }
        Ok(target)
    }

    /// Processor time of each proxy since its start.
    pub fn cpu(&self) -> anyhow::Result<Vec<Cpu>> {
        self.processes.iter().map(|process| Cpu::of(process.id())).collect()
    }

    /// Memory of all proxies together.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let each = self.processes.iter().map(|process| Memory::of(process.id()));
        each.sum::<anyhow::Result<Memory>>()
    }

    /// Fails when a proxy has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }
}

fn start(program: &Program, setup: &Setup, setting: &Setting) -> anyhow::Result<Process> {
    let name = format!("{}-{}", program.peer, setup.role);
    let file = setting.folder.join(format!("{name}.conf"));
    fs::write(&file, &setup.configuration)?;
    let log = setting.folder.join(format!("{name}.log"));
    let output = File::create(&log)?;
    let mut command = Command::new(&program.path);
    match program.peer {
        Peer::Mizzen => command.args(["proxy", "--concurrency", "1", "-l", "warn", "-c"]).arg(&file),
        Peer::Envoy => {
            command.args(["--concurrency", "1", "-l", "warn", "--disable-hot-restart", "-c"]).arg(&file)
        }
        Peer::Haproxy => command.args(["-db", "-f"]).arg(&file),
        Peer::Nginx => command.arg("-p").arg(&setting.folder).arg("-c").arg(&file),
    };
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    Ok(Process { child: machine::spawn_on(machine::PROXIES, &mut command)?, log })
}

/// Where the control plane of a target is.
pub fn control_plane(place: u16) -> SocketAddr {
    port(place, 4)
}

fn port(place: u16, offset: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 21000 + place * 10 + offset))
}

fn setups(peer: Peer, path: Path, place: u16, setting: &Setting) -> Vec<Setup> {
    let port = |offset| port(place, offset);
    let (entry, admin) = (port(0), port(1));
    let Setting { folder, certificates } = setting;
    let one = |role, configuration: String| {
        let admin = matches!(peer, Peer::Mizzen | Peer::Envoy).then_some(admin);
        vec![Setup { role, listens: entry, admin, configuration }]
    };
    let at = Sidecars {
        client: entry,
        client_admin: admin,
        server: port(2),
        server_admin: port(3),
        application: backend::HTTP1,
    };
    let two = |[client, server]: [String; 2], admin: bool| {
        let set = |role, listens, port, configuration| Setup {
            role,
            listens,
            admin: admin.then_some(port),
            configuration,
        };
        vec![
            set("client", at.client, at.client_admin, client),
            set("server", at.server, at.server_admin, server),
        ]
    };
    match (path, peer) {
        (Path::Hop { http2_in, http2_out, tls }, peer) => {
            let application = if http2_out { backend::HTTP2 } else { backend::HTTP1 };
            let tls_of = tls.then_some(certificates);
            let role = if tls { "tls" } else { "hop" };
            let configuration = match peer {
                Peer::Haproxy => haproxy::hop(entry, application, http2_in, http2_out, tls_of),
                Peer::Nginx => nginx::hop(folder, entry, application, http2_in, tls_of),
                _ => bootstrap::hop(admin, entry, application, http2_out, tls_of).to_string(),
            };
            one(role, configuration)
        }
        (Path::Tcp, Peer::Haproxy) => one("tcp", haproxy::tcp(entry, backend::HTTP1)),
        (Path::Tcp, Peer::Nginx) => one("tcp", nginx::tcp(folder, entry, backend::HTTP1)),
        (Path::Tcp, _) => one("tcp", bootstrap::tcp(admin, entry, backend::HTTP1).to_string()),
        (Path::Mesh | Path::MeshTcp, Peer::Haproxy) => {
            two(haproxy::mesh(&at, certificates, path == Path::MeshTcp), false)
        }
        (Path::Mesh, peer) => {
            two(bootstrap::mesh(peer, &at, certificates, folder).map(|text| text.to_string()), true)
        }
        (Path::MeshTcp, _) => two(bootstrap::mesh_tcp(&at, certificates).map(|text| text.to_string()), true),
        (Path::Routed(count), _) => {
            let control_plane = control_plane(place);
            let routed = bootstrap::routed(admin, entry, backend::HTTP1, control_plane, count);
            one("routed", routed.to_string())
        }
        (Path::Large(count), _) => {
            one("large", bootstrap::large(admin, entry, backend::HTTP1, count).to_string())
        }
    }
}
