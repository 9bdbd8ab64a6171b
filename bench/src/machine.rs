//! The machine a run is on: a network of its own.

use anyhow::Context as _;
use mizzen_net::isolation;
use mizzen_net::link::Links;

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
        processors: std::thread::available_parallelism()?.get(),
        kernel: nix::sys::utsname::uname()?.release().to_string_lossy().into_owned(),
        network,
    })
}
