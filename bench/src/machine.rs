//! The machine a run is on: a network of its own, and who runs on which processor.

use anyhow::Context as _;
use mizzen_net::isolation;
use mizzen_net::link::Links;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::process::{Child, Command};

/// The processor of the load generator and the application.
pub const LOAD: usize = 0;
/// The processor of the proxies.
pub const PROXIES: usize = 1;

/// What a run says about where it was made.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Description {
    /// The processor's name.
    pub processor: String,
    /// How many processors there are.
    pub processors: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The network the run is in, and its congestion control.
    pub network: String,
}

/// Moves this process into namespaces of its own, where nothing else speaks and ports are free, and where
/// TCP is not paced (BBR, the default of some machines, halves the throughput of loopback). Returns what
/// the network now is. Must be called before there is a second thread.
pub fn isolate() -> anyhow::Result<String> {
    let network = match isolation::enter() {
        Ok(_) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { Links::here()?.up("lo").await })?;
            std::fs::write(CONGESTION, "reno").context("cannot choose the congestion control reno")?;
            "own network namespace"
        }
        Err(error) => {
            eprintln!("not isolated, other traffic will disturb the figures: {error}");
            "shared network"
        }
    };
    let congestion = std::fs::read_to_string(CONGESTION)?;
    Ok(format!("{network}, {}", congestion.trim()))
}

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Says where a run is made.
pub fn describe(network: String) -> anyhow::Result<Description> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Ok(Description {
        processor: processor.map_or("unknown", |(_, name)| name.trim()).to_owned(),
        processors: usize::try_from(sysconf(SysconfVar::_NPROCESSORS_ONLN)?.unwrap_or(1))?,
        kernel: nix::sys::utsname::uname()?.release().to_string_lossy().into_owned(),
        network,
    })
}

/// Binds this thread, and what it starts from now on, to one processor. On a machine without it, says
/// so by failing.
pub fn stay_on(processor: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on processor {processor}"))
}

/// Starts a process that stays on one processor. This thread is there meanwhile, since a process inherits
/// the place of the one that starts it.
pub fn spawn_on(processor: usize, command: &mut Command) -> anyhow::Result<Child> {
    let here = sched_getaffinity(Pid::from_raw(0))?;
    stay_on(processor)?;
    let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()));
    sched_setaffinity(Pid::from_raw(0), &here)?;
    child
}
