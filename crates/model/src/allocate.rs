//! Addresses for hosts that have none, so that connections to them can be told apart.
//!
//! They come from 240.240.0.0/16, which is routed nowhere. The address of a host follows from its name,
//! so that it survives a restart of the control plane; on a collision the later comer takes the next free one.

use std::net::Ipv4Addr;

use crate::{
    map::{Map, map},
    service::ServiceKey,
};

/// Addresses given out so far.
#[derive(Clone, Debug)]
pub(crate) struct Allocations {
    by_service: Map<ServiceKey, Ipv4Addr>,
    by_address: Map<Ipv4Addr, ServiceKey>,
}

/// Usable addresses: the first and last of the range stay free.
const RANGE: u32 = (1 << 16) - 2;

impl Default for Allocations {
    fn default() -> Self {
        Self { by_service: map(), by_address: map() }
    }
}

impl Allocations {
    /// The address of a service, given out now unless it has one. Nothing once the range is used up.
    pub(crate) fn allocate(&mut self, key: &ServiceKey) -> Option<Ipv4Addr> {
        if let Some(address) = self.by_service.get(key) {
            return Some(*address);
        }
        if self.by_service.size() >= RANGE as usize {
            return None;
        }
        let start = hash(key) % RANGE;
        let free = (0..RANGE)
            .map(|step| Ipv4Addr::from(u32::from(Ipv4Addr::new(240, 240, 0, 1)) + (start + step) % RANGE))
            .find(|address| !self.by_address.contains_key(address))?;
        self.by_service.insert_mut(key.clone(), free);
        self.by_address.insert_mut(free, key.clone());
        Some(free)
    }

    /// Takes an address back.
    pub(crate) fn release(&mut self, key: &ServiceKey) {
        if let Some(address) = self.by_service.get(key).copied() {
            self.by_service.remove_mut(key);
            self.by_address.remove_mut(&address);
        }
    }
}

/// FNV-1a: the same on every machine and in every version.
fn hash(key: &ServiceKey) -> u32 {
    let text = key.namespace.bytes().chain([b'/']).chain(key.host.as_str().bytes());
    text.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
#[path = "allocate_tests.rs"]
mod tests;
