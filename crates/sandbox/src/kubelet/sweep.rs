//! Processes that left their container's group (daemons, sessions of their own) go with the pod:
//! they are found by the pod's network namespace.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use mizzen_net::NetworkNamespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills every process in the namespace.
pub fn kill_all_in(namespace: &NetworkNamespace) {
    let Ok(own) = nix::sys::stat::fstat(namespace.as_fd()) else { return };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let inside = std::fs::metadata(format!("/proc/{process}/ns/net"))
            .is_ok_and(|found| found.ino() == own.st_ino && found.dev() == own.st_dev);
        if inside {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}
