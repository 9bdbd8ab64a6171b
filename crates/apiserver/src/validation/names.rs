//! The shapes of names, labels and quantities (RFC 1123, RFC 1035 and apimachinery's rules), with Kubernetes' messages.

use serde_json::Value;

use crate::error::FieldError;
use crate::object::{map, text_or_empty};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// An RFC 1123 label of at most 63 characters.
pub(crate) fn dns_label(text: &str) -> Result<(), String> {
    match text {
        _ if text.len() > 63 => Err("must be no more than 63 bytes".to_owned()),
        _ if !is_dns_label(text) => Err(LABEL.to_owned()),
        _ => Ok(()),
    }
}

/// An RFC 1123 subdomain of at most 253 characters.
pub(crate) fn dns_subdomain(text: &str) -> Result<(), String> {
    match text {
        _ if text.len() > 253 => Err("must be no more than 253 bytes".to_owned()),
        _ if !text.split('.').all(is_dns_label) => Err(SUBDOMAIN.to_owned()),
        _ => Ok(()),
    }
}

fn service_name(text: &str) -> Result<(), String> {
    match text {
        _ if text.len() > 63 => Err("must be no more than 63 bytes".to_owned()),
        _ if !is_dns_label(text) || text.starts_with(|c: char| c.is_ascii_digit()) => Err(SERVICE.to_owned()),
        _ => Ok(()),
    }
}

/// A name that may be anything that fits into one path segment, as RBAC's.
fn path_segment(text: &str) -> Result<(), String> {
    match text {
        "." | ".." => Err(format!("may not be '{text}'")),
        _ if text.contains(['/', '%']) => Err("may not contain '/' or '%'".to_owned()),
        _ => Ok(()),
    }
}

fn is_qualified_part(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || "-_.".contains(c))
}

/// `[PREFIX/]NAME`.
pub(crate) fn label_key(text: &str) -> Result<(), String> {
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            dns_subdomain(prefix).map_err(|error| format!("prefix part {error}"))?;
            name
        }
        None => text,
    };
    match name {
        "" => Err("name part must be non-empty".to_owned()),
        _ if name.len() > 63 => Err("name part must be no more than 63 bytes".to_owned()),
        _ if !is_qualified_part(name) => Err(QUALIFIED.to_owned()),
        _ => Ok(()),
    }
}

/// Empty, or like a name of at most 63 characters.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    match text {
        _ if text.len() > 63 => Err("must be no more than 63 bytes".to_owned()),
        "" => Ok(()),
        _ if !is_qualified_part(text) => Err(VALUE.to_owned()),
        _ => Ok(()),
    }
}

/// A resource quantity: `1`, `0.5`, `100m`, `64Mi`, `1e3`.
pub(crate) fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent = |suffix: &str| {
        suffix.strip_prefix(['e', 'E']).is_some_and(|rest| !rest.is_empty() && rest.parse::<i32>().is_ok())
    };
    let suffixes = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    number.parse::<f64>().is_ok() && (suffixes.contains(&suffix) || exponent(suffix))
}

/// What is wrong with the metadata of an object, apart from what is missing.
pub(crate) fn metadata(object: &Value, group: &str, plural: &str, errors: &mut Vec<FieldError>) {
    let name = text_or_empty(object, &["metadata", "name"]);
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        let outcome = match (group, plural) {
            ("", "namespaces") => dns_label(name),
            ("", "services") => service_name(name),
            ("rbac.authorization.k8s.io", _) => path_segment(name),
            _ => dns_subdomain(name),
        };
        if let Err(detail) = outcome {
            errors.push(FieldError::invalid("metadata.name", &name.into(), detail));
        }
    }
    labels(object, &["metadata", "labels"], errors);
    for (key, _) in map(object, &["metadata", "annotations"]).into_iter().flatten() {
        if let Err(detail) = label_key(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &key.as_str().into(), detail));
        }
    }
}

/// What is wrong with a map of labels.
pub(crate) fn labels(object: &Value, path: &[&str], errors: &mut Vec<FieldError>) {
    let field = path.join(".");
    for (key, value) in map(object, path).into_iter().flatten() {
        if let Err(detail) = label_key(key) {
            errors.push(FieldError::invalid(&field, &key.as_str().into(), detail));
        }
        if let Err(detail) = label_value(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(&field, value, detail));
        }
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
