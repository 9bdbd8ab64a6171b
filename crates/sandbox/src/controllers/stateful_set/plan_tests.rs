use super::*;

fn wishes(replicas: i32) -> Wishes {
    Wishes { start: 0, replicas, ordered: true, update_from: Some(0) }
}

fn good(ordinal: i32) -> PodView {
    PodView { ordinal, is_current: true, is_available: true, is_ending: false, is_finished: false }
}

#[test]
fn pods_come_one_after_the_other() {
    assert_eq!(plan_stateful_set(&wishes(3), &[]), [Step::Create(0)]);
    let starting = PodView { is_available: false, ..good(0) };
    assert!(plan_stateful_set(&wishes(3), &[starting]).is_empty());
    assert_eq!(plan_stateful_set(&wishes(3), &[good(0)]), [Step::Create(1)]);
}

#[test]
fn in_parallel_they_come_at_once() {
    let parallel = Wishes { ordered: false, ..wishes(3) };
    assert_eq!(plan_stateful_set(&parallel, &[good(1)]), [Step::Create(0), Step::Create(2)]);
}

#[test]
fn the_last_goes_first_and_alone() {
    assert_eq!(plan_stateful_set(&wishes(1), &[good(0), good(1), good(2)]), [Step::Delete(2)]);
    let ending = PodView { is_ending: true, ..good(2) };
    assert!(plan_stateful_set(&wishes(1), &[good(0), good(1), ending]).is_empty());
}

#[test]
fn a_changed_template_replaces_from_the_last_down_to_the_partition() {
    let old = |ordinal| PodView { is_current: false, ..good(ordinal) };
    assert_eq!(plan_stateful_set(&wishes(2), &[old(0), old(1)]), [Step::Delete(1)]);
    assert_eq!(plan_stateful_set(&wishes(2), &[old(0), good(1)]), [Step::Delete(0)]);
    let partitioned = Wishes { update_from: Some(1), ..wishes(2) };
    assert!(plan_stateful_set(&partitioned, &[old(0), good(1)]).is_empty());
    let by_hand = Wishes { update_from: None, ..wishes(2) };
    assert!(plan_stateful_set(&by_hand, &[old(0), old(1)]).is_empty());
}

#[test]
fn an_old_pod_that_does_not_work_is_replaced_rather_than_waited_for() {
    let broken = PodView { is_current: false, is_available: false, ..good(0) };
    assert_eq!(plan_stateful_set(&wishes(2), &[broken, good(1)]), [Step::Delete(0)]);
}

#[test]
fn a_pod_that_ended_is_made_again() {
    let ended = PodView { is_finished: true, is_available: false, ..good(0) };
    assert_eq!(plan_stateful_set(&wishes(1), &[ended]), [Step::Delete(0)]);
}
