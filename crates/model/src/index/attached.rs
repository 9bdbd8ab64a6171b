//! Resources that attach to workloads: by selector, by namespace, or from the root namespace to all.

use std::{cmp::Ordering, sync::Arc};

use mizzen_api::{
    Meta,
    networking::{Gateway, Sidecar},
    security::{AuthorizationPolicy, PeerAuthentication, RequestAuthentication},
    telemetry::Telemetry,
};

use crate::{
    map::{Name, Namespaced},
    touched::ObjectName,
    workload::{Labels, selects},
};

/// A resource with the name of its object.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared<T> {
    /// Its namespace, name, age.
    pub meta: Arc<Meta>,
    /// What it says.
    pub spec: T,
}

impl<T> Declared<T> {
    /// Its name as an object.
    pub fn object_name(&self) -> ObjectName {
        ObjectName::new(self.meta.namespace.as_str(), self.meta.name.as_str())
    }

    /// The older first, then by name and namespace.
    pub fn precedence(&self, other: &Self) -> Ordering {
        let key = |declared: &Self| {
            (declared.meta.creation, declared.meta.name.clone(), declared.meta.namespace.clone())
        };
        key(self).cmp(&key(other))
    }
}

/// A resource with a selector.
pub trait Selecting {
    /// The labels of the workloads it is for; nothing where it is for all in its scope.
    fn selector(&self) -> Option<&Labels>;
    /// Whether it is attached to other resources by name, and so to no sidecar or classic gateway.
    fn is_targeted(&self) -> bool {
        false
    }
}

macro_rules! selecting {
    ($($kind:ty),*) => {$(
        impl Selecting for $kind {
            fn selector(&self) -> Option<&Labels> {
                self.selector.as_ref().map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty())
            }
            fn is_targeted(&self) -> bool {
                self.target_ref.is_some() || !self.target_refs.is_empty()
            }
        }
    )*};
}

selecting!(AuthorizationPolicy, RequestAuthentication, Telemetry);

impl Selecting for PeerAuthentication {
    fn selector(&self) -> Option<&Labels> {
        self.selector.as_ref().map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty())
    }
}

impl Selecting for Sidecar {
    fn selector(&self) -> Option<&Labels> {
        self.workload_selector.as_ref().map(|selector| &selector.labels).filter(|labels| !labels.is_empty())
    }
}

/// Resources that attach to workloads.
#[derive(Clone, Debug)]
pub(crate) struct Attached<T> {
    pub(crate) objects: Namespaced<Arc<Declared<T>>>,
}

impl<T> Default for Attached<T> {
    fn default() -> Self {
        Self { objects: Namespaced::default() }
    }
}

impl<T: Clone> Attached<T> {
    /// A resource came, changed or went.
    pub(crate) fn set(&mut self, namespace: &Name, name: &Name, declared: Option<Declared<T>>) {
        match declared {
            Some(declared) => {
                self.objects.insert(Arc::clone(namespace), Arc::clone(name), Arc::new(declared))
            }
            None => {
                self.objects.remove(namespace, name);
            }
        }
    }
}

impl<T: Selecting + Clone> Attached<T> {
    /// Those of one namespace that are for a workload, the oldest first.
    pub(crate) fn of_namespace(&self, namespace: &str, labels: &Labels) -> Vec<Arc<Declared<T>>> {
        let applies = |spec: &T| {
            !spec.is_targeted() && spec.selector().is_none_or(|selector| selects(selector, labels))
        };
        let objects = self.objects.of_namespace(namespace).map(|(_, declared)| declared);
        let mut found: Vec<_> = objects.filter(|declared| applies(&declared.spec)).cloned().collect();
        found.sort_by(|a, b| a.precedence(b));
        found
    }

    /// Those of the root and of the workload's own namespace that are for it.
    pub(crate) fn of_workload(&self, root: &str, namespace: &str, labels: &Labels) -> Vec<Arc<Declared<T>>> {
        let mut found = self.of_namespace(root, labels);
        if namespace != root {
            found.extend(self.of_namespace(namespace, labels));
        }
        found
    }

    /// The one that counts where only one may: with a selector before without, of the namespace before of
    /// the root, the oldest of several.
    pub(crate) fn narrowest(&self, root: &str, namespace: &str, labels: &Labels) -> Option<Arc<Declared<T>>> {
        let own = self.of_namespace(namespace, labels);
        let root = if namespace == root { Vec::new() } else { self.of_namespace(root, labels) };
        let selecting = own.iter().find(|declared| declared.spec.selector().is_some());
        selecting
            .or_else(|| own.first())
            .or_else(|| root.iter().find(|declared| declared.spec.selector().is_none()))
            .cloned()
    }
}

/// Gateways, by name.
pub(crate) type Gateways = Attached<Gateway>;
