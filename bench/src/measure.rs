//! What the kernel says of a process: processor time and memory.

use anyhow::Context as _;
use nix::unistd::{SysconfVar, sysconf};
use std::iter::Sum;
use std::ops::{Add, Sub};

/// Processor time of a process, all threads, in seconds. The kernel counts it in hundredths.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In user space.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl Cpu {
    /// What a process has used since its start.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/stat");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("this system has no clock tick")? as f64;
        parse_stat(&text, ticks).with_context(|| format!("{path} has an unknown form"))
    }

    /// Both kinds together.
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { user: self.user - other.user, system: self.system - other.system }
    }
}

/// utime and stime are the 14th and 15th field; the 2nd is the name in parentheses, which may contain
/// anything.
fn parse_stat(text: &str, ticks: f64) -> Option<Cpu> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    Some(Cpu { user: fields.next()?? / ticks, system: fields.next()?? / ticks })
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Resident, with what is mapped from files and may be shared between processes.
    pub resident: f64,
    /// The part that belongs to this process alone.
    pub anonymous: f64,
}

impl Memory {
    /// What a process has now.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/status");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        parse_status(&text).with_context(|| format!("{path} has an unknown form"))
    }
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { resident: self.resident + other.resident, anonymous: self.anonymous + other.anonymous }
    }
}

impl Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

fn parse_status(text: &str) -> Option<Memory> {
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    Some(Memory { resident: kilobytes("VmRSS")? * 1024.0, anonymous: kilobytes("RssAnon")? * 1024.0 })
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
