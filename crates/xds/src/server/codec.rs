//! Responses straight onto the wire: bodies are copied once, from the shared encoding into the
//! gRPC frame, whatever the number of clients. The layout is that of
//! `envoy.service.discovery.v3.{DeltaDiscoveryResponse,DiscoveryResponse}`.

use super::held::Version;
use crate::{Resource, TypeUrl};
use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::marker::PhantomData;
use std::sync::Arc;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// Which of the two protocols a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseKind {
    Delta,
    World,
}

#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) kind: ResponseKind,
    pub(super) type_url: TypeUrl,
    /// Of the whole; only state of the world has one.
    pub(super) version: String,
    pub(super) nonce: String,
    pub(super) resources: Vec<Resource>,
    /// Only delta names removals.
    pub(super) removed: Vec<Arc<str>>,
    pub(super) control_plane: Arc<str>,
}

/// Field numbers that differ between the two messages.
struct Fields {
    version: u32,
    nonce: u32,
    control_plane: u32,
}

const DELTA: Fields = Fields { version: 1, nonce: 5, control_plane: 7 };
const WORLD: Fields = Fields { version: 1, nonce: 5, control_plane: 6 };
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const REMOVED: u32 = 6;

impl Response {
    /// Sum of the bodies, for statistics.
    pub(super) fn body_bytes(&self) -> usize {
        self.resources.iter().map(|resource| resource.body.len()).sum()
    }

    pub(super) fn encode(&self, buffer: &mut impl BufMut) {
        let fields = match self.kind {
            ResponseKind::Delta => DELTA,
            ResponseKind::World => WORLD,
        };
        put(fields.version, self.version.as_bytes(), buffer);
        for resource in &self.resources {
            self.encode_resource(resource, buffer);
        }
        put(TYPE_URL, self.type_url.as_str().as_bytes(), buffer);
        put(fields.nonce, self.nonce.as_bytes(), buffer);
        for name in &self.removed {
            put(REMOVED, name.as_bytes(), buffer);
        }
        if !self.control_plane.is_empty() {
            encode_key(fields.control_plane, WireType::LengthDelimited, buffer);
            encode_varint(put_len(1, self.control_plane.len()) as u64, buffer);
            put(1, self.control_plane.as_bytes(), buffer);
        }
    }

    pub(super) fn encoded_len(&self) -> usize {
        let resources: usize = self
            .resources
            .iter()
            .map(|resource| {
                let any = any_len(self.type_url, resource);
                put_len(
                    RESOURCES,
                    match self.kind {
                        ResponseKind::World => any,
                        ResponseKind::Delta => {
                            let version = Version::of(resource.version).to_wire();
                            put_len(1, version.len()) + put_len(2, any) + put_len(3, resource.name.len())
                        }
                    },
                )
            })
            .sum();
        let removed: usize = self.removed.iter().map(|name| put_len(REMOVED, name.len())).sum();
        // The rest is small; an upper bound will do for reserving space.
        resources + removed + self.version.len() + self.nonce.len() + self.control_plane.len() + 128
    }

    fn encode_resource(&self, resource: &Resource, buffer: &mut impl BufMut) {
        let any = any_len(self.type_url, resource);
        encode_key(RESOURCES, WireType::LengthDelimited, buffer);
        match self.kind {
            ResponseKind::World => {
                encode_varint(any as u64, buffer);
                put_any(self.type_url, resource, buffer);
            }
            ResponseKind::Delta => {
                let version = Version::of(resource.version).to_wire();
                let length = put_len(1, version.len()) + put_len(2, any) + put_len(3, resource.name.len());
                encode_varint(length as u64, buffer);
                put(1, version.as_bytes(), buffer);
                encode_key(2, WireType::LengthDelimited, buffer);
                encode_varint(any as u64, buffer);
                put_any(self.type_url, resource, buffer);
                put(3, resource.name.as_bytes(), buffer);
            }
        }
    }
}

fn any_len(type_url: TypeUrl, resource: &Resource) -> usize {
    put_len(1, type_url.as_str().len()) + put_len(2, resource.body.len())
}

fn put_any(type_url: TypeUrl, resource: &Resource, buffer: &mut impl BufMut) {
    put(1, type_url.as_str().as_bytes(), buffer);
    put(2, &resource.body, buffer);
}

/// A length-delimited field; an empty one is left out, as proto3 does.
fn put(tag: u32, value: &[u8], buffer: &mut impl BufMut) {
    if value.is_empty() {
        return;
    }
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(value.len() as u64, buffer);
    buffer.put_slice(value);
}

fn put_len(tag: u32, length: usize) -> usize {
    if length == 0 { 0 } else { key_len(tag) + encoded_len_varint(length as u64) + length }
}

/// Decodes requests with prost, encodes responses as above.
pub(super) struct AdsCodec<Request>(PhantomData<Request>);

impl<Request> Default for AdsCodec<Request> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Request: prost::Message + Default + 'static> Codec for AdsCodec<Request> {
    type Encode = Response;
    type Decode = Request;
    type Encoder = ResponseEncoder;
    type Decoder = ProstDecoder<Request>;

    fn encoder(&mut self) -> Self::Encoder {
        ResponseEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

pub(super) struct ResponseEncoder;

impl Encoder for ResponseEncoder {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, response: Response, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(response.encoded_len());
        response.encode(buffer);
        Ok(())
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
