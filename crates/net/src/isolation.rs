//! Turning this process into one that has namespaces of its own: the rungs of the sandbox's ladder.
//!
//! [`enter`] must run before any thread exists. It forks twice, so that three processes stay: one
//! in the old pid namespace that only waits; the first process of the new pid namespace, which
//! reaps orphans and with whose death the kernel kills everything inside; and the one that
//! returns and does the work. Each dies with its parent.

use std::fs;
use std::io;
use std::process::exit;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid, setsid};

/// By what right the namespaces are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// As root, without a user namespace.
    Root,
    /// As an ordinary user who is root in a user namespace of its own.
    UserNamespace,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Rung::Root => "root",
            Rung::UserNamespace => "rootless (user namespaces)",
        })
    }
}

/// Why no rung holds.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// The kernel or its configuration forbids namespaces.
    #[error("this machine does not allow namespaces ({error}): {advice}")]
    Forbidden {
        /// The kernel's answer.
        error: Errno,
        /// What to do about it.
        advice: &'static str,
    },
    /// The namespaces are there but cannot be set up.
    #[error("cannot {action} in the new namespaces: {source}")]
    Setup {
        /// What failed.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The namespaces of a machine inside the machine.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// Enters new user (unless root), network, mount, pid, host-name and IPC namespaces. Returns in the
/// innermost process only; the others end with its exit status.
///
/// Must be called while the process has a single thread.
pub fn enter() -> Result<Rung, IsolationError> {
    // Ctrl-C of the terminal is for the process that started us, which then ends us in order.
    // Failing means that we lead a session already.
    let _ = setsid();
    let rung = unshare_all()?;
    die_with_parent()?;
    wait_in_parent(false)?;
    die_with_parent()?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|error| setup("make mounts private", error.into()))?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)
        .map_err(|error| setup("mount /proc", error.into()))?;
    wait_in_parent(true)?;
    die_with_parent()?;
    Ok(rung)
}

fn setup(action: &'static str, source: io::Error) -> IsolationError {
    IsolationError::Setup { action, source }
}

fn unshare_all() -> Result<Rung, IsolationError> {
    if geteuid().is_root() {
        match unshare(NAMESPACES) {
            Ok(()) => return Ok(Rung::Root),
            // Root without CAP_SYS_ADMIN, as in a container.
            Err(Errno::EPERM) => {}
            Err(error) => return Err(forbidden(error)),
        }
    }
    let (user, group) = (geteuid(), getegid());
    unshare(NAMESPACES | CloneFlags::CLONE_NEWUSER).map_err(forbidden)?;
    let write = |path: &str, text: &str| fs::write(path, text);
    write("/proc/self/setgroups", "deny").map_err(|error| setup("deny setgroups", error))?;
    write("/proc/self/uid_map", &format!("0 {user} 1")).map_err(|error| setup("map the user id", error))?;
    write("/proc/self/gid_map", &format!("0 {group} 1")).map_err(|error| setup("map the group id", error))?;
    Ok(Rung::UserNamespace)
}

fn forbidden(error: Errno) -> IsolationError {
    let setting =
        |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let advice = if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        "AppArmor restricts user namespaces; run as root, or `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
    } else if setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        "run as root, or `sysctl -w kernel.unprivileged_userns_clone=1`"
    } else if setting("/proc/sys/user/max_user_namespaces") == "0" {
        "run as root, or `sysctl -w user.max_user_namespaces=10000`"
    } else {
        "run as root; in a container allow unshare (docker run --privileged, or a seccomp profile that permits it)"
    };
    IsolationError::Forbidden { error, advice }
}

fn die_with_parent() -> Result<(), IsolationError> {
    set_pdeathsig(Signal::SIGKILL).map_err(|error| setup("tie this process to its parent", error.into()))
}

/// Forks; the child returns, the parent waits for it and ends as it did.
fn wait_in_parent(reaps_orphans: bool) -> Result<(), IsolationError> {
    // SAFETY: the process has a single thread (required of the caller of `enter`), so the child
    // has all of its state and may go on as usual.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => Ok(()),
        Ok(ForkResult::Parent { child }) => exit(wait_for(child, reaps_orphans)),
        Err(error) => Err(setup("fork", error.into())),
    }
}

fn wait_for(child: Pid, reaps_orphans: bool) -> i32 {
    let whom = if reaps_orphans { Pid::from_raw(-1) } else { child };
    loop {
        match waitpid(whom, None) {
            Ok(WaitStatus::Exited(ended, code)) if ended == child => return code,
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == child => return 128 + signal as i32,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 1,
        }
    }
}
