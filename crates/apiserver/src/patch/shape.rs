//! Which lists are merged item by item and by what key. Kubernetes has this as tags on its Go types; for custom kinds it is
//! in the schema.

use serde_json::Value;

use crate::object::items;

/// How a list is compared and merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListShape {
    /// As one value.
    Atomic,
    /// As a set of plain values.
    Set,
    /// As a map: items with the same values in these fields are the same item.
    Map(Vec<String>),
}

/// Where shapes come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shapes<'a> {
    /// The table below, by the path of field names.
    BuiltIn,
    /// A structural schema.
    Schema(&'a Value),
}

impl<'a> Shapes<'a> {
    /// The shapes of what is in a field.
    pub fn field(self, name: &str) -> Shapes<'a> {
        match self {
            Shapes::BuiltIn => Shapes::BuiltIn,
            Shapes::Schema(schema) => Shapes::Schema(
                schema
                    .get("properties")
                    .and_then(|properties| properties.get(name))
                    .or_else(|| schema.get("additionalProperties"))
                    .unwrap_or(&Value::Null),
            ),
        }
    }

    /// The shapes of a list's items.
    pub fn item(self) -> Shapes<'a> {
        match self {
            Shapes::BuiltIn => Shapes::BuiltIn,
            Shapes::Schema(schema) => Shapes::Schema(schema.get("items").unwrap_or(&Value::Null)),
        }
    }

    /// The shape of the list here. `path` are the field names that lead here, list items left out.
    pub fn list(self, path: &[&str]) -> ListShape {
        // Metadata is the same for every kind.
        if path.first() == Some(&"metadata") {
            return built_in(path);
        }
        match self {
            Shapes::BuiltIn => built_in(path),
            Shapes::Schema(schema) => match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => ListShape::Set,
                Some("map") => {
                    let keys = items(schema, &["x-kubernetes-list-map-keys"]);
                    ListShape::Map(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                }
                _ => ListShape::Atomic,
            },
        }
    }

    /// Whether the map here is replaced as a whole.
    pub fn is_atomic_map(self, path: &[&str]) -> bool {
        match self {
            Shapes::BuiltIn => {
                // Selectors (LabelSelector, Service.spec.selector) and references are atomic in Kubernetes' types.
                matches!(
                    path.last(),
                    Some(
                        &("selector"
                            | "nodeSelector"
                            | "fieldRef"
                            | "resourceFieldRef"
                            | "secretKeyRef"
                            | "configMapKeyRef"
                            | "labelSelector"
                            | "namespaceSelector"
                            | "scaleTargetRef"
                            | "involvedObject"
                            | "targetRef"
                            | "roleRef")
                    )
                ) && path.first() != Some(&"webhooks")
            }
            Shapes::Schema(schema) => {
                schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic")
            }
        }
    }
}

fn built_in(path: &[&str]) -> ListShape {
    let keys = |names: &[&str]| ListShape::Map(names.iter().map(|name| (*name).to_owned()).collect());
    let last = path.last().copied().unwrap_or_default();
    let parent = path.len().checked_sub(2).and_then(|index| path.get(index)).copied().unwrap_or_default();
    match (parent, last) {
        ("metadata", "finalizers") => ListShape::Set,
        ("metadata", "ownerReferences") => keys(&["uid"]),
        ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
            keys(&["containerPort", "protocol"])
        }
        ("spec", "ports") if path.len() == 2 => keys(&["port", "protocol"]),
        ("", "secrets" | "imagePullSecrets") => keys(&["name"]),
        (
            _,
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "imagePullSecrets"
            | "webhooks"
            | "matchConditions"
            | "resourceClaims"
            | "schedulingGates",
        ) => keys(&["name"]),
        (_, "volumeMounts") => keys(&["mountPath"]),
        (_, "volumeDevices") => keys(&["devicePath"]),
        (_, "hostAliases") => keys(&["ip"]),
        (_, "topologySpreadConstraints") => keys(&["topologyKey", "whenUnsatisfiable"]),
        ("status", "conditions" | "addresses") => keys(&["type"]),
        ("status", "podIPs" | "hostIPs") => keys(&["ip"]),
        ("spec", "podCIDRs" | "clusterIPs") => ListShape::Atomic,
        _ => ListShape::Atomic,
    }
}
