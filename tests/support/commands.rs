//! Running programs, and waiting for what they show.

use anyhow::{Context as _, ensure};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The longest any condition is waited for. Never asserted: it only bounds a failing run.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_mizzen"))
}

/// What a program wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed; its standard output.
pub fn checked(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    succeeded(command, &output)
}

/// The same with text on its standard input.
pub fn with_input(mut command: Command, input: &str) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    succeeded(&command, &output)
}

fn succeeded(command: &Command, output: &Output) -> anyhow::Result<String> {
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}

/// Waits until `ready` gives something; errors inside end the wait at once.
pub fn wait_for<T>(what: &str, ready: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    wait_within(PATIENCE, what, ready)
}

fn wait_within<T>(
    patience: Duration,
    what: &str,
    mut ready: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    let (_keep, pause) = std::sync::mpsc::channel::<()>();
    loop {
        if let Some(found) = ready()? {
            return Ok(found);
        }
        ensure!(start.elapsed() < patience, "gave up waiting for {what}");
        // A pause between looks, not a wait for something to have happened.
        let _ = pause.recv_timeout(Duration::from_millis(100));
    }
}

/// The same for conditions whose errors only mean "not yet".
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    eventually_within(PATIENCE, what, attempt)
}

/// The same with a bound of its own.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut last = None;
    let found = wait_within(patience, what, || match attempt() {
        Ok(found) => Ok(Some(found)),
        Err(error) => {
            last = Some(error);
            Ok(None)
        }
    });
    found.map_err(|error| match last {
        Some(last) => last.context(error),
        None => error,
    })
}

/// A process and everything it started, as far as it still runs, by number.
pub fn descendants(root: u32) -> anyhow::Result<BTreeSet<String>> {
    let listed = checked(Command::new("ps").args(["-e", "-o", "pid=,ppid="]))?;
    let pairs: Vec<(&str, &str)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next().zip(words.next())
        })
        .collect();
    let mut found = BTreeSet::from([root.to_string()]);
    loop {
        let more: Vec<&str> = pairs
            .iter()
            .filter(|(process, parent)| found.contains(*parent) && !found.contains(*process))
            .map(|(process, _)| *process)
            .collect();
        if more.is_empty() {
            return Ok(found);
        }
        found.extend(more.into_iter().map(str::to_owned));
    }
}

/// Whether a process runs; one that only waits to be collected does not.
pub fn is_alive(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}
