//! One round of one target: what is done to it, and the figures that come of it.

use crate::certificates::HOST;
use crate::discovery::Discovery;
use crate::load::{Order, Outcome, Shape, Trust, closed};
use crate::measure::{Cpu, Memory, running_time};
use crate::peer::Program;
use crate::scenario::{Measure, Path, Scenario};
use crate::target::{Setting, Target, control_plane};
use crate::{bootstrap, machine, probe};
use anyhow::{Context as _, bail};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use indexmap::IndexMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often metrics are scraped, as Prometheus does it in a mesh.
const SCRAPE: Duration = Duration::from_secs(5);
const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// The service that is called on the mesh path.
const SERVICE: &str = "app.default.svc.cluster.local";

/// Figures of a round by name; the name says the unit.
pub type Figures = IndexMap<String, f64>;

/// Processor time for 100,000 requests, all proxies of a path together.
pub const CPU_REQUESTS: &str = "cpu-s/100k";
/// Processor time for a gigabyte (1e9 bytes), all proxies of a path together.
pub const CPU_BYTES: &str = "cpu-s/GB";
/// Half of all requests were faster.
pub const P50: &str = "p50 ms";

/// Puts load on a running target.
pub fn load(
    scenario: &Scenario,
    shape: Shape,
    target: &mut Target,
    seconds: f64,
    setting: &Setting,
) -> anyhow::Result<Figures> {
    let order = order(scenario.path, shape, target, seconds, setting);
    let before = target.cpu()?;
    let scraped = if scenario.path == Path::Mesh { target.admin.as_slice() } else { &[] };
    let outcome = scraping(scraped, || generate(&order))?;
    let after = target.cpu()?;
    target.check()?;
    let memory = target.memory()?;
    let used: Vec<Cpu> = after.into_iter().zip(before).map(|(after, before)| after - before).collect();
    Ok(figures(shape, &outcome, &used, memory))
}

fn order(path: Path, shape: Shape, target: &Target, seconds: f64, setting: &Setting) -> Order {
    let tls = matches!(path, Path::Hop { tls: true, .. })
        .then(|| Trust { root: setting.certificates.root.clone(), name: HOST.to_owned() });
    Order { target: target.entry, authority: SERVICE.to_owned(), tls, shape, seconds }
}

/// Runs the load generator as a process of its own.
fn generate(order: &Order) -> anyhow::Result<Outcome> {
    let output = generator(order)?.wait_with_output()?;
    if !output.status.success() {
        bail!("load failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the load generator's answer is not one")
}

fn generator(order: &Order) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("load").arg(serde_json::to_string(order)?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    machine::spawn_on(machine::LOAD, &mut command)
}

/// Scrapes metrics while `work` goes on, first in the middle of an interval.
fn scraping<T>(
    admin: &[std::net::SocketAddr],
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let scraper = scope.spawn(move || {
            let mut wait = SCRAPE / 2;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                for address in admin {
                    probe::get(*address, "/stats/prometheus", "admin")?;
                }
                wait = SCRAPE;
            }
            anyhow::Ok(())
        });
        let result = work();
        drop(stop);
        match scraper.join() {
            Ok(scraped) => scraped?,
            Err(_) => bail!("the scraper panicked"),
        }
        result
    })
}

fn figures(shape: Shape, outcome: &Outcome, used: &[Cpu], memory: Memory) -> Figures {
    let bulk = matches!(shape, Shape::Download { .. } | Shape::Upload { .. });
    let (work, cpu) = if bulk {
        (outcome.bytes as f64 / 1e9, CPU_BYTES)
    } else {
        (outcome.requests as f64 / 1e5, CPU_REQUESTS)
    };
    let mut figures = Figures::new();
    let mut set = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    let total = used.iter().fold(Cpu::default(), |sum, each| sum + *each);
    if !used.is_empty() {
        set(cpu, total.total() / work);
    }
    if let [client, server] = used {
        set("of A", client.total() / work);
        set("of B", server.total() / work);
    }
    if !used.is_empty() {
        set("kernel %", 100.0 * total.system / total.total());
        set("core %", 100.0 * total.total() / outcome.seconds);
    }
    if bulk {
        set("GB/s", outcome.bytes as f64 / 1e9 / outcome.seconds);
    } else {
        set("requests/s", outcome.requests as f64 / outcome.seconds);
        set(P50, outcome.p50);
        set("p90 ms", outcome.p90);
        set("p99 ms", outcome.p99);
        set("p99.9 ms", outcome.p999);
    }
    if !used.is_empty() {
        set("RSS MiB", memory.resident / MEBIBYTE);
        set("anon MiB", memory.anonymous / MEBIBYTE);
    }
    figures
}

/// Everything but load starts its proxies itself, in every round anew.
pub fn fresh(
    scenario: &Scenario,
    program: &Program,
    place: u16,
    seconds: f64,
    setting: &Setting,
) -> anyhow::Result<Figures> {
    match scenario.measure {
        Measure::Load(shape) => {
            let mut target = Target::start(program, scenario.path, place, setting)?;
            load(scenario, shape, &mut target, seconds, setting)
        }
        Measure::IdleConnections(count) => idle_connections(program, count, place, setting),
        Measure::Start => start(scenario.path, program, place, setting),
        Measure::Memory => memory(program, place, setting),
        Measure::IdleCpu => idle_cpu(scenario.path, program, place, seconds, setting),
        Measure::RouteChange(count) => route_change(scenario.path, program, place, count, setting),
    }
}

fn idle_connections(
    program: &Program,
    count: usize,
    place: u16,
    setting: &Setting,
) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for (tls, name) in [(false, "plain KiB"), (true, "TLS KiB")] {
        let path = Path::Hop { http2_in: false, http2_out: false, tls };
        let target = Target::start(program, path, place, setting)?;
        // What the first connection makes a proxy allocate once and for all is not counted.
        generate(&order(path, Shape::Http1 { connections: 1 }, &target, 0.1, setting))?;
        let before = target.memory()?.anonymous;
        let mut load = generator(&order(path, Shape::Idle { connections: count }, &target, 0.0, setting))?;
        let mut said = String::new();
        let mut output = BufReader::new(load.stdout.take().context("the load generator has no output")?);
        output.read_line(&mut said)?;
        let after = target.memory()?.anonymous;
        drop(load.stdin.take());
        let status = load.wait()?;
        if said.trim() != closed::IDLE || !status.success() {
            let mut reason = String::new();
            load.stderr.take().context("the load generator has no errors")?.read_to_string(&mut reason)?;
            bail!("load failed: {}", reason.trim());
        }
        figures.insert(name.to_owned(), (after - before) / count as f64 / 1024.0);
    }
    Ok(figures)
}

fn start(path: Path, program: &Program, place: u16, setting: &Setting) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for (path, clusters) in [(path, "1"), (Path::Large(5000), "5,000")] {
        if !path.suits(program.peer) {
            continue;
        }
        let begin = Instant::now();
        let target = Target::start(program, path, place, setting)?;
        figures.insert(format!("listening ms, {clusters}"), begin.elapsed().as_secs_f64() * 1e3);
        first_answer(&target)?;
        figures.insert(format!("answer ms, {clusters}"), begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(figures)
}

/// A service that every proxy with clusters knows.
fn first_answer(target: &Target) -> anyhow::Result<()> {
    probe::get(target.entry, "/", "service-0").map(drop)
}

fn memory(program: &Program, place: u16, setting: &Setting) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let mut anonymous = Vec::new();
    for (count, clusters) in [(10, "10"), (1000, "1,000"), (5000, "5,000")] {
        let target = Target::start(program, Path::Large(count), place, setting)?;
        first_answer(&target)?;
        let memory = target.memory()?;
        figures.insert(format!("RSS MiB, {clusters}"), memory.resident / MEBIBYTE);
        figures.insert(format!("anon MiB, {clusters}"), memory.anonymous / MEBIBYTE);
        anonymous.push((count as f64, memory.anonymous));
    }
    if let [(few, small), .., (many, large)] = anonymous[..] {
        figures.shift_insert(0, "KiB/cluster".to_owned(), (large - small) / (many - few) / 1024.0);
    }
    Ok(figures)
}

/// How long a proxy has for what it does after it has said that a change is taken.
const AFTERMATH: Duration = Duration::from_millis(300);

fn route_change(
    path: Path,
    program: &Program,
    place: u16,
    count: usize,
    setting: &Setting,
) -> anyhow::Result<Figures> {
    let Path::Routed(hosts) = path else { bail!("no routes come from a control plane") };
    let mut routes: RouteConfiguration = mizzen_xds::json::read(&bootstrap::routes(hosts))?;
    let control_plane = Discovery::start(control_plane(place), &routes)?;
    let target = Target::start(program, path, place, setting)?;
    control_plane.taken()?;
    first_answer(&target)?;
    thread::park_timeout(AFTERMATH);
    let (begin, before) = (Instant::now(), cpu(&target)?);
    for change in 0..count {
        let host = routes.virtual_hosts.get_mut(change % hosts).context("no virtual hosts")?;
        host.include_request_attempt_count = true;
        control_plane.change(&routes)?;
    }
    let taken = begin.elapsed();
    thread::park_timeout(AFTERMATH);
    let used = cpu(&target)? - before;
    first_answer(&target)?;
    Ok(Figures::from_iter([
        ("cpu ms/change".to_owned(), 1e3 * used / count as f64),
        ("ms/change".to_owned(), 1e3 * taken.as_secs_f64() / count as f64),
    ]))
}

/// Time on a processor since the start.
fn cpu(target: &Target) -> anyhow::Result<f64> {
    target.processes.iter().map(|process| running_time(process.id())).sum()
}

fn idle_cpu(
    path: Path,
    program: &Program,
    place: u16,
    seconds: f64,
    setting: &Setting,
) -> anyhow::Result<Figures> {
    let target = Target::start(program, path, place, setting)?;
    first_answer(&target)?;
    let (begin, before) = (Instant::now(), cpu(&target)?);
    thread::park_timeout(Duration::from_secs_f64(seconds));
    let used = cpu(&target)? - before;
    Ok(Figures::from_iter([("core %".to_owned(), 100.0 * used / begin.elapsed().as_secs_f64())]))
}
