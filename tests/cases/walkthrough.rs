//! The README is run: every command of its walk-through, in order, each with the output that is
//! printed below it.
//!
//! What must differ from run to run does not count: see [`VARYING`]. Ports that are taken here are
//! other ones in `mizzen up`'s output, and then in the commands as well. Standard error is not shown in
//! the README and not compared.

use crate::support::{PATIENCE, binary, eventually};
use anyhow::{Context as _, bail, ensure};
use regex::Regex;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// What differs between two runs, and the word that stands for it in a comparison.
const VARYING: [(&str, &str); 9] = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "IDENTIFIER"),
    (r"(\d+\.\d+\.\d+\.\d+|localhost):\d+", "ADDRESS"),
    (r"-[0-9a-z]{6,10}-[0-9a-z]{5}\b", "-POD"),
    (r"\bcurl/[\d.]+", "curl/VERSION"),
    // Bytes and milliseconds of a log line.
    (r"\b\d+ \d+ \d+ \d+\b", "COUNTS"),
    // A count on a line of its own.
    (r"^\d+$", "COUNT"),
    (r"(Sandbox: |The mesh is up \()[a-z ()]*[a-z)]", "${1}RUNG"),
    // Columns are as wide as the longest name in them.
    (r"\s+", " "),
];

/// Commands that stay; they run beside the others.
const STAYING: [&str; 2] = ["mizzen up", "istioctl dashboard"];
/// Commands that only look. A reader types slower than a test: these are repeated until they show
/// what the README shows.
const LOOKING: [&str; 5] = ["curl", "kubectl exec", "kubectl get", "kubectl logs", "istioctl"];

/// A command and what it prints.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The commands of a text in Markdown: indented lines that begin with `$ `, and the indented lines below.
fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        let indented = line.strip_prefix("    ");
        match (indented, steps.last_mut()) {
            (Some(code), _) if code.starts_with("$ ") => {
                steps.push(Step { command: code[2..].to_owned(), output: Vec::new() });
                inside = true;
            }
            (Some(code), Some(step)) if inside && step.command.ends_with('\\') => {
                step.command.truncate(step.command.len() - 1);
                step.command.push_str(code.trim_start());
            }
            (Some(code), Some(step)) if inside => step.output.push(code.to_owned()),
            (None, Some(step)) if inside && line.is_empty() => step.output.push(String::new()),
            _ => inside = false,
        }
    }
    steps.iter_mut().for_each(|step| trim(&mut step.output));
    steps
}

fn trim(lines: &mut Vec<String>) {
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
}

/// A reader's machine: a home, a folder of programs, and a terminal.
struct Reader {
    folder: tempfile::TempDir,
    shell: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    varying: Vec<(Regex, &'static str)>,
    /// Ports of the README and the ones they are here.
    ports: BTreeMap<String, String>,
}

const END: &str = "end-of-command";
/// Where standard error goes.
const COMPLAINTS: &str = "stderr.log";

impl Reader {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("mizzen-test-").tempdir()?;
        let programs = folder.path().join("bin");
        std::fs::create_dir(&programs)?;
        symlink(binary(), programs.join("mizzen"))?;
        symlink(binary(), programs.join("istioctl"))?;
        // No window is opened on the machine of whoever runs the tests.
        let browser = programs.join("xdg-open");
        std::fs::write(&browser, "#!/bin/sh\n")?;
        std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755))?;
        symlink(repository().join("samples"), folder.path().join("samples"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh")
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env_remove("XDG_STATE_HOME")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join(COMPLAINTS))?)
            .spawn()?;
        let input = shell.stdin.take().context("no standard input")?;
        let output = BufReader::new(shell.stdout.take().context("no standard output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let varying = VARYING.iter().map(|(pattern, word)| Ok((Regex::new(pattern)?, *word)));
        let varying = varying.collect::<anyhow::Result<_>>()?;
        Ok(Self { folder, shell, input, lines, varying, ports: BTreeMap::new() })
    }

    /// The command as it must be typed here.
    fn here(&self, command: &str) -> String {
        let mut command = command.replace("/root/", &format!("{}/", self.folder.path().display()));
        for (readme, here) in &self.ports {
            command = command.replace(readme, here);
        }
        command
    }

    fn comparable(&self, line: &str) -> String {
        let line = line.replace(&self.folder.path().display().to_string(), "/root");
        let varying = self.varying.iter();
        varying
            .fold(line, |line, (pattern, word)| pattern.replace_all(&line, *word).into_owned())
            .trim()
            .into()
    }

    fn line(&self) -> anyhow::Result<String> {
        self.lines.recv_timeout(PATIENCE).context("nothing more was printed")
    }

    /// Runs a command to its end.
    fn run(&mut self, command: &str) -> anyhow::Result<Vec<String>> {
        writeln!(self.input, "{command}\nprintf '\\n{END} %s\\n' $?")?;
        let mut output = Vec::new();
        loop {
            let line = self.line().with_context(|| format!("`{command}` printed {output:#?}"))?;
            match line.strip_prefix(END).map(str::trim) {
                None => output.push(line),
                Some("0") => break,
                Some(status) => bail!("`{command}` ended with {status}: {output:#?}"),
            }
        }
        trim(&mut output);
        Ok(output)
    }

    /// Runs a command that stays, until it has printed so many lines.
    fn start(&mut self, command: &str, count: usize) -> anyhow::Result<Vec<String>> {
        writeln!(self.input, "{command} &")?;
        let mut output = Vec::new();
        while output.len() < count {
            output.push(self.line().with_context(|| format!("`{command}` printed {output:#?}"))?);
        }
        Ok(output)
    }

    fn follow(&mut self, step: &Step) -> anyhow::Result<()> {
        let command = self.here(&step.command);
        if STAYING.iter().any(|staying| command.starts_with(staying)) {
            let output = self.start(&command, step.output.len())?;
            self.compare(step, &output)?;
            self.learn_ports(&step.output, &output);
            if !command.starts_with("mizzen up") {
                self.run("kill $!")?;
            }
            return Ok(());
        }
        if LOOKING.iter().any(|looking| command.starts_with(looking)) {
            return eventually("the output of the README", || {
                let output = self.run(&command)?;
                self.compare(step, &output)
            });
        }
        let output = self.run(&command)?;
        self.compare(step, &output)
    }

    /// What helps to understand a failure.
    fn evidence(&self) -> String {
        let read = |file: &str| std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        let (complaints, log) = (read(COMPLAINTS), read(".local/state/mizzen/default/mizzen.log"));
        format!("standard error:\n{complaints}\nthe mesh's log:\n{log}")
    }

    fn compare(&self, step: &Step, output: &[String]) -> anyhow::Result<()> {
        let comparable =
            |lines: &[String]| lines.iter().map(|line| self.comparable(line)).collect::<Vec<_>>();
        let (expected, found) = (comparable(&step.output), comparable(output));
        ensure!(
            expected == found,
            "`{}` printed\n{}\nand the README says\n{}",
            step.command,
            output.join("\n"),
            step.output.join("\n")
        );
        Ok(())
    }

    /// `127.0.0.1:8443` in the README may be another port here.
    fn learn_ports(&mut self, readme: &[String], here: &[String]) {
        let port = |line: &str| {
            let address = line.split_whitespace().next()?.strip_prefix("127.0.0.1")?;
            Some(address.to_owned())
        };
        let pairs = readme.iter().zip(here).filter_map(|(readme, here)| Some((port(readme)?, port(here)?)));
        self.ports.extend(pairs);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // After a run in order this finds nothing to do.
        let _ = writeln!(self.input, "mizzen down >&2\nexit");
        let _ = self.shell.wait();
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn readme() -> anyhow::Result<()> {
    let steps = steps(&std::fs::read_to_string(repository().join("README.md"))?);
    for manifest in std::fs::read_dir(repository().join("samples/sheet"))? {
        let apply = format!("kubectl apply -f samples/sheet/{}", manifest?.file_name().display());
        ensure!(steps.iter().any(|step| step.command == apply), "the README lacks `{apply}`");
    }
    let mut reader = Reader::new()?;
    for step in &steps {
        reader.follow(step).map_err(|error| error.context(reader.evidence()))?;
    }
    Ok(())
}
