//! Collects what is wrong with an object.

use crate::violation::Violation;

/// What has been found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Violation>);

impl Findings {
    /// Notes what makes the object unusable.
    pub(super) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation::error(path, message));
    }

    /// Notes what is doubtful.
    pub(super) fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation::warning(path, message));
    }

    /// Notes an error for each value that was there before. `key` tells values apart; values
    /// without a key are left alone.
    pub(super) fn unique<'a, T>(
        &mut self,
        values: impl IntoIterator<Item = &'a T>,
        key: impl Fn(&'a T) -> Option<String>,
        path: impl Fn(usize) -> String,
        what: &str,
    ) where
        T: 'a,
    {
        let mut seen = std::collections::BTreeSet::new();
        for (index, value) in values.into_iter().enumerate() {
            if let Some(key) = key(value)
                && !seen.insert(key.clone())
            {
                self.error(path(index), format!("{what} {key} is already used above; each must be unique"));
            }
        }
    }

    /// All that was found, in the order it was.
    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.0
    }
}
