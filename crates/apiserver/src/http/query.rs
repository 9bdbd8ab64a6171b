//! Query parameters.

use crate::error::ApiError;

/// The parameters of a request, in order, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub fn parse(text: &str) -> Query {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Query { pairs: pairs.collect() }
    }

    /// The first value of a parameter; an empty one counts as none.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(found, _)| found == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A switch, off if absent.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.optional_flag(name)?.unwrap_or_default())
    }

    /// A switch that may be absent.
    pub fn optional_flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "1" | "t" | "T" | "True" | "TRUE") => Ok(Some(true)),
            Some("false" | "0" | "f" | "F" | "False" | "FALSE") => Ok(Some(false)),
            Some(other) => Err(invalid(name, other, "must be true or false")),
        }
    }

    /// A number that is not negative.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|_| invalid(name, text, "must be a number that is not negative"))
            })
            .transpose()
    }

    /// `dryRun=All`.
    pub fn dry_run(&self) -> Result<bool, ApiError> {
        match self.text("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(invalid("dryRun", other, "supported values: \"All\"")),
        }
    }
}

fn invalid(name: &str, value: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("invalid query parameter {name}={value:?}: {why}"))
}
