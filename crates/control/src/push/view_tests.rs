use super::*;
use crate::push::sight::Sight;
use crate::push::translation::Keys;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use mizzen_model::{Host, Store};
use mizzen_translate::ProxyError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Resources that a test sets, and what it says of changes.
#[derive(Default)]
struct Fake {
    resources: Mutex<BTreeMap<String, String>>,
    affected: Mutex<Option<Affected>>,
    translated: AtomicUsize,
}

impl Translate for Fake {
    type Subject = ();
    type Context<'a> = ();

    fn subject(&self, _: &Node) -> Result<(), ProxyError> {
        Ok(())
    }

    fn keys(&self, _: &Arc<Snapshot>, (): &()) -> Keys {
        Keys { clients: String::new(), workload: String::new() }
    }

    fn part_of(&self, (): &(), _: TypeUrl, name: &str) -> Part {
        if name.starts_with("own") { Part::Workload } else { Part::Clients }
    }

    fn context(&self, _: &Arc<Snapshot>, (): &()) {}

    fn of_hosts(&self, (): &(), part: Part, type_url: TypeUrl, hosts: &BTreeSet<Host>) -> Vec<Resource> {
        let all = self.resources(&(), part, type_url, Selection::Everything);
        let about = |name: &str| hosts.iter().any(|host| name.ends_with(&format!("|{host}")));
        all.into_iter().filter(|resource| about(&resource.name) || !resource.name.contains('|')).collect()
    }

    fn resources(&self, (): &(), part: Part, _: TypeUrl, selection: Selection<'_>) -> Vec<Resource> {
        let resources = self.resources.lock();
        let found: Vec<_> = resources
            .iter()
            .filter(|(name, _)| match selection {
                Selection::Everything => self.part_of(&(), TypeUrl::CLUSTER, name) == part,
                Selection::Named(names) => names.iter().any(|wanted| **wanted == ***name),
            })
            .map(|(name, body)| Resource::new(name.as_str(), Bytes::from(body.clone())))
            .collect();
        self.translated.fetch_add(found.len(), Ordering::Relaxed);
        found
    }

    type Reach = ();

    fn reach(&self, _: &Snapshot, _: &Snapshot, _: &Touched) {}

    fn is_reached(&self, (): &(), (): &()) -> bool {
        true
    }

    fn affected(&self, _: &Snapshot, (): &(), _: &Touched, _: TypeUrl) -> Affected {
        self.affected.lock().clone().unwrap_or(Affected::Nothing)
    }
}

fn snapshot() -> Arc<Snapshot> {
    Store::new("cluster.local").snapshot()
}

fn views(resources: &[(&str, &str)]) -> Views<Fake> {
    let views = Views::new(Fake::default());
    resources.iter().for_each(|(name, body)| set(&views, name, Some(body)));
    views
}

fn view(views: &Views<Fake>, common: &str) -> Arc<View<Fake>> {
    views.view(Part::Clients, common, &Arc::new(()), &snapshot())
}

fn set(views: &Views<Fake>, name: &str, body: Option<&str>) {
    let mut resources = views.translator.resources.lock();
    match body {
        Some(body) => resources.insert(name.to_owned(), body.to_owned()),
        None => resources.remove(name),
    };
}

/// The names that differ after a change that affects `affected`.
fn differences(views: &Views<Fake>, affected: Affected) -> Vec<Vec<String>> {
    *views.translator.affected.lock() = Some(affected);
    let differing = views.advance(&snapshot(), &snapshot(), &Touched::default());
    let names = |names: &Arc<[Arc<str>]>| names.iter().map(|name| name.to_string()).collect();
    differing.iter().flat_map(|(_, types)| types.iter().map(|(_, changed)| names(changed))).collect()
}

fn translated(views: &Views<Fake>) -> usize {
    views.translator.translated.swap(0, Ordering::Relaxed)
}

fn names(list: &[&str]) -> Affected {
    Affected::Names(list.iter().map(|&name| name.to_owned()).collect())
}

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

#[test]
fn proxies_that_see_the_same_share_one_translation() {
    let views = views(&[("a", "1"), ("b", "1")]);
    let first = view(&views, "one");
    let second = view(&views, "one");
    assert!(Arc::ptr_eq(&first, &second));
    let of_first = first.resources(&views.translator, TypeUrl::CLUSTER, Selection::Everything);
    let of_second = second.resources(&views.translator, TypeUrl::CLUSTER, Selection::Everything);
    assert_eq!(of_first, of_second);
    assert_eq!(translated(&views), 2, "each resource once");
}

#[test]
fn equal_bodies_are_shared_between_views() {
    let views = views(&[("a", "1")]);
    let body = |common| {
        let view = view(&views, common);
        view.resources(&views.translator, TypeUrl::CLUSTER, Selection::Everything).remove(0).body
    };
    assert_eq!(body("one").as_ptr(), body("two").as_ptr());
}

#[test]
fn only_what_is_affected_is_translated_again_and_only_what_differs_is_told() {
    let views = views(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let view = view(&views, "one");
    view.resources(&views.translator, TypeUrl::CLUSTER, Selection::Everything);
    translated(&views);

    set(&views, "b", Some("2"));
    assert_eq!(differences(&views, Affected::Nothing), Vec::<Vec<String>>::new());
    assert_eq!(translated(&views), 0);
    assert_eq!(differences(&views, names(&["a", "b"])), [["b"]]);
    assert_eq!(translated(&views), 2);
    assert_eq!(differences(&views, names(&["b"])), Vec::<Vec<String>>::new());

    set(&views, "c", None);
    set(&views, "d", Some("1"));
    assert_eq!(differences(&views, Affected::Everything), [["c", "d"]]);
    let now = view.resources(&views.translator, TypeUrl::CLUSTER, Selection::Everything);
    assert_eq!(now.iter().map(|resource| &*resource.name).collect::<Vec<_>>(), ["a", "b", "d"]);
}

#[test]
fn what_nobody_asked_for_by_name_is_not_translated() {
    let views = views(&[("a", "1"), ("b", "1")]);
    let view = view(&views, "one");
    let asked = [name("a"), name("missing")];
    let found = view.resources(&views.translator, TypeUrl::ENDPOINT, Selection::Named(&asked));
    assert_eq!(found.len(), 1);
    set(&views, "a", Some("2"));
    set(&views, "b", Some("2"));
    set(&views, "missing", Some("1"));
    let affected = names(&["a", "b", "missing"]);
    assert_eq!(differences(&views, affected), [["a", "missing"]]);
    assert_eq!(differences(&views, Affected::Everything), Vec::<Vec<String>>::new());
}

#[test]
fn a_change_of_a_host_concerns_what_it_had_and_what_it_has() {
    let views =
        views(&[("outbound|80|v1|a", "1"), ("outbound|80||a", "1"), ("outbound|80||b", "1"), ("fixed", "1")]);
    let view = view(&views, "one");
    view.resources(&views.translator, TypeUrl::CLUSTER, Selection::Everything);
    set(&views, "outbound|80|v1|a", None);
    set(&views, "outbound|80|v2|a", Some("1"));
    set(&views, "outbound|80||b", Some("2"));
    set(&views, "fixed", Some("2"));
    let changed = differences(&views, Affected::Hosts([Host::new("a")].into()));
    assert_eq!(changed, [["fixed", "outbound|80|v1|a", "outbound|80|v2|a"]]);
}

#[test]
fn workloads_share_what_clients_have_in_common() {
    let views = views(&[("a", "1"), ("b", "1"), ("own", "1")]);
    let sight = |workload: &str| {
        let keys = Keys { clients: "clients".to_owned(), workload: workload.to_owned() };
        Sight::new(&views, &keys, &Arc::new(()), &snapshot())
    };
    let (first, second) = (sight("one"), sight("two"));
    let names = |sight: &Sight<Fake>, selection: Selection<'_>| -> Vec<String> {
        let found = sight.resources(&views.translator, &(), TypeUrl::CLUSTER, selection);
        found.iter().map(|resource| resource.name.to_string()).collect()
    };
    assert_eq!(names(&first, Selection::Everything), ["a", "b", "own"]);
    assert_eq!(translated(&views), 3);
    assert_eq!(names(&second, Selection::Everything), ["a", "b", "own"]);
    assert_eq!(translated(&views), 1, "only what is the workload's own");
    assert_eq!(names(&second, Selection::Named(&[name("own"), name("b")])), ["b", "own"]);

    set(&views, "a", Some("2"));
    set(&views, "own", Some("2"));
    assert_eq!(differences(&views, Affected::Everything).concat().len(), 3, "a once, each its own");
}

#[test]
fn a_view_goes_with_its_last_proxy() {
    let views = views(&[]);
    drop(view(&views, "one"));
    let _other = view(&views, "two");
    assert_eq!(views.views.lock().len(), 1);
}
