//! A source whose resources a test sets.

use super::{Selection, Session, Source};
use crate::{Resource, TypeUrl};
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Status;

/// The same names for every type.
#[derive(Clone, Default)]
pub(super) struct World {
    resources: Arc<Mutex<BTreeMap<String, String>>>,
    /// What a client of it does.
    pub(super) warms_clusters_again: bool,
}

impl World {
    pub(super) fn of(resources: &[(&str, &str)]) -> Self {
        let world = Self::default();
        resources.iter().for_each(|(name, body)| world.set(name, Some(body)));
        world
    }

    pub(super) fn set(&self, name: &str, body: Option<&str>) {
        let mut resources = self.resources.lock();
        match body {
            Some(body) => resources.insert(name.to_owned(), body.to_owned()),
            None => resources.remove(name),
        };
    }

    pub(super) fn get(&self, name: &str) -> Resource {
        let body = self.resources.lock().get(name).cloned().expect("resource");
        Resource::new(name, Bytes::from(body))
    }
}

impl Session for World {
    fn warms_clusters_again(&self) -> bool {
        self.warms_clusters_again
    }

    fn resources(&self, _: TypeUrl, selection: Selection<'_>) -> Vec<Resource> {
        let resources = self.resources.lock();
        resources
            .iter()
            .filter(|(name, _)| match selection {
                Selection::Everything => true,
                Selection::Named(names) => names.iter().any(|wanted| **wanted == ***name),
            })
            .map(|(name, body)| Resource::new(name.as_str(), Bytes::from(body.clone())))
            .collect()
    }
}

impl Source for World {
    type Session = Self;

    fn connect(&self, node: &Node, _: &http::Extensions) -> Result<Self, Status> {
        if node.id == "stranger" {
            return Err(Status::permission_denied("not in this mesh"));
        }
        Ok(self.clone())
    }
}

pub(super) fn named(name: &str) -> Arc<str> {
    Arc::from(name)
}

pub(super) fn names(resources: &[Resource]) -> Vec<&str> {
    resources.iter().map(|resource| &*resource.name).collect()
}
