//! `x-kubernetes-validations`: rules in CEL, with the functions Kubernetes adds to the language.
//!
//! A rule is compiled when it is first needed and kept. One that cannot be compiled or evaluated refuses the object and
//! says why: a rule that is not understood must not let things pass.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::extractors::This;
use cel::{Context, Env, ExecutionError, Program};
use parking_lot::Mutex;
use serde_json::Value;

use super::field_path;
use crate::error::FieldError;
use crate::object::{items, text};

/// Compiled rules that are kept; beyond that all are dropped and compiled anew.
const KEPT_RULES: usize = 8192;

type Compiled = Result<Arc<Program>, Arc<str>>;

static RULES: LazyLock<Mutex<HashMap<String, Compiled>>> = LazyLock::new(Mutex::default);

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    for outcome in [
        environment.add_extension(cel::extensions::strings),
        environment.add_extension(cel::extensions::lists),
    ] {
        if let Err(error) = outcome {
            tracing::error!(%error, "a CEL extension is missing; rules that use it will refuse");
        }
    }
    Arc::new(environment)
});

fn compile(rule: &str) -> Compiled {
    if let Some(found) = RULES.lock().get(rule) {
        return found.clone();
    }
    let compiled =
        ENVIRONMENT.compile(rule).map(Arc::new).map_err(|error| Arc::<str>::from(error.to_string().as_str()));
    let mut rules = RULES.lock();
    if rules.len() >= KEPT_RULES {
        rules.clear();
    }
    rules.insert(rule.to_owned(), compiled.clone());
    compiled
}

/// Checks the rules of a whole object. `old` is what it replaces, for transition rules.
pub(crate) fn violations(object: &Value, old: Option<&Value>, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(object, old, schema, "", &mut errors);
    errors
}

fn walk(value: &Value, old: Option<&Value>, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for rule in items(schema, &["x-kubernetes-validations"]) {
        check(rule, value, old, schema, path, errors);
    }
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties");
            let additional = schema.get("additionalProperties");
            for (name, child) in map {
                let child_schema = properties.and_then(|properties| properties.get(name)).or(additional);
                if let Some(child_schema) = child_schema {
                    let old = old.and_then(|old| old.get(name));
                    walk(child, old, child_schema, &field_path(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            if let Some(item_schema) = schema.get("items") {
                for (index, item) in list.iter().enumerate() {
                    let old = old.and_then(|old| counterpart(item, old, schema));
                    walk(item, old, item_schema, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

/// The item of the old list with the same keys; lists that are no maps have no counterparts.
fn counterpart<'a>(item: &Value, old: &'a Value, schema: &Value) -> Option<&'a Value> {
    let keys = items(schema, &["x-kubernetes-list-map-keys"]);
    if keys.is_empty() {
        return None;
    }
    let same =
        |other: &&Value| keys.iter().filter_map(Value::as_str).all(|key| other.get(key) == item.get(key));
    old.as_array()?.iter().find(same)
}

fn check(
    rule: &Value,
    value: &Value,
    old: Option<&Value>,
    schema: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(expression) = text(rule, &["rule"]) else { return };
    let is_transition = mentions(expression, "oldSelf");
    let optional_old = rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or_default();
    if is_transition && old.is_none() && !optional_old {
        return;
    }
    let variables = [("self", Some((value, schema))), ("oldSelf", old.map(|old| (old, schema)))];
    let message = match evaluate_bool(expression, &variables) {
        Ok(true) => return,
        Ok(false) => {
            match text(rule, &["messageExpression"]).and_then(|text| evaluate_text(text, &variables)) {
                Some(message) => message,
                None => match text(rule, &["message"]) {
                    Some(message) => message.to_owned(),
                    None => format!("failed rule: {}", expression.trim()),
                },
            }
        }
        Err(error) => format!("rule cannot be evaluated: {}: {error}", expression.trim()),
    };
    let field = match text(rule, &["fieldPath"]) {
        Some(field) => format!("{path}{field}").trim_start_matches('.').to_owned(),
        None => path.to_owned(),
    };
    let mut error = FieldError::invalid(field, &schema_type_name(value), message);
    error.reason = match text(rule, &["reason"]) {
        Some("FieldValueForbidden") => "FieldValueForbidden",
        Some("FieldValueRequired") => "FieldValueRequired",
        Some("FieldValueDuplicate") => "FieldValueDuplicate",
        _ => "FieldValueInvalid",
    };
    errors.push(error);
}

fn schema_type_name(value: &Value) -> Value {
    match value {
        Value::Object(_) => "object".into(),
        Value::Array(_) => "array".into(),
        other => other.clone(),
    }
}

fn mentions(expression: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    expression.match_indices(word).any(|(start, _)| {
        let before = expression.get(..start).and_then(|text| text.chars().next_back());
        let after = expression.get(start + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

type Variables<'a> = [(&'a str, Option<(&'a Value, &'a Value)>)];

/// Evaluates an expression that must be true or false.
pub(crate) fn evaluate_bool(expression: &str, variables: &Variables<'_>) -> Result<bool, String> {
    match evaluate(expression, variables)? {
        cel::Value::Bool(result) => Ok(result),
        other => Err(format!("it gives {:?}, not true or false", other.type_of())),
    }
}

fn evaluate_text(expression: &str, variables: &Variables<'_>) -> Option<String> {
    match evaluate(expression, variables) {
        Ok(cel::Value::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

fn evaluate(expression: &str, variables: &Variables<'_>) -> Result<cel::Value, String> {
    let program = compile(expression).map_err(|error| error.to_string())?;
    let mut context = Context::with_env(ENVIRONMENT.clone());
    add_functions(&mut context).map_err(|error| error.to_string())?;
    for (name, bound) in variables {
        let value = bound.map_or(cel::Value::Null, |(value, schema)| to_cel(value, schema));
        context.add_variable_from_value(*name, value);
    }
    program.execute(&context).map_err(|error| error.to_string())
}

/// JSON as CEL sees it. Whole numbers are `int`, unless the schema says `number`.
fn to_cel(value: &Value, schema: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Number(number) => {
            let is_double = schema.get("type").and_then(Value::as_str) == Some("number");
            match number.as_i64() {
                Some(whole) if !is_double => cel::Value::Int(whole),
                _ => cel::Value::Float(number.as_f64().unwrap_or_default()),
            }
        }
        Value::Array(list) => {
            let item_schema = schema.get("items").unwrap_or(&Value::Null);
            cel::Value::from(list.iter().map(|item| to_cel(item, item_schema)).collect::<Vec<_>>())
        }
        Value::Object(map) => {
            let properties = schema.get("properties");
            let additional = schema.get("additionalProperties").unwrap_or(&Value::Null);
            let entries: HashMap<String, cel::Value> = map
                .iter()
                .map(|(name, value)| {
                    let schema = properties.and_then(|properties| properties.get(name)).unwrap_or(additional);
                    (name.clone(), to_cel(value, schema))
                })
                .collect();
            cel::Value::from(entries)
        }
    }
}

/// The functions of Kubernetes' CEL libraries that the extensions of the language do not have.
fn add_functions(context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
    context.add_function("isURL", |text: Arc<String>| Url::parse(&text).is_some())?;
    context.add_function("url", |text: Arc<String>| match Url::parse(&text) {
        Some(_) => Ok(cel::Value::String(text)),
        None => Err(ExecutionError::function_error("url", format!("{text:?} is not a URL"))),
    })?;
    context.add_function("getScheme", |This(text): This<Arc<String>>| part(&text, |url| url.scheme))?;
    context.add_function("getHost", |This(text): This<Arc<String>>| part(&text, |url| url.host))?;
    context.add_function("getHostname", |This(text): This<Arc<String>>| part(&text, Url::hostname))?;
    context.add_function("getPort", |This(text): This<Arc<String>>| part(&text, Url::port))?;
    context.add_function("getEscapedPath", |This(text): This<Arc<String>>| part(&text, |url| url.path))?;
    context.add_function("isIP", |text: Arc<String>| text.parse::<IpAddr>().is_ok())?;
    context.add_function("isCIDR", |text: Arc<String>| text.parse::<ipnet::IpNet>().is_ok())?;
    context.add_function("isQuantity", |text: Arc<String>| crate::validation::names::is_quantity(&text))?;
    context.add_function("find", |This(text): This<Arc<String>>, pattern: Arc<String>| {
        let regex = super::validate::regex(&pattern)
            .map_err(|error| ExecutionError::function_error("find", error))?;
        let found = regex.find(&text).map(|found| found.as_str()).unwrap_or_default();
        Ok::<cel::Value, ExecutionError>(cel::Value::from(found))
    })?;
    context.add_function("isSorted", |This(list): This<Arc<Vec<cel::Value>>>| {
        list.windows(2).all(|pair| match pair {
            [a, b] => a.partial_cmp(b).is_some_and(std::cmp::Ordering::is_le),
            _ => true,
        })
    })?;
    Ok(())
}

fn part<'a>(text: &'a str, take: impl FnOnce(Url<'a>) -> &'a str) -> String {
    Url::parse(text).map(take).unwrap_or_default().to_owned()
}

/// As much of a URL as rules ask about.
struct Url<'a> {
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
}

impl<'a> Url<'a> {
    /// An absolute URL or an absolute path, as Go's `url.ParseRequestURI` takes them.
    fn parse(text: &'a str) -> Option<Url<'a>> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return None;
        }
        if text.starts_with('/') {
            return Some(Url {
                scheme: "",
                host: "",
                path: text.split(['?', '#']).next().unwrap_or_default(),
            });
        }
        let (scheme, rest) = text.split_once(':')?;
        let mut characters = scheme.chars();
        let starts_well = characters.next().is_some_and(|c| c.is_ascii_alphabetic());
        if !starts_well || !characters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
            return None;
        }
        let Some(rest) = rest.strip_prefix("//") else { return Some(Url { scheme, host: "", path: "" }) };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if let Some((_, port)) = host.rsplit_once(':')
            && !host.ends_with(']')
            && port.parse::<u16>().is_err()
            && !port.is_empty()
        {
            return None;
        }
        Some(Url { scheme, host, path: after.split(['?', '#']).next().unwrap_or_default() })
    }

    fn hostname(self) -> &'a str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        self.host.split(':').next().unwrap_or_default()
    }

    fn port(self) -> &'a str {
        match self.host.rsplit_once(':') {
            Some((_, port)) if !self.host.ends_with(']') => port,
            _ => "",
        }
    }
}

/// A duration as Go prints and CEL reads it (`1h2m3.5s`), in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let units =
            [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
        let (unit, factor) = units.into_iter().find(|(unit, _)| {
            after.strip_prefix(unit).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            })
        })?;
        total += number * factor;
        rest = after.strip_prefix(unit)?;
    }
    Some(if negative { -total as i128 } else { total as i128 })
}
