//! DestinationRules: several of one namespace for one host made one, and which applies to a client.

use std::sync::Arc;

use jiff::Timestamp;
use mizzen_api::{
    Meta,
    networking::{self as api, Subset, TrafficPolicy},
};

use crate::{
    host::Host,
    map::Name,
    touched::ObjectName,
    visibility::Visibility,
    workload::{Labels, selects},
};

/// The rules of one namespace for one host, as one.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationRule {
    /// The host or wildcard they are for.
    pub host: Host,
    /// The namespace that declares them.
    pub namespace: Name,
    /// Their names, the oldest first.
    pub names: Vec<Name>,
    /// Who sees them.
    pub visibility: Visibility,
    /// The clients they are for; all where there is no selector.
    pub selector: Option<Labels>,
    /// The policy of the oldest that has one.
    pub policy: Option<Arc<TrafficPolicy>>,
    /// The subsets of all, the older one of two with the same name.
    pub subsets: Vec<Subset>,
}

/// A DestinationRule as it was declared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Declared {
    pub(crate) host: Host,
    pub(crate) name: Name,
    pub(crate) creation: Timestamp,
    pub(crate) visibility: Visibility,
    pub(crate) spec: Arc<api::DestinationRule>,
}

impl DestinationRule {
    /// The subset of this name.
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }

    /// The name of the object that counts: the oldest.
    pub fn object_name(&self) -> ObjectName {
        let name = self.names.first().cloned().unwrap_or_else(|| Name::from(""));
        ObjectName { namespace: Arc::clone(&self.namespace), name }
    }

    /// Whether the rule is for clients with these labels.
    pub fn is_for(&self, labels: &Labels) -> bool {
        self.selector.as_ref().is_none_or(|selector| selects(selector, labels))
    }
}

/// A declaration with its host in full.
pub(crate) fn declare(
    meta: &Meta,
    spec: &Arc<api::DestinationRule>,
    domain: &str,
    default_export: &[String],
) -> Declared {
    Declared {
        host: Host::resolve(&spec.host, &meta.namespace, domain),
        name: meta.name.as_str().into(),
        creation: meta.creation,
        visibility: Visibility::parse(&spec.export_to, &meta.namespace, default_export),
        spec: Arc::clone(spec),
    }
}

/// Makes the rules of one namespace for one host one a visibility and selector, the oldest first.
pub(crate) fn merge(namespace: &Name, mut rules: Vec<Declared>) -> Vec<Arc<DestinationRule>> {
    rules.sort_by(|a, b| (a.creation, &a.name).cmp(&(b.creation, &b.name)));
    let mut merged: Vec<DestinationRule> = Vec::new();
    for rule in rules {
        let selector = rule.spec.workload_selector.as_ref().map(|selector| selector.match_labels.clone());
        let same =
            |known: &&mut DestinationRule| known.selector == selector && known.visibility == rule.visibility;
        match merged.iter_mut().find(same) {
            Some(known) => {
                let new = |subset: &&Subset| known.subset(&subset.name).is_none();
                let more: Vec<_> = rule.spec.subsets.iter().filter(new).cloned().collect();
                known.subsets.extend(more);
                if known.policy.is_none() {
                    known.policy = rule.spec.traffic_policy.clone().map(Arc::new);
                }
                known.names.push(rule.name);
            }
            None => merged.push(DestinationRule {
                host: rule.host,
                namespace: Arc::clone(namespace),
                names: vec![rule.name],
                visibility: rule.visibility,
                selector,
                policy: rule.spec.traffic_policy.clone().map(Arc::new),
                subsets: rule.spec.subsets.clone(),
            }),
        }
    }
    merged.into_iter().map(Arc::new).collect()
}
