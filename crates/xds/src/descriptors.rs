//! The JSON form of Envoy's messages for configuration dumps; see [`crate::json`] for reading it.
//!
//! Descriptors take some twenty megabytes, so they are loaded for the moment they are needed, on a
//! thread whose memory the allocator gives back when it ends.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

pub(crate) const ENVOY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy.bin"));
const TYPE_PREFIX: &str = "type.googleapis.com/";

/// Descriptors of Envoy's and our own messages.
pub struct Descriptors {
    pool: DescriptorPool,
}

/// Why a message could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// The descriptors built into this program are broken.
    #[error("built-in descriptors: {0}")]
    Pool(#[from] prost_reflect::DescriptorError),
    /// The type is not known.
    #[error("the message type '{0}' is not known")]
    UnknownType(String),
    /// The JSON does not fit the message.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The bytes do not fit the message.
    #[error("the message does not decode: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The system has no thread to spare.
    #[error("cannot start a thread to load descriptors: {0}")]
    Thread(#[from] std::io::Error),
}

impl Descriptors {
    /// Does `work` with the descriptors: some ten milliseconds for loading them, and the caller waits.
    /// What `work` returns should be small or compact: it keeps the memory around it from going back.
    pub fn with<T: Send>(work: impl FnOnce(&Self) -> T + Send) -> Result<T, DescriptorError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("descriptors".to_owned());
            let running = thread.spawn_scoped(scope, || Self::load().map(|loaded| work(&loaded)))?;
            // A panic there is a panic here, as if there were no thread.
            running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn load() -> Result<Self, DescriptorError> {
        let mut pool = DescriptorPool::decode(ENVOY)?;
        let own = prost_types::FileDescriptorSet::decode(mizzen_proto::DESCRIPTORS)?;
        // Google's own files are in both sets.
        let new = own.file.into_iter().filter(|file| pool.get_file_by_name(file.name()).is_none());
        let new: Vec<_> = new.collect();
        pool.add_file_descriptor_protos(new)?;
        Ok(Self { pool })
    }

    /// Writes a message in protobuf's JSON form, with the field names of the .proto files, as Envoy
    /// does.
    pub fn write<M: Message + prost::Name>(&self, message: &M) -> Result<Value, DescriptorError> {
        self.write_encoded(&M::full_name(), &message.encode_to_vec())
    }

    /// Writes an encoded message of the type `name` (with or without the `type.googleapis.com/`
    /// prefix).
    pub fn write_encoded(&self, name: &str, body: &[u8]) -> Result<Value, DescriptorError> {
        let descriptor = self.descriptor(name.strip_prefix(TYPE_PREFIX).unwrap_or(name))?;
        let message = DynamicMessage::decode(descriptor, body)?;
        let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(true);
        Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
    }

    /// Writes an encoded message as the JSON form of an `Any` that holds it. A message with parts of
    /// unknown types is written as its bytes, so that a dump is never missing for one of them.
    pub fn write_any(&self, type_url: &str, body: &[u8]) -> Value {
        let mut object = serde_json::Map::new();
        object.insert("@type".to_owned(), type_url.into());
        match self.write_encoded(type_url, body) {
            Ok(Value::Object(fields)) => object.extend(fields),
            Ok(other) => {
                object.insert("value".to_owned(), other);
            }
            Err(error) => {
                object.insert("@error".to_owned(), error.to_string().into());
            }
        }
        Value::Object(object)
    }

    fn descriptor(&self, name: &str) -> Result<MessageDescriptor, DescriptorError> {
        self.pool.get_message_by_name(name).ok_or_else(|| DescriptorError::UnknownType(name.to_owned()))
    }
}

#[cfg(test)]
#[path = "descriptors_tests.rs"]
mod tests;
