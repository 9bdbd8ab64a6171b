//! Starting processes inside namespaces.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};

use crate::netns::{NetworkNamespace, on_own_thread};

/// A mount or host-name namespace, held open. It lives as long as this, any clone of it, or a
/// process inside does.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<OwnedFd>);

impl Namespace {
    /// Makes a mount namespace: a copy of the current one, in which `build` may mount, and change
    /// the root, without anybody else seeing it.
    pub fn with_mounts(build: impl FnOnce() -> io::Result<()> + Send) -> io::Result<Self> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            build()?;
            Self::open("/proc/thread-self/ns/mnt")
        })?
    }

    /// Makes a namespace in which the host name is `name`.
    pub fn with_host_name(name: &str) -> io::Result<Self> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWUTS)?;
            nix::unistd::sethostname(name)?;
            Self::open("/proc/thread-self/ns/uts")
        })?
    }

    fn open(path: &str) -> io::Result<Self> {
        Ok(Self(Arc::new(File::open(path)?.into())))
    }
}

/// Where a process runs. Every process placed is the leader of a session and process group of
/// its own.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Its network; the caller's when absent.
    pub network: Option<NetworkNamespace>,
    /// Its view of the file system; the caller's when absent.
    pub mounts: Option<Namespace>,
    /// Its host name; the caller's when absent.
    pub host_name: Option<Namespace>,
    /// Its working directory, looked up in its own view of the file system; `/` when absent and
    /// `mounts` is given, the caller's otherwise.
    pub directory: Option<CString>,
    /// Whether its standard input is a terminal that is to control its session.
    pub terminal: bool,
}

impl Placement {
    /// Sets the working directory.
    pub fn directory(mut self, directory: &Path) -> io::Result<Self> {
        self.directory = Some(CString::new(directory.as_os_str().as_bytes())?);
        Ok(self)
    }

    /// Makes `command` start in this place. Do not set the command's own working directory.
    pub fn apply(self, command: &mut Command) {
        // SAFETY: between fork and exec only async-signal-safe calls may be made. The closure makes
        // system calls on values prepared before the fork; it allocates nothing, takes no lock, and
        // turns errors into `io::Error` from the raw number, which does not allocate.
        unsafe { command.pre_exec(move || self.enter()) };
    }

    fn enter(&self) -> io::Result<()> {
        nix::unistd::setsid()?;
        if let Some(host_name) = &self.host_name {
            setns(&*host_name.0, CloneFlags::CLONE_NEWUTS)?;
        }
        if let Some(network) = &self.network {
            setns(network, CloneFlags::CLONE_NEWNET)?;
        }
        if let Some(mounts) = &self.mounts {
            setns(&*mounts.0, CloneFlags::CLONE_NEWNS)?;
        }
        if let Some(directory) = &self.directory {
            nix::unistd::chdir(directory.as_c_str())?;
        }
        if self.terminal {
            control_terminal()?;
        }
        Ok(())
    }
}

/// Makes `command` start in a process group of its own, so that what ends the group of its parent leaves it to the
/// parent to end it in order, and be killed when the thread that starts it is gone, however that went.
pub fn tie_to_this_thread(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls may be made: prctl is a system call, and the error
    // is made from its raw number, which does not allocate.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
}

/// Makes standard input the controlling terminal of the session.
fn control_terminal() -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer argument and touches no memory of ours; a wrong descriptor
    // is an error, not undefined behaviour.
    let result = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tells a terminal its size, in characters.
pub fn resize_terminal(terminal: &OwnedFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one `winsize`, which lives for the whole call; the descriptor is
    // open for as long as it is borrowed.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
