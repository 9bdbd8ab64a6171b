//! A container's view of the file system: the machine's, with the pod's own files and volumes
//! mounted over it.
//!
//! Nothing of the machine is touched: every folder that lacks a mount point is covered by a private
//! one of memory that shows the old contents. Runs on the thread that builds the mount namespace.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, chroot};

/// Something to show at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// What, on the machine: a file or a folder.
    pub source: PathBuf,
    /// Where the container sees it; absolute.
    pub target: PathBuf,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

const NONE: Option<&str> = None;

/// Builds the view in the calling thread's mount namespace, whose root it replaces. `scratch` is an
/// empty folder of ours to build it on.
pub fn build(scratch: &Path, binds: &[Bind]) -> io::Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let mut view = View { private: BTreeSet::new() };
    let root = open_folder(Path::new("/"))?;
    mount(Some("mizzen"), scratch, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    show_contents(&root, scratch)?;
    chdir(scratch)?;
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE)?;
    chroot(".")?;
    chdir("/")?;
    view.private.insert(PathBuf::from("/"));
    for bind in binds {
        let describe = |error: io::Error| {
            let (source, target) = (bind.source.display(), bind.target.display());
            io::Error::new(error.kind(), format!("cannot mount {source} at {target}: {error}"))
        };
        view.bind(bind).map_err(describe)?;
    }
    Ok(())
}

struct View {
    /// Folders that are covered by our own memory, where anything may be made.
    private: BTreeSet<PathBuf>,
}

impl View {
    fn bind(&mut self, bind: &Bind) -> io::Result<()> {
        let folder = fs::metadata(&bind.source)?.is_dir();
        let target = self.mount_point(&bind.target, folder)?;
        mount(Some(&bind.source), &target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
        if bind.read_only {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | kept_flags(&target)?;
            mount(NONE, &target, NONE, flags, NONE)?;
        }
        Ok(())
    }

    /// An existing path for `target`, with links followed; made where it is missing.
    fn mount_point(&mut self, target: &Path, folder: bool) -> io::Result<PathBuf> {
        let parts: Vec<_> = target.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let mut path = PathBuf::from("/");
        for (index, part) in parts.iter().enumerate() {
            let next = path.join(part);
            let last = index + 1 == parts.len();
            path = match fs::canonicalize(&next) {
                Ok(existing) if last || existing.is_dir() => existing,
                Ok(existing) => {
                    return Err(io::Error::new(
                        io::ErrorKind::NotADirectory,
                        format!("{} is not a folder", existing.display()),
                    ));
                }
                Err(_) => self.make(&path, &next, !last || folder)?,
            };
        }
        let existing = fs::metadata(&path)?;
        if existing.is_dir() == folder {
            return Ok(path);
        }
        Err(io::Error::other(format!("{} is {}a folder", path.display(), if folder { "not " } else { "" })))
    }

    fn make(&mut self, parent: &Path, path: &Path, folder: bool) -> io::Result<PathBuf> {
        if !self.private.contains(parent) {
            self.cover(parent)?;
        }
        if fs::symlink_metadata(path).is_ok() {
            // A link that leads nowhere; in our own memory it may go.
            fs::remove_file(path)?;
        }
        if folder {
            fs::create_dir(path)?;
            self.private.insert(path.to_owned());
        } else {
            fs::File::create(path)?;
        }
        Ok(path.to_owned())
    }

    /// Covers a folder with memory that shows what was in it.
    fn cover(&mut self, folder: &Path) -> io::Result<()> {
        let old = open_folder(folder)?;
        mount(Some("mizzen"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        show_contents(&old, folder)?;
        self.private.insert(folder.to_owned());
        Ok(())
    }
}

fn open_folder(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Shows every entry of the folder `old` in the empty folder `new`.
fn show_contents(old: &std::os::fd::OwnedFd, new: &Path) -> io::Result<()> {
    let held = PathBuf::from(format!("/proc/thread-self/fd/{}", old.as_raw_fd()));
    for entry in fs::read_dir(&held)? {
        let entry = entry?;
        let (source, target) = (held.join(entry.file_name()), new.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&target)?;
        } else {
            fs::File::create(&target)?;
        }
        let shown = mount(Some(&source), &target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE);
        if let Err(error) = shown {
            // Something that vanished or may not be shown: the container sees it empty.
            tracing::debug!(path = %target.display(), %error, "left out of a container's view");
        }
    }
    Ok(())
}

/// In a user namespace a remount must keep what the machine's mount forbids.
fn kept_flags(path: &Path) -> io::Result<MsFlags> {
    let flags = statvfs(path)?.flags();
    let pairs = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = pairs.into_iter().filter(|(held, _)| flags.contains(*held));
    Ok(kept.fold(MsFlags::empty(), |all, (_, flag)| all | flag))
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
