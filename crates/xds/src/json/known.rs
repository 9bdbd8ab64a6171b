//! Types whose JSON form is not an object of their fields, and single values.

use super::encode::{Fields, Name, Seen, Single, nested};
use super::schema::{Field, Message, Schema, Values};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::Message as _;
use prost::encoding::{self, WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

const PACKAGE: &str = "google.protobuf.";
/// With and without padding.
const PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Whether `null` is a value of this field instead of its absence.
pub fn null_is_a_value(field: &Field) -> bool {
    matches!(field.type_name.as_str(), ".google.protobuf.Value" | ".google.protobuf.NullValue")
}

/// Reads a message of any type and appends its encoding, without number and length.
pub fn message<'de, D: Deserializer<'de>>(
    schema: &Schema,
    message: &Message,
    encoded: &mut Vec<u8>,
    json: D,
) -> Result<(), D::Error> {
    let appended = |message: &dyn Fn(&mut Vec<u8>) -> Result<(), prost::EncodeError>,
                    encoded: &mut Vec<u8>| message(encoded).map_err(D::Error::custom);
    match message.name.strip_prefix(PACKAGE) {
        Some("Any") => json.deserialize_map(Typed { schema, encoded }),
        Some("Duration") => {
            let text = Name.deserialize(json)?;
            let duration: prost_types::Duration = text.parse().map_err(D::Error::custom)?;
            appended(&|encoded| duration.encode(encoded), encoded)
        }
        Some("Timestamp") => {
            let text = Name.deserialize(json)?;
            let timestamp: prost_types::Timestamp = text.parse().map_err(D::Error::custom)?;
            appended(&|encoded| timestamp.encode(encoded), encoded)
        }
        Some("FieldMask") => {
            let text = Name.deserialize(json)?;
            let paths = text.split(',').filter(|path| !path.is_empty()).map(snake_case).collect();
            let mask = prost_types::FieldMask { paths };
            appended(&|encoded| mask.encode(encoded), encoded)
        }
        Some("Struct") => {
            let fields = object(serde_json::Map::deserialize(json)?);
            appended(&|encoded| fields.encode(encoded), encoded)
        }
        Some("ListValue") => {
            let values = list(Vec::deserialize(json)?);
            appended(&|encoded| values.encode(encoded), encoded)
        }
        Some("Value") => {
            let value = value(serde_json::Value::deserialize(json)?);
            appended(&|encoded| value.encode(encoded), encoded)
        }
        Some(name) if name.ends_with("Value") => {
            let field = message.numbered(1).ok_or_else(|| D::Error::custom("a wrapper without a value"))?;
            Single { schema, field, encoded }.deserialize(json)
        }
        _ => Fields { schema, message, encoded }.deserialize(json),
    }
}

/// Whether a type inside an `Any` has its JSON form in a field `value`.
fn is_special(message: &Message) -> bool {
    message.name.strip_prefix(PACKAGE).is_some_and(|name| {
        name.ends_with("Value")
            || matches!(name, "Any" | "Duration" | "Empty" | "FieldMask" | "Struct" | "Timestamp")
    })
}

/// Reads an `Any`: an object whose `@type` says what its other fields are.
struct Typed<'a> {
    schema: &'a Schema,
    encoded: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with '@type'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { schema, encoded } = self;
        // Where the type does not come first, what comes before it has to wait.
        let mut before = serde_json::Map::new();
        let url: String = loop {
            match map.next_key_seed(Name)? {
                Some(name) if name == "@type" => break map.next_value()?,
                Some(name) => before.insert(name.into_owned(), map.next_value()?),
                None if before.is_empty() => return Ok(()),
                None => return Err(A::Error::custom("'@type' is missing")),
            };
        };
        let name = url.rsplit_once('/').map_or(url.as_str(), |(_, name)| name);
        let inner = schema.message(name).map_err(A::Error::custom)?;
        encoding::string::encode(1, &url, encoded);
        nested(encoded, 2, |encoded| {
            if before.is_empty() && !is_special(&inner) {
                let mut fields = Fields { schema, message: &inner, encoded };
                let mut seen = Seen::default();
                while let Some(name) = map.next_key_seed(Name)? {
                    fields.field(&name, &mut seen, &mut map)?;
                }
                return Ok(());
            }
            while let Some(name) = map.next_key::<String>()? {
                before.insert(name, map.next_value()?);
            }
            let special = is_special(&inner).then(|| before.remove("value")).flatten();
            let value = match special {
                Some(_) if !before.is_empty() => {
                    return Err(A::Error::custom("a field beside '@type' and 'value'"));
                }
                Some(value) => value,
                None => serde_json::Value::Object(before),
            };
            message(schema, &inner, encoded, value).map_err(A::Error::custom)
        })
    }
}

fn object(fields: serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    let fields = fields.into_iter().map(|(name, field)| (name, value(field)));
    prost_types::Struct { fields: fields.collect() }
}

fn list(values: Vec<serde_json::Value>) -> prost_types::ListValue {
    prost_types::ListValue { values: values.into_iter().map(value).collect() }
}

fn value(json: serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    use serde_json::Value;
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => Kind::ListValue(list(values)),
        Value::Object(fields) => Kind::StructValue(object(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// `fooBar` → `foo_bar`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Reads the value of an enum, by name or number.
pub struct Choice<'a> {
    pub field: &'a Field,
    pub values: &'a Values,
}

impl Visitor<'_> for Choice<'_> {
    type Value = i32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a name or number for '{}'", self.field.name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<i32, E> {
        let known = self.values.get(name).copied();
        known.ok_or_else(|| E::custom(format!("unrecognized value '{name}' of '{}'", self.field.name)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i32, E> {
        i32::try_from(number).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i32, E> {
        i32::try_from(number).map_err(E::custom)
    }

    /// `NullValue`.
    fn visit_unit<E: Error>(self) -> Result<i32, E> {
        Ok(0)
    }
}

/// Reads a number, truth value, text or bytes, and appends it with its field's number.
pub struct Scalar<'a> {
    pub field: &'a Field,
    pub encoded: &'a mut Vec<u8>,
}

impl Visitor<'_> for Scalar<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a value for '{}' ({:?})", self.field.name, self.field.kind)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        scalar(self.field, Given::Truth(value), self.encoded).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        scalar(self.field, Given::Whole(value.into()), self.encoded).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        scalar(self.field, Given::Whole(value.into()), self.encoded).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        scalar(self.field, Given::Real(value), self.encoded).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        scalar(self.field, Given::Text(value), self.encoded).map_err(E::custom)
    }
}

/// Appends the key of a map.
pub fn scalar_of_text(field: &Field, text: &str, encoded: &mut Vec<u8>) -> Result<(), String> {
    let given = match (field.kind, text) {
        (Type::Bool, "true") => Given::Truth(true),
        (Type::Bool, "false") => Given::Truth(false),
        _ => Given::Text(text),
    };
    scalar(field, given, encoded)
}

/// What the JSON has.
#[derive(Clone, Copy, Debug)]
enum Given<'a> {
    Truth(bool),
    Whole(i128),
    Real(f64),
    Text(&'a str),
}

fn scalar(field: &Field, given: Given<'_>, encoded: &mut Vec<u8>) -> Result<(), String> {
    let number = field.number;
    let varint = |value: u64, encoded: &mut Vec<u8>| {
        encode_key(number, WireType::Varint, encoded);
        encode_varint(value, encoded);
    };
    let refused = || format!("'{}' cannot be {given:?}", field.name);
    match (field.kind, given) {
        (Type::Bool, Given::Truth(value)) => varint(value.into(), encoded),
        (Type::String, Given::Text(text)) => {
            encode_key(number, WireType::LengthDelimited, encoded);
            encode_varint(text.len() as u64, encoded);
            encoded.extend_from_slice(text.as_bytes());
        }
        (Type::Bytes, Given::Text(text)) => {
            let standard = GeneralPurpose::new(&STANDARD, PADDING).decode(text);
            let either = standard.or_else(|_| GeneralPurpose::new(&URL_SAFE, PADDING).decode(text));
            let bytes = either.map_err(|error| format!("'{}' is not base64: {error}", field.name))?;
            encoding::bytes::encode(number, &bytes, encoded);
        }
        (Type::Double, given) => encoding::double::encode(number, &real(given).ok_or_else(refused)?, encoded),
        (Type::Float, given) => {
            encoding::float::encode(number, &(real(given).ok_or_else(refused)? as f32), encoded);
        }
        (kind, given) => {
            let value = whole(given).ok_or_else(refused)?;
            let fits = |_| format!("'{}' has no room for {value}", field.name);
            match kind {
                Type::Int32 => {
                    varint(i64::from(i32::try_from(value).map_err(fits)?).cast_unsigned(), encoded)
                }
                Type::Int64 => varint(i64::try_from(value).map_err(fits)?.cast_unsigned(), encoded),
                Type::Uint32 => varint(u32::try_from(value).map_err(fits)?.into(), encoded),
                Type::Uint64 => varint(u64::try_from(value).map_err(fits)?, encoded),
                Type::Sint32 => {
                    encoding::sint32::encode(number, &i32::try_from(value).map_err(fits)?, encoded);
                }
                Type::Sint64 => {
                    encoding::sint64::encode(number, &i64::try_from(value).map_err(fits)?, encoded);
                }
                Type::Fixed32 => {
                    encoding::fixed32::encode(number, &u32::try_from(value).map_err(fits)?, encoded);
                }
                Type::Fixed64 => {
                    encoding::fixed64::encode(number, &u64::try_from(value).map_err(fits)?, encoded);
                }
                Type::Sfixed32 => {
                    encoding::sfixed32::encode(number, &i32::try_from(value).map_err(fits)?, encoded);
                }
                Type::Sfixed64 => {
                    encoding::sfixed64::encode(number, &i64::try_from(value).map_err(fits)?, encoded);
                }
                _ => return Err(refused()),
            }
        }
    }
    Ok(())
}

fn real(given: Given<'_>) -> Option<f64> {
    match given {
        Given::Truth(_) => None,
        Given::Whole(value) => Some(value as f64),
        Given::Real(value) => Some(value),
        Given::Text("Infinity") => Some(f64::INFINITY),
        Given::Text("-Infinity") => Some(f64::NEG_INFINITY),
        Given::Text(text) => text.parse().ok(),
    }
}

fn whole(given: Given<'_>) -> Option<i128> {
    match given {
        Given::Truth(_) => None,
        Given::Whole(value) => Some(value),
        // The cast saturates, beyond what any field has room for.
        Given::Real(value) => (value.fract() == 0.0).then_some(value as i128),
        Given::Text(text) => text.parse().ok().or_else(|| whole(Given::Real(text.parse().ok()?))),
    }
}
