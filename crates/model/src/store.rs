//! The single writer: takes changes, keeps the indices, hands out snapshots.

use std::sync::Arc;

use mizzen_api::{
    Config, Kind, Severity, Spec, Violation,
    security::{AuthorizationAction, AuthorizationPolicy, AuthorizationRule},
};

use crate::{
    destination_rule,
    index::{attached::Declared, routes::Defaults, services::Dirty},
    kubernetes::{self, name_of, namespace_of},
    map::{Name, Namespaced},
    mesh::MeshConfig,
    object::{Change, Object, ObjectRef},
    service::Location,
    service_entry::{Entry, workload_endpoint},
    snapshot::Snapshot,
    touched::{Applied, ObjectName, Touched},
};

/// Judges one object: what is wrong with it.
pub type Validate = fn(&Config) -> Vec<Violation>;

/// Keeps the mesh. There is one, and one task calls it.
#[derive(Debug)]
pub struct Store {
    current: Snapshot,
    published: Arc<Snapshot>,
    validate: Validate,
}

impl Store {
    /// An empty mesh in a cluster with this DNS domain.
    pub fn new(domain: &str) -> Self {
        Self::with_validation(domain, |_| Vec::new())
    }

    /// An empty mesh whose objects are judged by `validate`.
    pub fn with_validation(domain: &str, validate: Validate) -> Self {
        let current = Snapshot::empty(domain);
        Self { published: Arc::new(current.clone()), current, validate }
    }

    /// The mesh as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published)
    }

    /// Applies a batch of changes, in order. Costs what the changes cost, not what the mesh holds.
    pub fn apply(&mut self, changes: Vec<Change>) -> Applied {
        let mut batch = Batch::default();
        for change in changes {
            match change {
                Change::Upsert(object) => self.upsert(object, &mut batch),
                Change::Delete(object) => self.delete(object, &mut batch),
            }
        }
        let mut touched = batch.touched;
        let mesh = Arc::clone(&self.current.mesh);
        self.current.services.settle(batch.dirty, &mesh.default_service_export_to, &mut touched);
        if !touched.is_empty() {
            self.current.revision += 1;
            self.published = Arc::new(self.current.clone());
        }
        Applied { snapshot: Arc::clone(&self.published), touched }
    }

    fn upsert(&mut self, object: Object, batch: &mut Batch) {
        match object {
            Object::Config(config) => self.upsert_config(*config, batch),
            Object::Unreadable(object, violations) => {
                if let ObjectRef::Config { kind, namespace, name } = &object {
                    self.forget_config(*kind, namespace, name, batch);
                }
                self.quarantine(object, Some(violations), batch);
            }
            Object::Namespace(object) => {
                let namespace = kubernetes::namespace(&object);
                let name = Name::from(namespace.name.as_str());
                if self.current.namespaces.get(&name).is_none_or(|old| **old != namespace) {
                    self.current.namespaces.insert_mut(Arc::clone(&name), Arc::new(namespace));
                    batch.touched.namespaces.insert(name);
                }
            }
            Object::Service(object) => {
                let mesh = Arc::clone(&self.current.mesh);
                let service =
                    kubernetes::service(&object, &self.current.domain, &mesh.default_service_export_to);
                let (namespace, name) = (Arc::clone(&service.namespace), Arc::clone(&service.name));
                self.current.services.set_service(&namespace, &name, Some(service), &mut batch.dirty);
            }
            Object::EndpointSlice(object) => {
                let (namespace, name) = (namespace_of(&object.metadata), name_of(&object.metadata));
                let slice = kubernetes::slice(&object);
                self.current.services.set_slice(&namespace, &name, slice, &mut batch.dirty);
            }
            Object::Pod(object) => {
                let (namespace, name) = (namespace_of(&object.metadata), name_of(&object.metadata));
                let pod = kubernetes::pod(&object, &self.current.services.nodes);
                self.current.services.set_pod(&namespace, &name, pod, &mut batch.dirty, &mut batch.touched);
            }
            Object::Secret(object) => {
                let object_name = ObjectName::new(namespace_of(&object.metadata), name_of(&object.metadata));
                let secret = kubernetes::secret(&object);
                let known = self.current.secrets.get(&object_name.namespace, &object_name.name);
                if known.is_none_or(|old| **old != secret) {
                    let (namespace, name) =
                        (Arc::clone(&object_name.namespace), Arc::clone(&object_name.name));
                    self.current.secrets.insert(namespace, name, Arc::new(secret));
                    batch.touched.secrets.insert(object_name);
                }
            }
            Object::Node(object) => {
                let locality = kubernetes::locality_of_node(&object);
                let name = name_of(&object.metadata);
                self.current.services.set_node(&name, Some(locality), &mut batch.dirty, &mut batch.touched);
            }
            Object::MeshConfig(mesh) => self.set_mesh(*mesh, batch),
        }
    }

    fn delete(&mut self, object: ObjectRef, batch: &mut Batch) {
        let services = &mut self.current.services;
        match &object {
            ObjectRef::Config { kind, namespace, name } => {
                self.forget_config(*kind, namespace, name, batch);
                self.quarantine(object, None, batch);
            }
            ObjectRef::Namespace { name } => {
                if self.current.namespaces.remove_mut(name.as_str()) {
                    batch.touched.namespaces.insert(name.as_str().into());
                }
            }
            ObjectRef::Service { namespace, name } => {
                services.set_service(namespace, name, None, &mut batch.dirty);
            }
            ObjectRef::EndpointSlice { namespace, name } => {
                services.set_slice(namespace, name, None, &mut batch.dirty);
            }
            ObjectRef::Pod { namespace, name } => {
                services.set_pod(namespace, name, None, &mut batch.dirty, &mut batch.touched);
            }
            ObjectRef::Secret { namespace, name } => {
                if self.current.secrets.remove(namespace, name).is_some() {
                    batch.touched.secrets.insert(ObjectName::new(namespace.as_str(), name.as_str()));
                }
            }
            ObjectRef::Node { name } => services.set_node(name, None, &mut batch.dirty, &mut batch.touched),
            ObjectRef::MeshConfig => self.set_mesh(MeshConfig::default(), batch),
        }
    }

    fn set_mesh(&mut self, mesh: MeshConfig, batch: &mut Batch) {
        if *self.current.mesh == mesh {
            return;
        }
        let old = std::mem::replace(&mut self.current.mesh, Arc::new(mesh));
        batch.touched.mesh = true;
        let mesh = Arc::clone(&self.current.mesh);
        if old.default_service_export_to != mesh.default_service_export_to {
            self.current.services.set_default_export(&mesh.default_service_export_to);
            self.current.services.mark_all(&mut batch.dirty);
        }
        if old.default_virtual_service_export_to != mesh.default_virtual_service_export_to {
            let domain = Arc::clone(&self.current.domain);
            let defaults = Defaults { domain: &domain, export: &mesh.default_virtual_service_export_to };
            self.current.routes.settle_all(&defaults, &mut batch.touched);
        }
        if old.default_destination_rule_export_to != mesh.default_destination_rule_export_to {
            let rules: Vec<_> = self.current.configs(Kind::DestinationRule).cloned().collect();
            for config in rules {
                self.index(&config, batch);
            }
        }
    }

    // === Istio's resources ===

    fn upsert_config(&mut self, config: Config, batch: &mut Batch) {
        let kind = config.kind();
        let (namespace, name) = (config.meta.namespace.clone(), config.meta.name.clone());
        if self.current.config(kind, &namespace, &name).is_some_and(|old| same(old, &config)) {
            return;
        }
        let errors: Vec<_> = (self.validate)(&config)
            .into_iter()
            .filter(|violation| violation.severity == Severity::Error)
            .collect();
        let config = Arc::new(config);
        let object = ObjectRef::config(kind, namespace.clone(), name.clone());
        if errors.is_empty() {
            self.index(&config, batch);
            self.quarantine(object, None, batch);
        } else {
            match refusing(&config) {
                Some(refusing) => self.index(&Arc::new(refusing), batch),
                None => self.unindex(kind, &namespace, &name, batch),
            }
            self.quarantine(object, Some(errors), batch);
        }
        let mut configs = self.current.configs.get(&kind).cloned().unwrap_or_default();
        configs.insert(namespace, name, config);
        self.current.configs.insert_mut(kind, configs);
        batch.touched.configs = true;
    }

    fn forget_config(&mut self, kind: Kind, namespace: &str, name: &str, batch: &mut Batch) {
        let mut configs: Namespaced<_> = self.current.configs.get(&kind).cloned().unwrap_or_default();
        if configs.remove(namespace, name).is_some() {
            self.current.configs.insert_mut(kind, configs);
            batch.touched.configs = true;
            self.unindex(kind, namespace, name, batch);
        }
    }

    fn quarantine(&mut self, object: ObjectRef, violations: Option<Vec<Violation>>, batch: &mut Batch) {
        match violations {
            Some(violations) => {
                if self.current.quarantined.get(&object).is_none_or(|old| **old != *violations) {
                    tracing::warn!(%object, reasons = ?violations, "left out of the mesh: not valid");
                    self.current.quarantined.insert_mut(object, violations.into());
                    batch.touched.quarantine = true;
                }
            }
            None => batch.touched.quarantine |= self.current.quarantined.remove_mut(&object),
        }
    }

    fn index(&mut self, config: &Arc<Config>, batch: &mut Batch) {
        let meta = Arc::new(config.meta.clone());
        let object = ObjectName::new(meta.namespace.as_str(), meta.name.as_str());
        let (namespace, name) = (&object.namespace, &object.name);
        let mesh = Arc::clone(&self.current.mesh);
        let domain = Arc::clone(&self.current.domain);
        let current = &mut self.current;
        let touched = &mut batch.touched;
        match &config.spec {
            Spec::VirtualService(spec) => {
                let defaults = Defaults { domain: &domain, export: &mesh.default_virtual_service_export_to };
                current.routes.set(&object, Some((meta, Arc::new((**spec).clone()))), &defaults, touched);
            }
            Spec::DestinationRule(spec) => {
                let spec = Arc::new((**spec).clone());
                let export = &mesh.default_destination_rule_export_to;
                current.rules.set(
                    &object,
                    Some(destination_rule::declare(&meta, &spec, &domain, export)),
                    touched,
                );
            }
            Spec::ServiceEntry(spec) => {
                let entry = Entry { meta: config.meta.clone(), spec: (**spec).clone() };
                current.services.set_entry(namespace, name, Some(entry), &mut batch.dirty);
            }
            Spec::WorkloadEntry(spec) => {
                let entry = workload_endpoint(&meta, spec, Location::Mesh);
                current.services.set_workload_entry(namespace, name, Some(entry), &mut batch.dirty, touched);
            }
            Spec::Gateway(spec) => {
                current.gateways.set(namespace, name, Some(Declared { meta, spec: (**spec).clone() }));
                touched.gateways.insert(object);
            }
            Spec::Sidecar(spec) => {
                current.sidecars.set(namespace, name, Some(Declared { meta, spec: (**spec).clone() }));
                touched.sidecars.insert(object.namespace);
            }
            Spec::PeerAuthentication(spec) => {
                current.peer_authentications.set(
                    namespace,
                    name,
                    Some(Declared { meta, spec: (**spec).clone() }),
                );
                touched.peer_authentications.insert(object.namespace);
            }
            Spec::RequestAuthentication(spec) => {
                current.request_authentications.set(
                    namespace,
                    name,
                    Some(Declared { meta, spec: (**spec).clone() }),
                );
                touched.request_authentications.insert(object.namespace);
            }
            Spec::AuthorizationPolicy(spec) => {
                current.authorization_policies.set(
                    namespace,
                    name,
                    Some(Declared { meta, spec: (**spec).clone() }),
                );
                touched.authorization_policies.insert(object.namespace);
            }
            Spec::Telemetry(spec) => {
                current.telemetries.set(namespace, name, Some(Declared { meta, spec: (**spec).clone() }));
                touched.telemetries.insert(object.namespace);
            }
            // Read where they are used, from the resources themselves: at registration and injection.
            Spec::WorkloadGroup(_) | Spec::ProxyConfig(_) => {}
            // Not honoured by the data plane; validation refuses them by name.
            Spec::EnvoyFilter(_) | Spec::WasmPlugin(_) | Spec::TrafficExtension(_) => {}
        }
    }

    fn unindex(&mut self, kind: Kind, namespace: &str, name: &str, batch: &mut Batch) {
        let object = ObjectName::new(namespace, name);
        let (namespace, name) = (&object.namespace, &object.name);
        let mesh = Arc::clone(&self.current.mesh);
        let domain = Arc::clone(&self.current.domain);
        let current = &mut self.current;
        let touched = &mut batch.touched;
        match kind {
            Kind::VirtualService => {
                let defaults = Defaults { domain: &domain, export: &mesh.default_virtual_service_export_to };
                current.routes.set(&object, None, &defaults, touched);
            }
            Kind::DestinationRule => current.rules.set(&object, None, touched),
            Kind::ServiceEntry => current.services.set_entry(namespace, name, None, &mut batch.dirty),
            Kind::WorkloadEntry => {
                current.services.set_workload_entry(namespace, name, None, &mut batch.dirty, touched);
            }
            Kind::Gateway => {
                current.gateways.set(namespace, name, None);
                touched.gateways.insert(object);
            }
            Kind::Sidecar => {
                current.sidecars.set(namespace, name, None);
                touched.sidecars.insert(object.namespace);
            }
            Kind::PeerAuthentication => {
                current.peer_authentications.set(namespace, name, None);
                touched.peer_authentications.insert(object.namespace);
            }
            Kind::RequestAuthentication => {
                current.request_authentications.set(namespace, name, None);
                touched.request_authentications.insert(object.namespace);
            }
            Kind::AuthorizationPolicy => {
                current.authorization_policies.set(namespace, name, None);
                touched.authorization_policies.insert(object.namespace);
            }
            Kind::Telemetry => {
                current.telemetries.set(namespace, name, None);
                touched.telemetries.insert(object.namespace);
            }
            Kind::WorkloadGroup
            | Kind::ProxyConfig
            | Kind::EnvoyFilter
            | Kind::WasmPlugin
            | Kind::TrafficExtension => {}
        }
    }
}

/// Whether two states of an object say the same. A new resource version or status alone says nothing new.
fn same(old: &Config, new: &Config) -> bool {
    old.spec == new.spec
        && old.meta.labels == new.meta.labels
        && old.meta.annotations == new.meta.annotations
        && old.meta.creation == new.meta.creation
        && old.meta.uid == new.meta.uid
}

/// What stands in for an AuthorizationPolicy that is not valid: policy fails closed. One that allows
/// allows nothing, one that denies (or asks somebody else) denies everything it is attached to.
fn refusing(config: &Config) -> Option<Config> {
    let Spec::AuthorizationPolicy(policy) = &config.spec else { return None };
    let (action, rules) = match policy.action.unwrap_or_default() {
        AuthorizationAction::Audit => return None,
        AuthorizationAction::Allow => (AuthorizationAction::Allow, Vec::new()),
        AuthorizationAction::Deny | AuthorizationAction::Custom => {
            (AuthorizationAction::Deny, vec![AuthorizationRule::default()])
        }
    };
    let stand_in = AuthorizationPolicy {
        action: Some(action),
        rules,
        provider: None,
        selector: policy.selector.clone(),
        target_ref: policy.target_ref.clone(),
        target_refs: policy.target_refs.clone(),
    };
    Some(Config { meta: config.meta.clone(), spec: Spec::AuthorizationPolicy(Box::new(stand_in)) })
}

/// What a batch has gathered.
#[derive(Default)]
struct Batch {
    dirty: Dirty,
    touched: Touched,
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
