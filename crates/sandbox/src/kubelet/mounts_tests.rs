use super::*;
use mizzen_net::process::{Namespace, Placement};
use std::process::Command;

/// What a shell sees in a view with these binds; `None` (said aloud) where tests may not mount.
fn seen(binds: Vec<Bind>, script: &str) -> Option<String> {
    let scratch = tempfile::tempdir().expect("scratch");
    let mounts = match Namespace::with_mounts(|| build(scratch.path(), &binds)) {
        Ok(mounts) => mounts,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            println!("skipped: may not mount here ({error})");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Placement { mounts: Some(mounts), ..Placement::default() }.apply(&mut command);
    let output = command.output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn bind(source: &Path, target: &str, read_only: bool) -> Bind {
    Bind { source: source.to_owned(), target: PathBuf::from(target), read_only }
}

#[test]
fn volumes_and_files_appear_where_they_are_asked_for() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("resolv.conf"), "nameserver 10.96.0.10\n").expect("file");
    fs::create_dir(folder.path().join("volume")).expect("volume");
    fs::write(folder.path().join("volume/token"), "secret\n").expect("token");
    let volume = folder.path().join("volume");
    let binds = vec![
        bind(&folder.path().join("resolv.conf"), "/etc/resolv.conf", false),
        bind(&volume, "/var/run/secrets/tokens", true),
        bind(&volume, "/not/there/before", false),
        bind(&volume, "/etc/istio/pod", false),
    ];
    let script = "cat /etc/resolv.conf /run/secrets/tokens/token /etc/istio/pod/token; \
        test -e /etc/passwd && echo whole; (: > /var/run/secrets/tokens/x) 2>/dev/null || echo read-only; \
        echo new > /not/there/before/made; ls -d /proc/self/fd /dev/null /bin/sh";
    let Some(text) = seen(binds, script) else { return };
    let expected =
        "nameserver 10.96.0.10\nsecret\nsecret\nwhole\nread-only\n/bin/sh\n/dev/null\n/proc/self/fd\n";
    assert_eq!(text, expected);
    assert_eq!(fs::read_to_string(volume.join("made")).expect("written through"), "new\n");
    assert!(!Path::new("/not").exists(), "the machine is not touched");
}

#[test]
fn a_volume_over_a_file_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let scratch = tempfile::tempdir().expect("scratch");
    let binds = [bind(folder.path(), "/etc/passwd", false)];
    let Err(error) = Namespace::with_mounts(|| build(scratch.path(), &binds)) else {
        panic!("must be refused")
    };
    if error.kind() == io::ErrorKind::PermissionDenied {
        return println!("skipped: may not mount here ({error})");
    }
    assert!(error.to_string().contains("/etc/passwd is not a folder"), "{error}");
}
