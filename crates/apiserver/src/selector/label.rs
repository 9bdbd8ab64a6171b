//! Label selectors, as text in a query (`app in (a, b), !canary`) and as objects (`matchLabels`, `matchExpressions`).

use serde_json::Value;

use crate::object::{self, items, map, text, text_or_empty};

/// All of the requirements hold. No requirement matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// Reads the text form (apimachinery `labels.Parse`).
    pub fn parse(text: &str) -> Result<LabelSelector, String> {
        let mut parser = Parser { rest: text.trim() };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            if !parser.rest.is_empty() && !parser.take(",") {
                return Err(format!("found '{}', expected: ',' or the end", parser.rest));
            }
        }
        Ok(LabelSelector { requirements })
    }

    /// Reads the object form. Absent (null) matches everything; that is the meaning webhooks give it.
    pub fn from_object(selector: &Value) -> Result<LabelSelector, String> {
        let mut requirements: Vec<Requirement> = map(selector, &["matchLabels"])
            .into_iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            })
            .collect();
        for expression in items(selector, &["matchExpressions"]) {
            let values = || {
                items(expression, &["values"])
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let test = match text_or_empty(expression, &["operator"]) {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            requirements.push(Requirement { key: text_or_empty(expression, &["key"]).to_owned(), test });
        }
        Ok(LabelSelector { requirements })
    }

    /// Whether an object's labels fit.
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.test.holds(object::label(object, &requirement.key)))
    }

    /// Whether a set of labels fits.
    pub fn matches_labels(&self, labels: Option<&Value>) -> bool {
        let value = |key: &str| labels.and_then(|labels| text(labels, &[key]));
        self.requirements.iter().all(|requirement| requirement.test.holds(value(&requirement.key)))
    }

    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|unwanted| unwanted != value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Test::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// Takes a token if it is next; spaces after it are skipped.
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// Takes a key, value or operator word, possibly empty.
    fn word(&mut self) -> &'a str {
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "=!,()<>".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.take("!");
        let key = self.word().to_owned();
        if key.is_empty() {
            return Err(format!("found '{}', expected: identifier", self.rest));
        }
        crate::validation::names::label_key(&key)?;
        let test = if absent {
            Test::DoesNotExist
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Test::Exists
        } else if self.take("==") || self.take("=") {
            Test::In(vec![self.value()?])
        } else if self.take("!=") {
            Test::NotIn(vec![self.value()?])
        } else if self.take(">") {
            Test::GreaterThan(self.number()?)
        } else if self.take("<") {
            Test::LessThan(self.number()?)
        } else {
            match self.word() {
                "in" => Test::In(self.values()?),
                "notin" => Test::NotIn(self.values()?),
                other => {
                    return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"));
                }
            }
        };
        Ok(Requirement { key, test })
    }

    fn value(&mut self) -> Result<String, String> {
        let value = self.word().to_owned();
        crate::validation::names::label_value(&value)?;
        Ok(value)
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.word();
        word.parse()
            .map_err(|_| format!("for 'Gt', 'Lt' operators, the value must be an integer, not '{word}'"))
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        if !self.take("(") {
            return Err(format!("found '{}', expected: '('", self.rest));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(format!("found '{}', expected: ',' or ')'", self.rest));
            }
        }
    }
}

#[cfg(test)]
#[path = "label_tests.rs"]
mod tests;
