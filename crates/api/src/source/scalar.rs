//! What a scalar means: the rules of YAML 1.1 as `kubectl` applies them.

use serde_json::{Number, Value};

/// The value of a scalar without quotes or tag.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// The number a text spells, where JSON can hold it.
fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
        return None;
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some(magnitude) = integer(digits) {
        return if negative {
            0i64.checked_sub_unsigned(magnitude).map(Number::from)
        } else {
            Some(Number::from(magnitude))
        };
    }
    is_decimal(digits).then(|| text.trim_start_matches('+').parse().ok().and_then(Number::from_f64)).flatten()
}

fn integer(digits: &str) -> Option<u64> {
    let of_radix = |digits: &str, radix| {
        let clean = digits.bytes().all(|b| b.is_ascii_alphanumeric());
        clean.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
    };
    if let Some(digits) = digits.strip_prefix("0x") {
        of_radix(digits, 16)
    } else if let Some(digits) = digits.strip_prefix("0o") {
        of_radix(digits, 8)
    } else if let Some(digits) = digits.strip_prefix("0b") {
        of_radix(digits, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        of_radix(digits, 8)
    } else {
        of_radix(digits, 10)
    }
}

/// Whether a text is digits with a point or an exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}
