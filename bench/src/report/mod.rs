//! What a run leaves behind: tables, JSON and a plot.

pub mod svg;
pub mod table;

use crate::machine::Description;
use crate::peer::{Peer, Program};
use crate::round::{CPU_BYTES, CPU_REQUESTS, Figures, P50};
use crate::scenario::Scenario;
use crate::statistics::{Spread, paired_ratios};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The name of the path without a proxy.
pub const DIRECT: &str = "direct";
/// Latency over that of the direct path in the same round.
const ADDED_P50: &str = "added p50 ms";

/// A target's rounds. One that failed has none from there on.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Whose.
    pub name: &'static str,
    /// Figures by round, without the one that warms up.
    pub rounds: Vec<Option<Figures>>,
    /// Why it has no figures, or not all.
    pub failure: Option<String>,
}

impl Row {
    /// A figure in each round.
    pub fn each(&self, figure: &str) -> Vec<Option<f64>> {
        self.rounds.iter().map(|round| round.as_ref()?.get(figure).copied()).collect()
    }

    /// A figure over all rounds.
    pub fn spread(&self, figure: &str) -> Option<Spread> {
        Spread::of(&self.each(figure).into_iter().flatten().collect::<Vec<_>>())
    }
}

/// The targets of a scenario, ours first.
#[derive(Clone, Debug, Serialize)]
pub struct Rows(Vec<Row>);

impl Rows {
    /// Takes the rounds as they were measured and adds what only their comparison shows.
    pub fn new(mut rows: Vec<Row>) -> Self {
        let direct = rows.iter().find(|row| row.name == DIRECT).map(|row| row.each(P50));
        for row in rows.iter_mut().filter(|row| row.name != DIRECT) {
            for (figures, direct) in row.rounds.iter_mut().zip(direct.iter().flatten()) {
                let (Some(figures), Some(direct)) = (figures, direct) else { continue };
                if let Some((place, _, p50)) = figures.get_full(P50) {
                    let added = p50 - direct;
                    figures.shift_insert(place + 1, ADDED_P50.to_owned(), added);
                }
            }
        }
        Self(rows)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    /// The figures that any of them has, in order.
    pub fn figures(&self) -> Vec<&str> {
        let longest = self
            .0
            .iter()
            .filter_map(|row| row.rounds.iter().flatten().next())
            .max_by_key(|figures| figures.len());
        longest.map(|figures| figures.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The figure that decides: processor time for the work done, or the first there is.
    pub fn deciding(&self) -> Option<&str> {
        let figures = self.figures();
        let cpu = figures.iter().find(|figure| [CPU_REQUESTS, CPU_BYTES].contains(figure));
        cpu.or(figures.first()).copied()
    }

    /// Ours to a peer's, paired by round.
    pub fn ratio(&self, peer: &str, figure: &str) -> Option<Spread> {
        let row = |name: &str| self.0.iter().find(|row| row.name == name);
        paired_ratios(&row(Peer::Mizzen.name())?.each(figure), &row(peer)?.each(figure))
    }
}

/// A whole run.
pub struct Report {
    time: String,
    machine: Description,
    programs: Vec<(&'static str, String)>,
    runs: usize,
    seconds: f64,
    scenarios: Vec<(Scenario, Rows)>,
}

impl Report {
    /// An empty one.
    pub fn new(machine: Description, programs: &[Program], runs: usize, seconds: f64) -> Self {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
        let programs =
            programs.iter().map(|program| (program.peer.name(), program.version.clone())).collect();
        Self { time, machine, programs, runs, seconds, scenarios: Vec::new() }
    }

    /// Where and what is measured.
    pub fn heading(&self) -> String {
        let Description { processor, processors, kernel, network } = &self.machine;
        let mut text = format!(
            "{processor}, {processors} processors, Linux {kernel}; {network}\n\
             {} rounds of {} s after one to warm up; median [min–max], ratios paired by round\n",
            self.runs, self.seconds
        );
        for (name, version) in &self.programs {
            text += &format!("{name}: {version}\n");
        }
        text
    }

    /// Adds a scenario.
    pub fn add(&mut self, scenario: &Scenario, rows: Rows) {
        self.scenarios.push((*scenario, rows));
    }

    /// How many targets failed.
    pub fn failures(&self) -> usize {
        self.scenarios.iter().flat_map(|(_, rows)| rows.iter()).filter(|row| row.failure.is_some()).count()
    }

    /// The deciding figure of each scenario, ours to the peer's: `mesh-path 0.27x (0.25–0.30)`.
    pub fn ratios_to(&self, peer: Peer) -> Vec<String> {
        let line = |(scenario, rows): &(Scenario, Rows)| {
            let Spread { median, min, max } = rows.ratio(peer.name(), rows.deciding()?)?;
            Some(format!("{} {median:.2}x ({min:.2}–{max:.2})", scenario.name))
        };
        self.scenarios.iter().filter_map(line).collect()
    }

    /// Writes `run.json` and `run.svg` into a folder, which is returned.
    pub fn write(&self, folder: Option<&Path>) -> anyhow::Result<PathBuf> {
        let folder = folder.map_or_else(|| Path::new("target/bench").join(&self.time), Path::to_owned);
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write("run.json", serde_json::to_string_pretty(&self.json())?)?;
        write("run.svg", svg::render(&self.scenarios))?;
        Ok(folder)
    }

    fn json(&self) -> serde_json::Value {
        let scenarios = self.scenarios.iter().map(|(scenario, rows)| {
            let ratios = rows.iter().filter_map(|row| {
                let figure = rows.deciding()?;
                Some(json!({ "to": row.name, "of": figure, "ratio": rows.ratio(row.name, figure)? }))
            });
            json!({
                "name": scenario.name, "about": scenario.about,
                "targets": rows, "ratios": ratios.collect::<Vec<_>>()
            })
        });
        json!({
            "time": self.time,
            "machine": self.machine,
            "programs": self.programs.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "rounds": self.runs,
            "seconds": self.seconds,
            "scenarios": scenarios.collect::<Vec<_>>()
        })
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
