use super::*;
use crate::server::testing::{World, named, names};

fn delta(type_url: TypeUrl, subscribe: &[&str], initial: &[(&str, &Resource)]) -> Subscription {
    let mut subscription = Subscription::new(type_url, &Arc::default());
    let initial = initial
        .iter()
        .map(|(name, resource)| ((*name).to_owned(), Version::of(resource.version).to_wire()))
        .collect();
    subscription.start_delta(subscribe.iter().map(|&name| name.to_owned()).collect(), initial);
    subscription
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn a_wildcard_gets_everything_then_only_what_changed() {
    let world = World::of(&[("a", "1"), ("b", "1")]);
    let mut subscription = delta(TypeUrl::CLUSTER, &[], &[]);
    assert_eq!(names(&subscription.take_delta(&world, false).expect("first").resources), ["a", "b"]);

    world.set("b", Some("2"));
    subscription.dirt.add([named("a"), named("b")]);
    let batch = subscription.take_delta(&world, false).expect("a change");
    assert_eq!(names(&batch.resources), ["b"]);

    world.set("c", Some("1"));
    world.set("a", None);
    subscription.dirt.add_everything();
    let batch = subscription.take_delta(&world, false).expect("a change");
    assert_eq!((names(&batch.resources), batch.removed), (vec!["c"], vec![named("a")]));

    subscription.dirt.add_everything();
    assert_eq!(subscription.take_delta(&world, false), None, "nothing is sent twice");
}

#[test]
fn a_first_answer_is_given_even_if_empty() {
    let world = World::of(&[]);
    let mut subscription = delta(TypeUrl::LISTENER, &[], &[]);
    assert_eq!(subscription.take_delta(&world, false), Some(Batch::default()));
}

#[test]
fn names_without_a_resource_are_answered_once() {
    let world = World::of(&[]);
    let mut subscription = delta(TypeUrl::ENDPOINT, &["a"], &[]);
    assert_eq!(subscription.take_delta(&world, false).expect("an answer").removed, [named("a")]);
    subscription.dirt.add_everything();
    assert_eq!(subscription.take_delta(&world, false), None);
    world.set("a", Some("1"));
    subscription.dirt.add([named("a")]);
    assert_eq!(names(&subscription.take_delta(&world, false).expect("it came").resources), ["a"]);
}

#[test]
fn a_reconnecting_client_with_matching_versions_is_sent_nothing() {
    let world = World::of(&[("a", "1"), ("b", "2")]);
    let (a, b) = (world.get("a"), world.get("b"));
    let mut wildcard = delta(TypeUrl::CLUSTER, &[], &[("a", &a), ("b", &b)]);
    assert_eq!(wildcard.take_delta(&world, false), None);
    let mut by_name = delta(TypeUrl::ENDPOINT, &["a", "b"], &[("a", &a), ("b", &b)]);
    assert_eq!(by_name.take_delta(&world, false), None);

    world.set("b", None);
    let mut wildcard = delta(TypeUrl::CLUSTER, &[], &[("a", &a), ("b", &b)]);
    assert_eq!(wildcard.take_delta(&world, false).expect("a removal").removed, [named("b")]);
}

#[test]
fn a_name_asked_for_again_is_sent_again() {
    let world = World::of(&[("a", "1"), ("b", "1")]);
    let mut subscription = delta(TypeUrl::ENDPOINT, &["a", "b"], &[]);
    subscription.take_delta(&world, false).expect("first");
    subscription.change_delta(strings(&["a"]), Vec::new());
    assert_eq!(names(&subscription.take_delta(&world, false).expect("again").resources), ["a"]);
}

#[test]
fn unsubscribed_names_are_not_sent() {
    let world = World::of(&[("a", "1"), ("b", "1")]);
    let mut subscription = delta(TypeUrl::ENDPOINT, &["a", "b"], &[]);
    subscription.take_delta(&world, false).expect("first");
    subscription.change_delta(Vec::new(), strings(&["a"]));
    world.set("a", Some("2"));
    subscription.dirt.add([named("a")]);
    assert_eq!(subscription.take_delta(&world, false), None);
}

#[test]
fn a_wildcard_can_be_left_and_taken_up() {
    let world = World::of(&[("a", "1"), ("b", "1")]);
    let mut subscription = delta(TypeUrl::CLUSTER, &["a"], &[]);
    assert_eq!(names(&subscription.take_delta(&world, false).expect("by name").resources), ["a"]);
    subscription.change_delta(strings(&["*"]), Vec::new());
    assert_eq!(names(&subscription.take_delta(&world, false).expect("the rest").resources), ["b"]);
    subscription.change_delta(Vec::new(), strings(&["*"]));
    world.set("b", Some("2"));
    world.set("a", Some("2"));
    subscription.dirt.add_everything();
    assert_eq!(names(&subscription.take_delta(&world, false).expect("by name").resources), ["a"]);
}

#[test]
fn withheld_removals_come_when_released_unless_the_resource_is_back() {
    let world = World::of(&[("a", "1"), ("b", "1")]);
    let mut subscription = delta(TypeUrl::CLUSTER, &[], &[]);
    subscription.take_delta(&world, false).expect("first");
    world.set("a", None);
    world.set("b", None);
    subscription.dirt.add_everything();
    assert_eq!(subscription.take_delta(&world, true), None);
    world.set("a", Some("1"));
    subscription.release_removals();
    assert_eq!(subscription.take_delta(&world, false).expect("a removal").removed, [named("b")]);
}

#[test]
fn the_world_is_sent_whole_to_a_wildcard_and_in_parts_by_name() {
    let world = World::of(&[("a", "1"), ("b", "1")]);
    let mut wildcard = Subscription::new(TypeUrl::CLUSTER, &Arc::default());
    wildcard.set_names(Vec::new(), true);
    let (resources, version) = wildcard.take_world(&world, None).expect("all");
    assert_eq!(names(&resources), ["a", "b"]);

    let mut by_name = Subscription::new(TypeUrl::ENDPOINT, &Arc::default());
    by_name.set_names(strings(&["a"]), true);
    assert_eq!(names(&by_name.take_world(&world, None).expect("a").0), ["a"]);
    by_name.set_names(strings(&["a", "b"]), false);
    assert_eq!(names(&by_name.take_world(&world, None).expect("b").0), ["b"]);
    by_name.set_names(strings(&["b"]), false);
    assert_eq!(by_name.take_world(&world, None), None, "fewer names need no answer");

    let mut again = Subscription::new(TypeUrl::CLUSTER, &Arc::default());
    again.set_names(Vec::new(), true);
    assert_eq!(again.take_world(&world, Some(version)), None, "the client kept all of it");

    world.set("a", None);
    wildcard.dirt.add([named("a")]);
    assert_eq!(names(&wildcard.take_world(&world, None).expect("the rest").0), ["b"]);
}

#[test]
fn too_many_dirty_names_are_everything() {
    let mut dirt = Dirt::None;
    dirt.add((0..=DIRTY_NAMES_LIMIT).map(|index| Arc::from(index.to_string())));
    assert_eq!(dirt, Dirt::Everything);
}

#[test]
fn a_collection_gets_all_that_is_in_it_and_no_other() {
    let world = World::of(&[("80/a", "1"), ("80/b", "1"), ("81/a", "1")]);
    let mut subscription = delta(TypeUrl::VIRTUAL_HOST, &["80"], &[]);
    assert_eq!(names(&subscription.take_delta(&world, false).expect("first").resources), ["80/a", "80/b"]);

    world.set("80/b", Some("2"));
    world.set("80/c", Some("1"));
    world.set("81/a", Some("2"));
    world.set("80/a", None);
    subscription.dirt.add(["80/a", "80/b", "80/c", "81/a"].map(named));
    let batch = subscription.take_delta(&world, false).expect("a change");
    assert_eq!((names(&batch.resources), batch.removed), (vec!["80/b", "80/c"], vec![named("80/a")]));

    subscription.change_delta(strings(&["81", "82"]), strings(&["80"]));
    let batch = subscription.take_delta(&world, false).expect("an answer");
    assert_eq!(names(&batch.resources), ["81/a"]);
    assert_eq!(batch.removed, [named("82")], "there is nothing, and the client waits to hear that");
    subscription.dirt.add_everything();
    assert_eq!(subscription.take_delta(&world, false), None);
}

#[test]
fn a_collection_that_is_known_is_not_sent_again() {
    let world = World::of(&[("80/a", "1"), ("80/b", "2")]);
    let (a, b) = (world.get("80/a"), world.get("80/b"));
    let mut subscription = delta(TypeUrl::VIRTUAL_HOST, &["80"], &[("80/a", &a), ("80/b", &b)]);
    assert_eq!(subscription.take_delta(&world, false), None);
    let mut subscription = delta(TypeUrl::VIRTUAL_HOST, &["80"], &[("80/a", &a), ("80/gone", &b)]);
    let batch = subscription.take_delta(&world, false).expect("a change");
    assert_eq!((names(&batch.resources), batch.removed), (vec!["80/b"], vec![named("80/gone")]));
}

#[test]
fn of_much_a_client_is_sent_one_part_after_the_other() {
    let body = "x".repeat(RESPONSE_BYTES / 2);
    let names: Vec<String> = (0..5).map(|number| format!("80/{number}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), body.as_str())).collect();
    let world = World::of(&all);
    let kinds: [(_, &[&str]); 2] = [(TypeUrl::CLUSTER, &[]), (TypeUrl::VIRTUAL_HOST, &["80", "81"])];
    for (type_url, subscribe) in kinds {
        let mut subscription = delta(type_url, subscribe, &[]);
        let mut sent = Vec::new();
        let mut removed = Vec::new();
        while let Some(batch) = subscription.take_delta(&world, false) {
            assert!(batch.resources.len() <= 2, "{}", batch.resources.len());
            sent.extend(batch.resources.into_iter().map(|resource| resource.name.to_string()));
            removed.push(batch.removed);
        }
        assert_eq!(sent, names);
        let of_last = if type_url.is_by_collection() { vec![named("81")] } else { Vec::new() };
        assert_eq!(removed, [Vec::new(), Vec::new(), of_last], "what is not there is told at the end");
    }
    world.set("80/0", Some(&body.repeat(3)));
    let mut subscription = delta(TypeUrl::CLUSTER, &[], &[]);
    let batch = subscription.take_delta(&world, false).expect("first");
    assert_eq!(batch.resources.len(), 1, "what is larger goes alone");
}

#[test]
fn many_small_ones_all_arrive() {
    let names: Vec<String> = (0..3000).map(|number| format!("c{number:04}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let world = World::of(&all);
    let mut subscription = delta(TypeUrl::CLUSTER, &[], &[]);
    assert_eq!(subscription.take_delta(&world, false).expect("all").resources.len(), 3000);
    names.iter().for_each(|name| world.set(name, Some("y")));
    subscription.dirt.add(names.iter().map(|name| named(name)));
    let mut sent = 0;
    while let Some(batch) = subscription.take_delta(&world, false) {
        sent += batch.resources.len();
    }
    assert_eq!(sent, 3000);
}
