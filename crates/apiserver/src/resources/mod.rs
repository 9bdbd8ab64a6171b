//! Which resources there are: the built-in table and what CustomResourceDefinitions add, under one index.

pub(crate) mod builtin;
pub(crate) mod custom;
pub(crate) mod definition_checks;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::error::Named;
use crate::object;
use crate::store::Collection;

pub(crate) use custom::CustomKind;

/// Verbs of a resource that is stored.
pub(crate) const STORED_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Verbs of a review, which is answered and forgotten.
pub(crate) const REVIEW_VERBS: &[&str] = &["create"];

/// A path under an object, such as `status`.
#[derive(Clone, Debug)]
pub(crate) struct Subresource {
    pub name: String,
    /// Group and version of what it speaks, where they differ from the resource's.
    pub speaks: Option<(String, String)>,
    pub kind: String,
    pub verbs: &'static [&'static str],
}

/// A resource in one version.
#[derive(Debug)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Where its objects are, the same for every version.
    pub collection: Collection,
    pub verbs: &'static [&'static str],
    pub subresources: Vec<Subresource>,
    /// Set when a CustomResourceDefinition made it.
    pub custom: Option<Arc<CustomKind>>,
}

impl Resource {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `GroupResource` as errors name it: `deployments.apps`.
    pub fn named<'a>(&'a self, name: &'a str) -> Named<'a> {
        Named { group: &self.group, plural: &self.plural, name }
    }

    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|found| found.name == name)
    }

    /// Whether status is written apart from the rest.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind.clone(),
            None => format!("{}List", self.kind),
        }
    }
}

/// The versions of a group, preferred first.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: String,
    pub versions: Vec<GroupVersion>,
}

/// The resources of one version of a group.
#[derive(Debug)]
pub(crate) struct GroupVersion {
    pub name: String,
    pub resources: Vec<Arc<Resource>>,
}

/// Everything that can be asked for. Replaced as a whole when a definition changes.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub groups: Vec<Group>,
    /// Changes whenever a definition does; clients cache documents by it.
    pub edition: String,
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    by_collection: HashMap<String, Arc<Resource>>,
}

impl Catalogue {
    /// The built-in resources and those of the given CustomResourceDefinitions. Kinds that have not changed since
    /// `previous` are taken over, compiled schemas and all.
    pub fn new(definitions: &[Value], previous: Option<&Catalogue>) -> Catalogue {
        let mut resources = builtin::resources();
        let newest = definitions
            .iter()
            .filter_map(|definition| object::resource_version(definition).parse().ok())
            .max();
        for definition in definitions {
            resources.extend(custom::resources(definition, previous));
        }
        let mut catalogue = Catalogue {
            groups: Vec::new(),
            edition: format!("{:X}{:04X}", newest.unwrap_or(0_u64), definitions.len()),
            by_path: HashMap::new(),
            by_collection: HashMap::new(),
        };
        for resource in resources {
            catalogue.add(Arc::new(resource));
        }
        for group in &mut catalogue.groups {
            group.versions.sort_by_key(|version| std::cmp::Reverse(version_order(&version.name)));
        }
        catalogue
    }

    fn add(&mut self, resource: Arc<Resource>) {
        let path = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        self.by_path.insert(path, resource.clone());
        self.by_collection.entry(resource.collection.to_string()).or_insert_with(|| resource.clone());
        let position =
            self.groups.iter().position(|group| group.name == resource.group).unwrap_or_else(|| {
                self.groups.push(Group { name: resource.group.clone(), versions: Vec::new() });
                self.groups.len() - 1
            });
        if let Some(group) = self.groups.get_mut(position) {
            match group.versions.iter_mut().find(|version| version.name == resource.version) {
                Some(version) => version.resources.push(resource),
                None => group
                    .versions
                    .push(GroupVersion { name: resource.version.clone(), resources: vec![resource] }),
            }
        }
    }

    /// The resource at `/apis/GROUP/VERSION/PLURAL`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// Any version of the resource whose objects are in a collection.
    pub fn find_collection(&self, collection: &str) -> Option<&Arc<Resource>> {
        self.by_collection.get(collection)
    }

    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub fn group_version(&self, group: &str, version: &str) -> Option<&GroupVersion> {
        self.group(group)?.versions.iter().find(|found| found.name == version)
    }
}

/// Kubernetes' order of versions: `v2` > `v1` > `v1beta2` > `v1beta1` > `v1alpha1` > anything else
/// (apimachinery `version.CompareKubeAwareVersionStrings`).
fn version_order(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (major, rest) = rest.split_at(digits);
    let Ok(major) = major.parse::<u32>() else { return (0, 0, 0) };
    let minor = |text: &str| text.parse::<u32>().unwrap_or_default();
    if rest.is_empty() {
        (3, major, 0)
    } else if let Some(minor_text) = rest.strip_prefix("beta") {
        (2, major, minor(minor_text))
    } else if let Some(minor_text) = rest.strip_prefix("alpha") {
        (1, major, minor(minor_text))
    } else {
        (0, 0, 0)
    }
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
