//! Kubernetes' protobuf bodies (`application/vnd.kubernetes.protobuf`), as `kubectl create` sends them, to JSON.
//!
//! A body is a magic number and a `runtime.Unknown`: the kind and the encoded object. The object is read by a table of
//! messages rather than by generated types, because what is wanted is JSON.

mod table;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use table::{Field, Shape, message};
use wire::{Reader, Wire};

const MAGIC: &[u8] = b"k8s\0";

/// Deepest nesting of messages that is read.
const MAX_DEPTH: usize = 64;

/// Fields whose zero means something, because they are pointers in Kubernetes' types. Go's encoder writes the zeros of all
/// others too, and JSON leaves those out.
const ZERO_COUNTS: &[&str] = &[
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "backoffLimit",
    "blockOwnerDeletion",
    "completions",
    "controller",
    "defaultMode",
    "deletionGracePeriodSeconds",
    "enableServiceLinks",
    "failedJobsHistoryLimit",
    "fsGroup",
    "gracePeriodSeconds",
    "hostUsers",
    "immutable",
    "intVal",
    "leaseTransitions",
    "manualSelector",
    "maxReplicas",
    "minReplicas",
    "mode",
    "optional",
    "orphanDependents",
    "parallelism",
    "partition",
    "priority",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "ready",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "serving",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "successfulJobsHistoryLimit",
    "suspend",
    "terminating",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
    "value",
];

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it does not begin with the magic number k8s\\0")]
    NoMagic,
    #[error("it ends in the middle of a value")]
    CutOff,
    #[error("field {field} of {message} has wire type {wire}, which it cannot have")]
    WireType { message: String, field: String, wire: &'static str },
    #[error("field {field} of {message} is not UTF-8")]
    NotText { message: String, field: String },
    #[error("kind {kind} of {api_version} is not known in this form: send it as JSON")]
    UnknownKind { api_version: String, kind: String },
    #[error("it is nested too deeply")]
    TooDeep,
    #[error("field {field} of {message} holds broken JSON")]
    BrokenJson { message: String, field: String },
}

/// Decodes a body to the JSON object it stands for.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let unknown = bytes.strip_prefix(MAGIC).ok_or(DecodeError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader::new(unknown);
    while let Some((tag, wire)) = reader.field()? {
        match (tag, wire) {
            (1, Wire::Bytes(type_meta)) => {
                let mut reader = Reader::new(type_meta);
                while let Some((tag, wire)) = reader.field()? {
                    match (tag, wire) {
                        (1, Wire::Bytes(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Wire::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let Some(fields) = message(&name) else { return Err(DecodeError::UnknownKind { api_version, kind }) };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    read_message(&name, fields, raw, &mut object, MAX_DEPTH)?;
    Ok(Value::Object(object))
}

/// `apps/v1` and `Deployment` → `apps.v1.Deployment`: the first label of the group, core for the empty one.
fn message_name(api_version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".to_owned();
    }
    match api_version.split_once('/') {
        None => format!("core.{api_version}.{kind}"),
        Some((group, version)) => format!("{}.{version}.{kind}", group.split('.').next().unwrap_or_default()),
    }
}

fn read_message(
    name: &str,
    fields: &[Field],
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth == 0 {
        return Err(DecodeError::TooDeep);
    }
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.field()? {
        // A field of a newer version: pruned like an unknown JSON field.
        let Some(field) = fields.iter().find(|field| field.tag == tag) else { continue };
        match field.shape {
            Shape::Inline => {
                let Wire::Bytes(bytes) = wire else { return Err(wrong_wire(name, field, &wire)) };
                if let Some(fields) = message(field.kind) {
                    read_message(field.kind, fields, bytes, object, depth - 1)?;
                }
            }
            Shape::One => {
                if let Some(value) = read_value(name, field, &wire, depth)?
                    && !is_nothing(field, &value)
                {
                    object.insert(field.name.to_owned(), value);
                }
            }
            Shape::List => {
                let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                if let (Value::Array(list), Some(value)) = (list, read_value(name, field, &wire, depth)?) {
                    list.push(value);
                }
            }
            Shape::Map => {
                let Wire::Bytes(entry) = wire else { return Err(wrong_wire(name, field, &wire)) };
                let (key, value) = read_entry(name, field, entry, depth)?;
                let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
        }
    }
    Ok(())
}

/// Whether JSON would leave the value out.
fn is_nothing(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0) && !ZERO_COUNTS.contains(&field.name),
        Value::Bool(flag) => !flag && !ZERO_COUNTS.contains(&field.name),
        _ => false,
    }
}

fn read_entry(name: &str, field: &Field, entry: &[u8], depth: usize) -> Result<(String, Value), DecodeError> {
    let mut key = String::new();
    let mut value = None;
    let mut reader = Reader::new(entry);
    while let Some((tag, wire)) = reader.field()? {
        match tag {
            1 => {
                if let Wire::Bytes(bytes) = wire {
                    key = text(name, field, bytes)?;
                }
            }
            2 => value = read_value(name, field, &wire, depth)?,
            _ => {}
        }
    }
    Ok((key, value.unwrap_or_else(|| "".into())))
}

fn wrong_wire(name: &str, field: &Field, wire: &Wire<'_>) -> DecodeError {
    DecodeError::WireType { message: name.to_owned(), field: field.name.to_owned(), wire: wire.name() }
}

fn text(name: &str, field: &Field, bytes: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| DecodeError::NotText { message: name.to_owned(), field: field.name.to_owned() })
}

/// One value of a field; `None` for those that JSON has nothing for.
fn read_value(
    name: &str,
    field: &Field,
    wire: &Wire<'_>,
    depth: usize,
) -> Result<Option<Value>, DecodeError> {
    let value = match (field.kind, wire) {
        ("bool", Wire::Number(number)) => Value::from(*number != 0),
        ("int32", Wire::Number(number)) => Value::from(*number as u32 as i32),
        ("int64", Wire::Number(number)) => Value::from(*number as i64),
        ("uint32" | "uint64", Wire::Number(number)) => Value::from(*number),
        ("double", Wire::Number(bits)) => Value::from(f64::from_bits(*bits)),
        ("string", Wire::Bytes(bytes)) => text(name, field, bytes)?.into(),
        ("bytes", Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        ("time" | "microtime", Wire::Bytes(bytes)) => return read_time(bytes, field.kind == "microtime"),
        ("quantity", Wire::Bytes(bytes)) => first_text(name, field, bytes)?.into(),
        ("intorstring", Wire::Bytes(bytes)) => read_int_or_string(name, field, bytes)?,
        ("texts", Wire::Bytes(bytes)) => {
            let mut texts = Vec::new();
            let mut reader = Reader::new(bytes);
            while let Some((_, wire)) = reader.field()? {
                if let Wire::Bytes(bytes) = wire {
                    texts.push(Value::from(text(name, field, bytes)?));
                }
            }
            Value::Array(texts)
        }
        ("raw", Wire::Bytes(bytes)) => {
            let mut reader = Reader::new(bytes);
            let Some((1, Wire::Bytes(raw))) = reader.field()? else { return Ok(None) };
            serde_json::from_slice(raw).map_err(|_| DecodeError::BrokenJson {
                message: name.to_owned(),
                field: field.name.to_owned(),
            })?
        }
        (kind, Wire::Bytes(bytes)) => match message(kind) {
            Some(fields) => {
                let mut object = Map::new();
                read_message(kind, fields, bytes, &mut object, depth - 1)?;
                // Go always writes these, and JSON shows an empty one as nothing.
                if object.is_empty()
                    && matches!(field.name, "metadata" | "status" | "strategy" | "updateStrategy")
                {
                    return Ok(None);
                }
                Value::Object(object)
            }
            None => return Err(wrong_wire(name, field, wire)),
        },
        _ => return Err(wrong_wire(name, field, wire)),
    };
    Ok(Some(value))
}

/// The text in field 1.
fn first_text(name: &str, field: &Field, bytes: &[u8]) -> Result<String, DecodeError> {
    match Reader::new(bytes).field()? {
        Some((1, Wire::Bytes(bytes))) => text(name, field, bytes),
        _ => Ok(String::new()),
    }
}

fn read_time(bytes: &[u8], micros: bool) -> Result<Option<Value>, DecodeError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.field()? {
        match (tag, wire) {
            (1, Wire::Number(number)) => seconds = number as i64,
            (2, Wire::Number(number)) => nanos = number as u32 as i32,
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Ok(None);
    }
    let time = Timestamp::new(seconds, nanos).ok();
    let format = if micros { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(time.map(|time| time.strftime(format).to_string().into()))
}

fn read_int_or_string(name: &str, field: &Field, bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_text, mut number, mut words) = (false, 0_i32, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.field()? {
        match (tag, wire) {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value as u32 as i32,
            (3, Wire::Bytes(bytes)) => words = text(name, field, bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
