//! What reading needs to know of message types. The descriptors are looked through once for names; the
//! few dozen types of a message that occur in it are decoded when they are first met.

use ahash::AHashMap;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto};
use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};

/// Message and enum types by name.
pub struct Schema {
    messages: AHashMap<String, &'static [u8]>,
    enums: AHashMap<String, &'static [u8]>,
    met: RefCell<AHashMap<String, Rc<Message>>>,
}

/// A message type.
#[derive(Debug)]
pub struct Message {
    /// With its package.
    pub name: String,
    /// Whether it is what the entries of a map are.
    is_entry: bool,
    fields: Vec<Field>,
    by_name: AHashMap<String, usize>,
}

/// The values of an enum by name.
pub type Values = AHashMap<String, i32>;

/// A field of a message type.
#[derive(Debug)]
pub struct Field {
    /// As the .proto file writes it.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// What it holds.
    pub kind: Type,
    /// Of messages and enums.
    pub type_name: String,
    /// Of messages, once met. They may contain themselves, so the schema alone owns them.
    message: OnceCell<Weak<Message>>,
    values: OnceCell<Values>,
    /// Whether it is a list or a map.
    pub repeated: bool,
    /// Which of the message's choices it belongs to.
    pub choice: Option<i32>,
}

impl Message {
    /// The field of this name, the .proto file's or that of JSON, with its place.
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        let place = *self.by_name.get(name)?;
        Some((place, self.fields.get(place)?))
    }

    /// The field of this number.
    pub fn numbered(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

impl Schema {
    /// The types in encoded `FileDescriptorSet`s.
    pub fn of(sets: &[&'static [u8]]) -> Result<Self, prost::DecodeError> {
        let mut schema = Self { messages: AHashMap::new(), enums: AHashMap::new(), met: RefCell::default() };
        for set in sets {
            for file in values(set, 1)? {
                let package = text(file, 2)?;
                for message in values(file, 4)? {
                    schema.add(package, message)?;
                }
                for choice in values(file, 5)? {
                    schema.enums.insert(inside(package, text(choice, 1)?), choice);
                }
            }
        }
        Ok(schema)
    }

    fn add(&mut self, around: &str, message: &'static [u8]) -> Result<(), prost::DecodeError> {
        let name = inside(around, text(message, 1)?);
        for nested in values(message, 3)? {
            self.add(&name, nested)?;
        }
        for choice in values(message, 4)? {
            self.enums.insert(inside(&name, text(choice, 1)?), choice);
        }
        self.messages.insert(name, message);
        Ok(())
    }

    /// The message type of this name, with or without the dot that descriptors begin it with.
    pub fn message(&self, name: &str) -> Result<Rc<Message>, String> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(met) = self.met.borrow().get(name) {
            return Ok(Rc::clone(met));
        }
        let encoded = self.messages.get(name).ok_or_else(|| unknown(name))?;
        let descriptor = DescriptorProto::decode(*encoded).map_err(|error| error.to_string())?;
        let is_entry = descriptor.options.as_ref().is_some_and(|options| options.map_entry());
        let (name, fields) = (name.to_owned(), Vec::with_capacity(descriptor.field.len()));
        let mut message = Message { name, is_entry, fields, by_name: AHashMap::new() };
        for field in descriptor.field {
            let place = message.fields.len();
            message.by_name.insert(field.json_name().to_owned(), place);
            message.by_name.insert(field.name().to_owned(), place);
            message.fields.push(Field::of(field));
        }
        let message = Rc::new(message);
        self.met.borrow_mut().insert(message.name.clone(), Rc::clone(&message));
        Ok(message)
    }

    /// The message type of a field.
    pub fn message_of(&self, field: &Field) -> Result<Rc<Message>, String> {
        if let Some(met) = field.message.get().and_then(Weak::upgrade) {
            return Ok(met);
        }
        let message = self.message(&field.type_name)?;
        field.message.get_or_init(|| Rc::downgrade(&message));
        Ok(message)
    }

    /// What an entry of the map `field` consists of, if it is a map.
    pub fn entry_of(&self, field: &Field) -> Result<Option<Rc<Message>>, String> {
        if !field.repeated || field.kind != Type::Message {
            return Ok(None);
        }
        Ok(Some(self.message_of(field)?).filter(|message| message.is_entry))
    }

    /// The values of the enum of a field.
    pub fn values_of<'f>(&self, field: &'f Field) -> Result<&'f Values, String> {
        match field.values.get() {
            Some(values) => Ok(values),
            None => {
                let values = self.values(&field.type_name)?;
                Ok(field.values.get_or_init(|| values))
            }
        }
    }

    fn values(&self, name: &str) -> Result<Values, String> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let encoded = self.enums.get(name).ok_or_else(|| unknown(name))?;
        let descriptor = EnumDescriptorProto::decode(*encoded).map_err(|error| error.to_string())?;
        let values = descriptor.value.into_iter().map(|value| (value.name().to_owned(), value.number()));
        Ok(values.collect())
    }
}

fn inside(around: &str, name: &str) -> String {
    if around.is_empty() { name.to_owned() } else { format!("{around}.{name}") }
}

fn unknown(name: &str) -> String {
    format!("the type '{name}' is not known")
}

impl Field {
    fn of(descriptor: FieldDescriptorProto) -> Self {
        // An optional field is a choice of one, which needs no looking after.
        let optional = descriptor.proto3_optional();
        Self {
            number: u32::try_from(descriptor.number()).unwrap_or_default(),
            kind: descriptor.r#type(),
            repeated: descriptor.label() == Label::Repeated,
            choice: descriptor.oneof_index.filter(|_| !optional),
            type_name: descriptor.type_name.unwrap_or_default(),
            message: OnceCell::new(),
            values: OnceCell::new(),
            name: descriptor.name.unwrap_or_default(),
        }
    }
}

/// The values of the field `number` of an encoded message, which are messages or text.
fn values(message: &'static [u8], number: u32) -> Result<Vec<&'static [u8]>, prost::DecodeError> {
    let mut values = Vec::new();
    let mut left = message;
    while !left.is_empty() {
        let (found, kind) = decode_key(&mut left)?;
        let mut end = left;
        skip_field(kind, found, &mut end, DecodeContext::default())?;
        if found == number && kind == WireType::LengthDelimited {
            decode_varint(&mut left)?;
            values.push(&left[..left.len() - end.len()]);
        }
        left = end;
    }
    Ok(values)
}

fn text(message: &'static [u8], number: u32) -> Result<&'static str, prost::DecodeError> {
    let value = values(message, number)?.pop().unwrap_or_default();
    Ok(std::str::from_utf8(value).unwrap_or_default())
}
