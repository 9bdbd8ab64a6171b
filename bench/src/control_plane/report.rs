//! What a run has found: printed beside the bars, and written as JSON.

use super::fleet::Received;
use super::latency::Latency;
use super::objects::Size;
use crate::machine::Description;
use std::fmt::{self, Display};

/// A whole run.
#[derive(serde::Serialize)]
pub struct Report {
    /// Where it was made.
    pub machine: Description,
    /// The mesh.
    pub size: Size,
    /// How many proxies were simulated.
    pub proxies: usize,
    /// What was measured.
    pub outcomes: Vec<Outcome>,
}

/// What one scenario has found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// Changes made.
    pub changes: usize,
    /// From the write to the API to the proxies.
    pub latency: Latency,
    /// By all proxies together.
    pub received: Received,
    /// Processor time of the control plane, in seconds.
    pub cpu: f64,
    /// Memory of the control plane afterwards, in bytes.
    pub resident: f64,
    /// The part of it that is its own.
    pub anonymous: f64,
    /// What was asked for, and what came of it.
    pub bars: Vec<Bar>,
}

/// A bar and the measurement that is held against it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Bar {
    /// What is measured.
    pub what: String,
    /// The measurement.
    pub measured: f64,
    /// What it may be at most.
    pub most: f64,
    /// Of both.
    pub unit: &'static str,
}

impl Bar {
    /// A bar of `most` for `what`.
    pub fn new(what: impl Into<String>, measured: f64, most: f64, unit: &'static str) -> Self {
        Self { what: what.into(), measured, most, unit }
    }

    /// Whether the measurement holds.
    pub fn is_met(&self) -> bool {
        self.measured <= self.most
    }
}

impl Display for Bar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_met() { "met" } else { "missed" };
        let Self { what, measured, most, unit } = self;
        write!(formatter, "{what}: {measured:.1}{unit}, at most {most}{unit}: {verdict}")
    }
}

impl Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.scenario)?;
        let Latency { count, p50, p90, p99, max } = self.latency;
        if count > 0 {
            writeln!(
                formatter,
                "  {} changes, {count} arrivals: p50 {p50:.1} p90 {p90:.1} p99 {p99:.1} max {max:.1} ms",
                self.changes
            )?;
        }
        let Received { responses, resources, bytes } = self.received;
        let megabytes = bytes as f64 / 1e6;
        writeln!(formatter, "  sent {resources} resources in {responses} messages, {megabytes:.2} MB")?;
        let per_change = match self.changes {
            0 => String::new(),
            changes => format!(" ({:.1} ms a change)", self.cpu * 1000.0 / changes as f64),
        };
        writeln!(
            formatter,
            "  control plane: {:.2} CPU-s{per_change}, {:.0} MB resident, {:.0} MB its own",
            self.cpu,
            self.resident / 1e6,
            self.anonymous / 1e6
        )?;
        self.bars.iter().try_for_each(|bar| writeln!(formatter, "  {bar}"))
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
