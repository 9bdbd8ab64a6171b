//! Fields and values, written as they are read.

use super::known;
use super::schema::{Field, Message, Schema};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use prost_types::field_descriptor_proto::Type;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;
use std::fmt;

/// Reads the fields of a message and appends them to `encoded`.
pub struct Fields<'a> {
    pub schema: &'a Schema,
    pub message: &'a Message,
    pub encoded: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object ({})", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Seen::default();
        while let Some(name) = map.next_key_seed(Name)? {
            self.field(&name, &mut seen, &mut map)?;
        }
        Ok(())
    }
}

impl Fields<'_> {
    /// Reads the value of one field.
    pub fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        seen: &mut Seen,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let Some((place, field)) = self.message.field(name) else {
            return Err(A::Error::custom(format!(
                "unrecognized field name '{name}' in {}",
                self.message.name
            )));
        };
        let (schema, encoded) = (self.schema, &mut *self.encoded);
        if map.next_value_seed(Value { schema, field, encoded })? {
            seen.note(place, field).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// Which fields of a message have come, since a second time is an error.
#[derive(Default)]
pub struct Seen {
    places: SmallVec<[u64; 2]>,
    choices: SmallVec<[i32; 4]>,
}

impl Seen {
    fn note(&mut self, place: usize, field: &Field) -> Result<(), String> {
        let (word, bit) = (place / 64, 1 << (place % 64));
        if self.places.len() <= word {
            self.places.resize(word + 1, 0);
        }
        if self.places[word] & bit != 0 {
            return Err(format!("'{}' is there twice", field.name));
        }
        self.places[word] |= bit;
        if let Some(choice) = field.choice {
            if self.choices.contains(&choice) {
                return Err(format!("'{}' excludes another field that is set", field.name));
            }
            self.choices.push(choice);
        }
        Ok(())
    }
}

/// Reads the name of a field without a copy where the text allows it.
pub struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(text.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned().into())
    }
}

/// Reads the value of a field and appends both; says whether there was one, which `null` is not.
struct Value<'a> {
    schema: &'a Schema,
    field: &'a Field,
    encoded: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        if known::null_is_a_value(self.field) && !self.field.repeated {
            let one = Single { schema: self.schema, field: self.field, encoded: self.encoded };
            return one.deserialize(json).map(|()| true);
        }
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a value for '{}'", self.field.name)
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        let Self { schema, field, encoded } = self;
        if !field.repeated {
            Single { schema, field, encoded }.deserialize(json)?;
        } else if let Some(entry) = schema.entry_of(field).map_err(D::Error::custom)? {
            json.deserialize_map(Entries { schema, field, entry: &entry, encoded })?;
        } else {
            json.deserialize_seq(List { schema, field, encoded })?;
        }
        Ok(true)
    }
}

/// A list, each value with the field's number.
struct List<'a> {
    schema: &'a Schema,
    field: &'a Field,
    encoded: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list ('{}')", self.field.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { schema, field, encoded } = self;
        while list.next_element_seed(Single { schema, field, encoded: &mut *encoded })?.is_some() {}
        Ok(())
    }
}

/// A map, each entry a message of key and value.
struct Entries<'a> {
    schema: &'a Schema,
    field: &'a Field,
    entry: &'a Message,
    encoded: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object ('{}')", self.field.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let part = |number, name: &str| {
            self.entry.numbered(number).ok_or_else(|| A::Error::custom(format!("a map without {name}")))
        };
        let (key, value) = (part(1, "keys")?, part(2, "values")?);
        while let Some(text) = map.next_key_seed(Name)? {
            nested(self.encoded, self.field.number, |encoded| {
                known::scalar_of_text(key, &text, encoded).map_err(A::Error::custom)?;
                map.next_value_seed(Single { schema: self.schema, field: value, encoded })
            })?;
        }
        Ok(())
    }
}

/// One value, with its field's number before it.
pub struct Single<'a> {
    pub schema: &'a Schema,
    pub field: &'a Field,
    pub encoded: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Single<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Self { schema, field, encoded } = self;
        match field.kind {
            Type::Message => {
                let message = schema.message_of(field).map_err(D::Error::custom)?;
                nested(encoded, field.number, |encoded| known::message(schema, &message, encoded, json))
            }
            Type::Enum => {
                let values = schema.values_of(field).map_err(D::Error::custom)?;
                let number = json.deserialize_any(known::Choice { field, values })?;
                encode_key(field.number, WireType::Varint, encoded);
                encode_varint(i64::from(number).cast_unsigned(), encoded);
                Ok(())
            }
            Type::Group => Err(D::Error::custom(format!("'{}' is a group", field.name))),
            _ => json.deserialize_any(known::Scalar { field, encoded }),
        }
    }
}

/// Appends a message of its own: number, length, and what `content` appends.
pub fn nested<E>(
    encoded: &mut Vec<u8>,
    number: u32,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    encode_key(number, WireType::LengthDelimited, encoded);
    let start = encoded.len();
    // Most are short: one byte is left for the length, and what follows is moved where it takes more.
    encoded.push(0);
    content(encoded)?;
    let length = encoded.len() - start - 1;
    let more = encoded_len_varint(length as u64) - 1;
    if more > 0 {
        encoded.resize(encoded.len() + more, 0);
        encoded.copy_within(start + 1..start + 1 + length, start + 1 + more);
    }
    let mut place = &mut encoded[start..=start + more];
    encode_varint(length as u64, &mut place);
    Ok(())
}
