//! VirtualServices by host for sidecars and by Gateway for gateways.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    host::{Host, HostMap},
    map::{Map, Namespaced, link, map, unlink},
    touched::{ObjectName, Touched},
    virtual_service::{Context, Declared, GatewayRef, VirtualService, complete, delegates},
};

/// Rules by what they apply to.
#[derive(Clone, Debug)]
pub(crate) struct RouteIndex {
    /// For sidecars: by host or wildcard, in order of precedence.
    pub(crate) mesh: HostMap<Arc<[Arc<VirtualService>]>>,
    /// For gateways: in order of precedence.
    pub(crate) gateways: Map<ObjectName, Arc<[Arc<VirtualService>]>>,
    pub(crate) all: Namespaced<Arc<VirtualService>>,
    /// How many rules depend on the labels of clients.
    pub(crate) by_source_labels: usize,
    declared: Namespaced<Declared>,
    /// Roots by the delegate they refer to.
    roots: Map<ObjectName, Map<ObjectName, ()>>,
}

impl Default for RouteIndex {
    fn default() -> Self {
        Self {
            mesh: HostMap::default(),
            gateways: map(),
            all: Namespaced::default(),
            by_source_labels: 0,
            declared: Namespaced::default(),
            roots: map(),
        }
    }
}

/// What completing rules needs to know of the mesh's settings.
pub(crate) struct Defaults<'a> {
    pub(crate) domain: &'a str,
    pub(crate) export: &'a [String],
}

impl RouteIndex {
    /// A VirtualService came, changed or went.
    pub(crate) fn set(
        &mut self,
        object: &ObjectName,
        declared: Option<Declared>,
        defaults: &Defaults<'_>,
        touched: &mut Touched,
    ) {
        let old = self.declared.remove(&object.namespace, &object.name);
        for delegate in old.iter().flat_map(|(meta, spec)| delegates(meta, spec)) {
            unlink::<_, _, ObjectName>(&mut self.roots, &delegate, object);
        }
        if let Some((meta, spec)) = declared {
            for delegate in delegates(&meta, &spec) {
                link(&mut self.roots, delegate, object.clone());
            }
            self.declared.insert(Arc::clone(&object.namespace), Arc::clone(&object.name), (meta, spec));
        }
        self.settle(object, defaults, touched);
        let roots: Vec<_> = self.roots.get(object).into_iter().flat_map(Map::keys).cloned().collect();
        for root in roots {
            self.settle(&root, defaults, touched);
        }
    }

    /// The settings changed: every rule is completed again.
    pub(crate) fn settle_all(&mut self, defaults: &Defaults<'_>, touched: &mut Touched) {
        let names: Vec<_> = self
            .declared
            .iter()
            .map(|(namespace, name, _)| ObjectName::new(Arc::clone(namespace), Arc::clone(name)))
            .collect();
        for name in names {
            self.settle(&name, defaults, touched);
        }
    }

    fn settle(&mut self, object: &ObjectName, defaults: &Defaults<'_>, touched: &mut Touched) {
        let find = |name: &ObjectName| self.declared.get(&name.namespace, &name.name).cloned();
        let context = Context { domain: defaults.domain, default_export: defaults.export, find: &find };
        let new = find(object).and_then(|(meta, spec)| complete(&meta, &spec, &context)).map(Arc::new);
        let old = self.all.get(&object.namespace, &object.name).cloned();
        if old == new {
            return;
        }
        if old.as_ref().is_some_and(|rule| rule.by_source_labels) {
            self.by_source_labels -= 1;
        }
        if new.as_ref().is_some_and(|rule| rule.by_source_labels) {
            self.by_source_labels += 1;
        }
        let mut hosts = BTreeSet::new();
        let mut gateways = BTreeSet::new();
        for rule in old.iter().chain(&new) {
            if rule.is_for_mesh() {
                hosts.extend(rule.hosts.iter().cloned());
            }
            gateways.extend(rule.gateways.iter().filter_map(|gateway| match gateway {
                GatewayRef::Named(name) => Some(name.clone()),
                GatewayRef::Mesh => None,
            }));
        }
        for host in hosts {
            let new = new.as_ref().filter(|rule| rule.is_for_mesh() && rule.hosts.contains(&host));
            match replaced(self.mesh.get(host.as_str()), object, new) {
                Some(rules) => self.mesh.insert(host.clone(), rules),
                None => self.mesh.remove(host.as_str()),
            }
            touched.virtual_services.insert(host);
        }
        for gateway in gateways {
            let bound = GatewayRef::Named(gateway.clone());
            let new = new.as_ref().filter(|rule| rule.gateways.contains(&bound));
            match replaced(self.gateways.get(&gateway), object, new) {
                Some(rules) => self.gateways.insert_mut(gateway.clone(), rules),
                None => {
                    self.gateways.remove_mut(&gateway);
                }
            }
            touched.gateways.insert(gateway);
        }
        match new {
            Some(rule) => self.all.insert(Arc::clone(&object.namespace), Arc::clone(&object.name), rule),
            None => {
                self.all.remove(&object.namespace, &object.name);
            }
        }
    }

    /// The rules of a host that apply to clients of `namespace`, the one that counts first: private to
    /// them, then exported to them, then public; the oldest first among each.
    pub(crate) fn rules<'a>(&'a self, host: &Host, namespace: &'a str) -> Vec<&'a Arc<VirtualService>> {
        let rules = self.mesh.get(host.as_str()).into_iter().flat_map(|rules| rules.iter());
        let mut visible: Vec<_> = rules.filter(|rule| rule.visibility.includes(namespace)).collect();
        visible.sort_by_key(|rule| rule.visibility.rank(&rule.namespace, namespace));
        visible
    }
}

/// The list with the rule of this name replaced, kept in order of precedence.
fn replaced(
    rules: Option<&Arc<[Arc<VirtualService>]>>,
    object: &ObjectName,
    new: Option<&Arc<VirtualService>>,
) -> Option<Arc<[Arc<VirtualService>]>> {
    let is_it = |rule: &&Arc<VirtualService>| rule.namespace == object.namespace && rule.name == object.name;
    let others = rules.into_iter().flat_map(|rules| rules.iter()).filter(|rule| !is_it(rule));
    let mut rules: Vec<_> = others.chain(new).cloned().collect();
    rules.sort_by(|a, b| a.precedence(b));
    (!rules.is_empty()).then(|| rules.into())
}
