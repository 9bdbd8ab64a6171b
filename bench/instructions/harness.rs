//! Counts the instructions of functions under valgrind's callgrind and compares them with `counts.txt`. Included by the
//! unit tests of the rooms that have such functions: so it needs no build and no tool of its own, and sees what is private.
//!
//! The tests' profile is not optimised, so a count says nothing of what a function costs in a release. It grows all the
//! same with what the function does, and grows alike on every machine: that is what is held. Counts depend on the
//! compiler; those of another than the one in the table are shown and not judged.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls that are counted of each function; its count is the mean.
const CALLS: u64 = 100;
/// Growth that is let pass, in percent.
const GROWTH: u64 = 5;
/// Set for the process that valgrind runs.
const COUNTING: &str = "MIZZEN_COUNTING";
/// `renew` writes the table anew; `required` fails where valgrind is missing.
const MODE: &str = "MIZZEN_INSTRUCTIONS";

/// A function with what it is called on.
pub type Function<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// Compares `functions` of a room with the table. `test` is the path of the calling test.
pub fn check(room: &str, test: &str, functions: Vec<Function<'_>>) {
    if std::env::var_os(COUNTING).is_some() {
        for (_, mut function) in functions {
            // Once over, so that what is made once is not counted.
            function();
            counted(&mut *function);
        }
        return;
    }
    let mode = std::env::var(MODE).unwrap_or_default();
    if Command::new("valgrind").arg("--version").output().is_err() {
        assert_ne!(mode, "required", "valgrind is missing (apt-get install valgrind)");
        println!("skipped: valgrind is missing, so no instructions are counted");
        return;
    }
    let names: Vec<&str> = functions.iter().map(|(name, _)| *name).collect();
    let found = count(test, &names);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/instructions/counts.txt");
    let table = fs::read_to_string(&path).expect("counts.txt");
    let compiler = compiler();
    if mode == "renew" {
        fs::write(&path, renewed(&table, &compiler, room, &found)).expect("counts.txt");
        return;
    }
    let judged = table.lines().any(|line| line.strip_prefix("compiler ") == Some(&compiler));
    let mut grown = String::new();
    for (name, count) in &found {
        let known = known(&table, room, name);
        println!("{room} {name}: {count}, known {known:?}");
        match known {
            Some(known) if *count <= known + known * GROWTH / 100 => {}
            _ => writeln!(grown, "{room} {name}: {count} instead of {known:?}").expect("text"),
        }
    }
    let how = "MIZZEN_INSTRUCTIONS=renew cargo test --workspace --lib instructions";
    if judged {
        assert!(
            grown.is_empty(),
            "more instructions; if they are worth it, `{how}` takes them over:\n{grown}"
        );
    } else {
        println!(
            "skipped: the table is of another compiler than {compiler}; `{how}` makes it one of this\n{grown}"
        );
    }
}

/// What valgrind counts. By reference, so that there is one of it.
#[inline(never)]
fn counted(function: &mut dyn FnMut()) {
    for _ in 0..CALLS {
        function();
    }
}

/// Runs the calling test once more, under callgrind, which writes a file at every end of [`counted`].
fn count(test: &str, names: &[&'static str]) -> Vec<(&'static str, u64)> {
    let folder = tempfile::tempdir().expect("folder");
    let output = folder.path().join("out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*harness::counted*"])
        // In full: of two options with the same pattern callgrind forgets one.
        .arg(format!("--dump-after={}::counted", module_path!()))
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--test-threads=1"])
        .env(COUNTING, "1")
        .output()
        .expect("valgrind");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let total = |part: usize| {
        let path = PathBuf::from(format!("{}.{part}", output.display()));
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("summary: ")).unwrap_or_default();
        line.trim().parse::<u64>().unwrap_or_else(|_| panic!("callgrind has counted nothing for {part}"))
    };
    names.iter().enumerate().map(|(index, name)| (*name, total(index + 1) / CALLS)).collect()
}

fn compiler() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output().map(|output| output.stdout);
    String::from_utf8_lossy(&output.unwrap_or_default()).trim().to_owned()
}

fn known(table: &str, room: &str, name: &str) -> Option<u64> {
    let prefix = format!("{room} {name} ");
    table.lines().find_map(|line| line.strip_prefix(&prefix)?.trim().parse().ok())
}

/// The table with the room's lines as found.
fn renewed(table: &str, compiler: &str, room: &str, found: &[(&str, u64)]) -> String {
    let others = table.lines().filter(|line| {
        !line.starts_with("compiler ") && !line.starts_with('#') && !line.starts_with(&format!("{room} "))
    });
    let mut lines: Vec<String> = others.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.extend(found.iter().map(|(name, count)| format!("{room} {name} {count}")));
    lines.sort_unstable();
    let comments: Vec<&str> = table.lines().filter(|line| line.starts_with('#')).collect();
    format!("{}\ncompiler {compiler}\n{}\n", comments.join("\n"), lines.join("\n"))
}
