//! What came back of one call.

use anyhow::{Context as _, ensure};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// An answer over HTTP, or what a script printed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 0 where there was none.
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// The body; for a script and where the connection failed, everything that was printed.
    pub body: String,
}

impl Answer {
    /// Reads an exit code and, on the lines after it, what curl printed with `--include`.
    pub fn of_curl(record: &str) -> anyhow::Result<Self> {
        let (code, printed) = record.split_once('\n').context("no exit code")?;
        if code != "0" {
            return Ok(Self { status: 0, headers: BTreeMap::new(), body: printed.to_owned() });
        }
        let mut rest = printed;
        loop {
            let (head, body) = split_head(rest);
            let mut lines = head.lines();
            let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
            let status: u16 = status.parse().with_context(|| format!("status {status}"))?;
            if (100..200).contains(&status) && status != 101 {
                rest = body;
                continue;
            }
            let headers = lines.filter_map(|line| line.split_once(':'));
            let headers = headers.fold(BTreeMap::<String, String>::new(), |mut all, (name, value)| {
                let value = value.trim();
                all.entry(name.to_ascii_lowercase())
                    .and_modify(|known| *known = format!("{known},{value}"))
                    .or_insert_with(|| value.to_owned());
                all
            });
            return Ok(Self { status, headers, body: body.to_owned() });
        }
    }

    /// Reads an exit code and what a script printed.
    pub fn of_script(record: &str) -> anyhow::Result<Self> {
        let (code, printed) = record.split_once('\n').context("no exit code")?;
        let status = if code == "0" { 200 } else { 0 };
        Ok(Self { status, headers: BTreeMap::new(), body: printed.to_owned() })
    }

    /// A field of the echo application's description: `version`, `headers.x-added`.
    pub fn described(&self, path: &str) -> anyhow::Result<Option<String>> {
        let description: Value = serde_json::from_str(&self.body)
            .with_context(|| format!("the answer is not the application's: {}", self.body))?;
        let (field, header) = path.split_once('.').unwrap_or((path, ""));
        let value = if header.is_empty() { &description[field] } else { &description[field][header] };
        Ok(match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
    }

    /// What begins with `~` is a regular expression for the whole text.
    pub fn expect(&self, what: &str, found: Option<&str>, expected: Option<&str>) -> anyhow::Result<()> {
        let is_expected = match (found, expected.and_then(|expected| expected.strip_prefix('~'))) {
            (Some(found), Some(pattern)) => Regex::new(&format!("^(?:{pattern})$"))?.is_match(found),
            _ => found == expected,
        };
        ensure!(
            is_expected,
            "{what} is {found:?}, not {expected:?}; status {}, headers {:?}, body:\n{}",
            self.status,
            self.headers,
            self.body
        );
        Ok(())
    }
}

fn split_head(text: &str) -> (&str, &str) {
    text.split_once("\r\n\r\n").unwrap_or((text, ""))
}
