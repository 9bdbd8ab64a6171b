//! Durations as Istio's resources spell them: Go's notation, `1h30m`, `250ms`, `1.5s`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, never negative, exact to the nanosecond.
///
/// Read from and written as Go's notation (`time.ParseDuration`): decimal numbers with a unit of
/// `ns`, `us`, `ms`, `s`, `m` or `h`, in any sequence. A bare `0` is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Why a text is not a [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of numbers with units.
    #[error("{0:?} is not a duration; write a number with a unit, such as 5s, 250ms or 1h30m")]
    Malformed(String),
    /// A leading minus.
    #[error("{0:?} is negative; a duration must not be")]
    Negative(String),
    /// Longer than about 292 years, which is as far as Go's durations reach.
    #[error("{0:?} is too long for a duration")]
    TooLong(String),
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(std::time::Duration::ZERO);

    /// The length of `seconds`.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// The length of `milliseconds`.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// The same length as the standard library has it.
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Whether this is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<std::time::Duration> for Duration {
    fn from(length: std::time::Duration) -> Self {
        Self(length)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(length: Duration) -> Self {
        length.0
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let malformed = || DurationError::Malformed(text.to_owned());
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        if unsigned.starts_with('-') {
            return Err(DurationError::Negative(text.to_owned()));
        }
        if unsigned == "0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() {
            return Err(malformed());
        }
        let mut rest = unsigned;
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(malformed)?;
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, next) = after.split_at(letters);
            let nanoseconds = nanoseconds_of(number, unit).ok_or_else(malformed)?;
            total = total.saturating_add(nanoseconds);
            rest = next;
        }
        let nanoseconds = u64::try_from(total).ok().filter(|n| i64::try_from(*n).is_ok());
        nanoseconds
            .map(|n| Self(std::time::Duration::from_nanos(n)))
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))
    }
}

/// The length of one number and unit, or nothing where either is not well formed. Digits below a
/// nanosecond are dropped, as Go does.
fn nanoseconds_of(number: &str, unit: &str) -> Option<u128> {
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanoseconds = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        nanoseconds = nanoseconds.checked_add(u128::from(digit.to_digit(10)?).checked_mul(place)?)?;
    }
    Some(nanoseconds)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.0.as_secs(), self.0.subsec_nanos());
        if seconds == 0 && nanoseconds != 0 && nanoseconds % 1_000_000 == 0 {
            return write!(f, "{}ms", nanoseconds / 1_000_000);
        }
        if nanoseconds == 0 {
            return write!(f, "{seconds}s");
        }
        let fraction = format!("{nanoseconds:09}");
        write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-mizzen-duration": true })
    }
}

#[cfg(test)]
#[path = "duration_tests.rs"]
mod tests;
