use super::*;
use nix::mount::{MsFlags, mount};

const NONE: Option<&str> = None;

#[test]
fn a_process_sees_its_own_network_mounts_host_name_and_directory() {
    let Some(network) = crate::netns::for_tests() else { return };
    let mounts = Namespace::with_mounts(|| {
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(Some("tmpfs"), "/mnt", Some("tmpfs"), MsFlags::empty(), NONE)?;
        std::fs::create_dir("/mnt/inside")
    });
    let mounts = match mounts {
        Ok(mounts) => mounts,
        Err(error) => return println!("skipped: may not mount here ({error})"),
    };
    let placement = Placement {
        network: Some(network),
        mounts: Some(mounts),
        host_name: Some(Namespace::with_host_name("reviews-v1").expect("host name")),
        ..Placement::default()
    };
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "pwd; uname -n; ls /sys/class/net /proc/self/net/dev >/dev/null; grep -c : /proc/net/dev",
    ]);
    placement.directory(Path::new("/mnt/inside")).expect("directory").apply(&mut command);
    let output = command.output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/mnt/inside\nreviews-v1\n1\n");
    assert!(!Path::new("/mnt/inside").exists(), "nobody else sees the mount");
}

#[test]
fn a_working_directory_that_is_not_there_fails_the_start() {
    let mut command = Command::new("/bin/true");
    Placement::default().directory(Path::new("/no/such/place")).expect("directory").apply(&mut command);
    assert_eq!(command.output().expect_err("no such directory").kind(), io::ErrorKind::NotFound);
}
