//! DestinationRules by namespace and host.

use std::sync::Arc;

use crate::{
    destination_rule::{Declared, DestinationRule, merge},
    host::{Host, HostMap},
    map::{Map, Name, Namespaced, link, map, unlink},
    touched::{ObjectName, Touched},
    workload::Labels,
};

/// The rules of a namespace for a host or wildcard, the oldest first.
type Rules = Arc<[Arc<DestinationRule>]>;

/// Rules for hosts, by the namespace that declares them.
#[derive(Clone, Debug)]
pub(crate) struct RuleIndex {
    namespaces: Map<Name, HostMap<Rules>>,
    declared: Namespaced<Arc<Declared>>,
    names: Map<(Name, Host), Map<Name, ()>>,
    /// How many rules are for certain clients only.
    pub(crate) by_client: usize,
    /// How many rules prefer endpoints by labels they have in common with the client.
    pub(crate) by_failover_priority: usize,
}

impl Default for RuleIndex {
    fn default() -> Self {
        Self {
            namespaces: map(),
            declared: Namespaced::default(),
            names: map(),
            by_client: 0,
            by_failover_priority: 0,
        }
    }
}

impl RuleIndex {
    /// A DestinationRule came, changed or went.
    pub(crate) fn set(&mut self, object: &ObjectName, rule: Option<Declared>, touched: &mut Touched) {
        let old = self.declared.remove(&object.namespace, &object.name);
        let host_key = |rule: &Declared| (Arc::clone(&object.namespace), rule.host.clone());
        if let Some(old) = &old {
            unlink::<_, _, (Name, Host)>(&mut self.names, &host_key(old), &object.name);
            self.by_client -= usize::from(old.spec.workload_selector.is_some());
            self.by_failover_priority -= usize::from(prefers_by_labels(old));
        }
        let new_host = rule.as_ref().map(|rule| rule.host.clone());
        if let Some(rule) = rule {
            link(&mut self.names, host_key(&rule), Arc::clone(&object.name));
            self.by_client += usize::from(rule.spec.workload_selector.is_some());
            self.by_failover_priority += usize::from(prefers_by_labels(&rule));
            self.declared.insert(Arc::clone(&object.namespace), Arc::clone(&object.name), Arc::new(rule));
        }
        let old_host = old.map(|rule| rule.host.clone()).filter(|host| Some(host) != new_host.as_ref());
        for host in old_host.into_iter().chain(new_host) {
            self.settle(&object.namespace, host, touched);
        }
    }

    fn settle(&mut self, namespace: &Name, host: Host, touched: &mut Touched) {
        let key = (Arc::clone(namespace), host.clone());
        let names = self.names.get(&key).into_iter().flat_map(Map::keys);
        let declared =
            names.filter_map(|name| self.declared.get(namespace, name)).map(|rule| Declared::clone(rule));
        let rules = merge(namespace, declared.collect());
        let mut hosts = self.namespaces.get(namespace).cloned().unwrap_or_default();
        if rules.is_empty() {
            hosts.remove(host.as_str());
        } else {
            hosts.insert(host.clone(), rules.into());
        }
        if hosts.is_empty() {
            self.namespaces.remove_mut(namespace);
        } else {
            self.namespaces.insert_mut(Arc::clone(namespace), hosts);
        }
        touched.destination_rules.insert(host);
    }

    /// The rule for a host that a client sees: of its own namespace, else of the service's, else of the
    /// root; in each the most specific host. Levels are not combined.
    pub(crate) fn applicable(
        &self,
        host: &str,
        service_namespace: &str,
        root_namespace: &str,
        client: (&str, &Labels),
    ) -> Option<&Arc<DestinationRule>> {
        let (client_namespace, _) = client;
        let own = self.of_namespace(host, client_namespace, client);
        if own.is_some() {
            return own;
        }
        let exported = [service_namespace, root_namespace];
        let levels = exported.into_iter().filter(|namespace| *namespace != client_namespace);
        levels.into_iter().find_map(|namespace| self.of_namespace(host, namespace, client))
    }

    fn of_namespace(
        &self,
        host: &str,
        namespace: &str,
        client: (&str, &Labels),
    ) -> Option<&Arc<DestinationRule>> {
        let (client_namespace, labels) = client;
        let visible = |rules: &&Arc<DestinationRule>| {
            rules.visibility.includes(client_namespace) && rules.is_for(labels)
        };
        let hosts = self.namespaces.get(namespace)?;
        let specific = hosts
            .matches(host)
            .find_map(|(pattern, rules)| rules.iter().any(|rule| visible(&rule)).then(|| pattern.clone()))?;
        let rules = hosts.get(specific.as_str())?;
        let selecting = rules.iter().filter(visible).find(|rule| rule.selector.is_some());
        selecting.or_else(|| rules.iter().find(visible))
    }

    /// All rules, by namespace.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<DestinationRule>> {
        self.namespaces.values().flat_map(HostMap::iter).flat_map(|(_, rules)| rules.iter())
    }
}

fn prefers_by_labels(rule: &Declared) -> bool {
    let policies = rule
        .spec
        .traffic_policy
        .iter()
        .chain(rule.spec.subsets.iter().filter_map(|s| s.traffic_policy.as_ref()));
    let balancers = policies.flat_map(|policy| {
        policy
            .load_balancer
            .iter()
            .chain(policy.port_level_settings.iter().filter_map(|port| port.load_balancer.as_ref()))
    });
    balancers
        .filter_map(|balancer| balancer.locality_lb_setting.as_ref())
        .any(|setting| !setting.failover_priority.is_empty())
}
