//! Discovery documents: which groups, versions and resources there are, in the aggregated form of newer clients and in the
//! old form, one document a level.

use serde_json::{Value, json};

use crate::object;
use crate::resources::{Catalogue, Group, GroupVersion, Resource};

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "33",
        "gitVersion": "v1.33.0+mizzen",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// `/api` in the old form.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis` in the old form.
pub(crate) fn groups(catalogue: &Catalogue) -> Value {
    let groups: Vec<Value> =
        catalogue.groups.iter().filter(|group| !group.name.is_empty()).map(group_summary).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn group(group: &Group) -> Value {
    let mut summary = group_summary(group);
    object::set(&mut summary, &["kind"], "APIGroup");
    object::set(&mut summary, &["apiVersion"], "v1");
    summary
}

fn group_summary(group: &Group) -> Value {
    let version = |version: &GroupVersion| json!({"groupVersion": format!("{}/{}", group.name, version.name), "version": version.name});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": group.name, "versions": versions, "preferredVersion": preferred})
}

/// `/api/v1`, `/apis/GROUP/VERSION`.
pub(crate) fn resources(group: &str, version: &GroupVersion) -> Value {
    let group_version =
        if group.is_empty() { version.name.clone() } else { format!("{group}/{}", version.name) };
    let mut list = Vec::new();
    for resource in &version.resources {
        list.push(resource_summary(resource));
        for subresource in &resource.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, subresource.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": subresource.kind,
                "verbs": subresource.verbs,
            });
            if let Some((group, version)) = &subresource.speaks {
                object::set(&mut entry, &["group"], group.as_str());
                object::set(&mut entry, &["version"], version.as_str());
            }
            list.push(entry);
        }
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

fn resource_summary(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        object::set(&mut entry, &["shortNames"], resource.short_names.clone());
    }
    if !resource.categories.is_empty() {
        object::set(&mut entry, &["categories"], resource.categories.clone());
    }
    entry
}

/// `/api` (`core`) or `/apis` in the aggregated form.
pub(crate) fn aggregated(catalogue: &Catalogue, core: bool, form: &str) -> Value {
    let groups: Vec<Value> = catalogue
        .groups
        .iter()
        .filter(|group| group.name.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> =
                group.versions.iter().map(|version| aggregated_version(group, version)).collect();
            let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {},
        "items": groups,
    })
}

fn aggregated_version(group: &Group, version: &GroupVersion) -> Value {
    let resources: Vec<Value> = version
        .resources
        .iter()
        .map(|resource| {
            let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
            let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
            let mut entry = json!({
                "resource": resource.plural,
                "responseKind": kind(&group.name, &version.name, &resource.kind),
                "scope": scope,
                "singularResource": resource.singular,
                "verbs": resource.verbs,
            });
            if !resource.short_names.is_empty() {
                object::set(&mut entry, &["shortNames"], resource.short_names.clone());
            }
            if !resource.categories.is_empty() {
                object::set(&mut entry, &["categories"], resource.categories.clone());
            }
            let subresources: Vec<Value> = resource
                .subresources
                .iter()
                .map(|subresource| {
                    let (group, version) = subresource
                        .speaks
                        .as_ref()
                        .map_or((group.name.as_str(), version.name.as_str()), |(group, version)| (group, version));
                    json!({
                        "subresource": subresource.name,
                        "responseKind": kind(group, version, &subresource.kind),
                        "verbs": subresource.verbs,
                    })
                })
                .collect();
            if !subresources.is_empty() {
                object::set(&mut entry, &["subresources"], subresources);
            }
            entry
        })
        .collect();
    json!({"version": version.name, "resources": resources, "freshness": "Current"})
}
