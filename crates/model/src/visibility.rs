//! Who may see an object: `exportTo`.

use std::collections::BTreeSet;

use crate::map::Name;

/// The namespaces an object is visible in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Every namespace.
    #[default]
    Public,
    /// No namespace at all (`~`, only for Kubernetes Services).
    Nowhere,
    /// These namespaces.
    Namespaces(BTreeSet<Name>),
}

impl Visibility {
    /// Reads `exportTo`: `*` is everyone, `.` the object's own namespace. Empty means `default`, the
    /// mesh's setting, and everyone where that is empty too.
    pub fn parse(export_to: &[String], namespace: &str, default: &[String]) -> Self {
        let entries = if export_to.is_empty() { default } else { export_to };
        if entries.is_empty() || entries.iter().any(|entry| entry == "*") {
            return Self::Public;
        }
        if entries.iter().any(|entry| entry == "~") {
            return Self::Nowhere;
        }
        let name = |entry: &String| if entry == "." { namespace } else { entry.as_str() }.into();
        Self::Namespaces(entries.iter().map(name).collect())
    }

    /// Whether clients of `namespace` see the object.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Public => true,
            Self::Nowhere => false,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }

    /// How close the object is to clients of `namespace`: private to them, exported to them, public;
    /// smaller is looked at first.
    pub fn rank(&self, own_namespace: &str, namespace: &str) -> u8 {
        match self {
            Self::Public => 2,
            Self::Namespaces(namespaces) if namespaces.len() == 1 && own_namespace == namespace => 0,
            _ => 1,
        }
    }
}
