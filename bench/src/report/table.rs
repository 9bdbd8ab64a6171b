//! Tables for people.

use super::{Rows, Spread};
use crate::peer::Peer;
use crate::scenario::Scenario;

/// A scenario as a table: a figure a line, a target a column, then ours to each of the others.
pub fn render(scenario: &Scenario, rows: &Rows) -> String {
    let mut lines = vec![header(rows)];
    for figure in rows.figures() {
        let values = rows.iter().map(|row| row.spread(figure).map_or("–".to_owned(), value));
        let ratios = others(rows).map(|name| rows.ratio(name, figure).map_or("–".to_owned(), ratio));
        lines.push([figure.to_owned()].into_iter().chain(values).chain(ratios).collect());
    }
    let mut text = format!("{}: {}\n", scenario.name, scenario.about);
    text += &align(&lines);
    for row in rows.iter() {
        if let Some(failure) = &row.failure {
            text += &format!("{} failed: {failure}\n", row.name);
        }
    }
    text
}

fn header(rows: &Rows) -> Vec<String> {
    let names = rows.iter().map(|row| row.name.to_owned());
    let ratios = others(rows).map(|name| format!("× {name}"));
    [String::new()].into_iter().chain(names).chain(ratios).collect()
}

/// Whom ours is compared with.
fn others(rows: &Rows) -> impl Iterator<Item = &'static str> {
    rows.iter().map(|row| row.name).filter(|name| *name != Peer::Mizzen.name() && *name != super::DIRECT)
}

fn value(Spread { median, min, max }: Spread) -> String {
    let digits = match median.abs() {
        large if large >= 1000.0 => 0,
        middle if middle >= 10.0 => 1,
        middle if middle >= 1.0 => 2,
        _ => 3,
    };
    format!("{median:.digits$} [{min:.digits$}–{max:.digits$}]")
}

fn ratio(Spread { median, min, max }: Spread) -> String {
    format!("{median:.2} ({min:.2}–{max:.2})")
}

fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
