use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::Status;

fn object(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.namespace = Some("default".to_owned());
    object.metadata.name = Some(name.to_owned());
    object
}

fn present(name: &str) -> Observed<ConfigMap> {
    Observed::Present(Box::new(object(name)))
}

fn gone(name: &str) -> Observed<ConfigMap> {
    Observed::Gone { namespace: "default".to_owned(), name: name.to_owned() }
}

fn missing() -> watcher::Error {
    let status = Status { code: 404, ..Status::default() };
    watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
}

fn run(tracker: &mut Tracker<ConfigMap>, events: Vec<Event<ConfigMap>>) -> Vec<Observed<ConfigMap>> {
    events.into_iter().flat_map(|event| tracker.on_event(event)).collect()
}

#[test]
fn the_first_list_completes_and_a_later_one_tells_what_is_gone() {
    let mut tracker = Tracker::new("ConfigMap", |_| None);
    let first =
        vec![Event::Init, Event::InitApply(object("a")), Event::InitApply(object("b")), Event::InitDone];
    assert_eq!(run(&mut tracker, first), [present("a"), present("b"), Observed::Complete]);
    assert_eq!(run(&mut tracker, vec![Event::Apply(object("c"))]), [present("c")]);
    assert_eq!(run(&mut tracker, vec![Event::Delete(object("a"))]), [gone("a")]);
    let again = vec![Event::Init, Event::InitApply(object("c")), Event::InitDone];
    assert_eq!(run(&mut tracker, again), [present("c"), gone("b")]);
}

#[test]
fn a_kind_that_does_not_exist_has_no_objects_and_does_not_hold_up_the_start() {
    let mut tracker = Tracker::new("ConfigMap", |_| None);
    let (observed, _) = tracker.on_error(&missing());
    assert_eq!(observed, [Observed::Complete]);
    let (observed, _) = tracker.on_error(&missing());
    assert_eq!(observed, []);
    run(&mut tracker, vec![Event::Init, Event::InitApply(object("a")), Event::InitDone]);
    let (observed, _) = tracker.on_error(&missing());
    assert_eq!(observed, [gone("a")], "its definition was deleted");
}

#[test]
fn errors_forget_nothing_and_pauses_grow_until_it_works_again() {
    let mut tracker = Tracker::new("ConfigMap", |_| None);
    run(&mut tracker, vec![Event::Init, Event::InitApply(object("a")), Event::InitDone]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (observed, pause) = tracker.on_error(&watcher::Error::NoResourceVersion);
        assert_eq!(observed, []);
        pauses.push(pause);
    }
    assert_eq!((pauses.first(), pauses.last()), (Some(&FIRST_PAUSE), Some(&LONGEST_PAUSE)));
    run(&mut tracker, vec![Event::Init, Event::InitDone]);
    assert_eq!(tracker.on_error(&watcher::Error::NoResourceVersion).1, FIRST_PAUSE);
}

#[test]
fn of_a_burst_the_newest_state_is_kept() {
    assert_eq!(newest(vec![("a", 1), ("b", 2), ("a", 3)]), [3, 2]);
}

#[test]
fn an_object_whose_fingerprint_is_the_same_is_no_news_until_it_was_gone() {
    let immutable = |object: &ConfigMap| object.immutable.map(u64::from);
    let with = |immutable| ConfigMap { immutable: Some(immutable), ..object("a") };
    let mut tracker = Tracker::new("ConfigMap", immutable);
    let mut apply = |object| run(&mut tracker, vec![Event::Apply(object)]).len();
    assert_eq!([apply(with(true)), apply(with(true)), apply(with(false))], [1, 0, 1]);
    assert_eq!([apply(object("a")), apply(object("a"))], [1, 1], "without one, everything is news");
    apply(with(true));
    assert_eq!(run(&mut tracker, vec![Event::Delete(with(true)), Event::Apply(with(true))]).len(), 2);
}
