//! Tables in the layout of Istio's commands: Go's `text/tabwriter` with a minimum width of zero.
//! The last cell of a row is not padded, an empty last cell keeps the padding before it.

use std::fmt::Write as _;

/// Rows of cells, padded by column.
#[derive(Debug)]
pub struct Table {
    padding: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with `padding` spaces after the widest cell of each column, and its header row.
    pub fn new<const COLUMNS: usize>(padding: usize, header: [&str; COLUMNS]) -> Self {
        Self { padding, rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// The same with a header of any length.
    pub fn with_header(padding: usize, header: Vec<String>) -> Self {
        Self { padding, rows: vec![header] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, each row ended by a newline.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                // The last cell of a row does not widen its column, as in Go's writer.
                let cells = self.rows.iter().filter(|row| column + 1 < row.len());
                cells.map(|row| row[column].chars().count()).max().unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column + 1 < row.len() {
                    let spaces = widths[column] + self.padding - cell.chars().count();
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{:spaces$}", "");
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
