use super::*;
use proptest::prelude::*;

fn rolling_update(desired: i32, max_surge: i32, max_unavailable: i32) -> Rollout {
    Rollout {
        desired,
        paused: false,
        strategy: RolloutStrategy::RollingUpdate { max_surge, max_unavailable },
    }
}

fn set(name: &str, is_new: bool, replicas: i32, available: i32) -> SetView {
    SetView {
        name: name.to_owned(),
        is_new,
        replicas,
        available,
        pods: replicas,
        desired_when_scaled: None,
        max_when_scaled: None,
    }
}

fn to(plan: &[Scale]) -> Vec<(&str, i32)> {
    plan.iter().map(|scale| (scale.name.as_str(), scale.to)).collect()
}

#[test]
fn percentages_round_up_for_surge_and_down_for_unavailable() {
    let text = |text: &str| IntOrString::String(text.to_owned());
    assert_eq!(resolve(&text("25%"), 5, Rounding::Up), Some(2));
    assert_eq!(resolve(&text("25%"), 5, Rounding::Down), Some(1));
    assert_eq!(resolve(&IntOrString::Int(3), 5, Rounding::Down), Some(3));
    assert_eq!(resolve(&text("many"), 5, Rounding::Down), None);
}

#[test]
fn neither_surge_nor_unavailable_still_moves() {
    let spec = DeploymentSpec {
        replicas: Some(1),
        strategy: Some(k8s_openapi::api::apps::v1::DeploymentStrategy {
            type_: None,
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(0)),
                max_unavailable: Some(IntOrString::String("25%".into())),
            }),
        }),
        ..DeploymentSpec::default()
    };
    let rollout = Rollout::of(&spec).expect("valid");
    assert_eq!(rollout.strategy, RolloutStrategy::RollingUpdate { max_surge: 0, max_unavailable: 1 });
}

#[test]
fn the_new_set_grows_into_the_surge_first() {
    let sets = [set("old", false, 5, 5), set("new", true, 0, 0)];
    assert_eq!(to(&plan_rollout(&rolling_update(5, 2, 1), &sets)), [("new", 2)]);
}

#[test]
fn an_old_pod_goes_when_a_new_one_serves() {
    let sets = [set("old", false, 4, 4), set("new", true, 1, 1)];
    assert_eq!(to(&plan_rollout(&rolling_update(4, 1, 0), &sets)), [("old", 3)]);
    let waiting = [set("old", false, 4, 4), set("new", true, 1, 0)];
    assert!(plan_rollout(&rolling_update(4, 1, 0), &waiting).is_empty());
}

#[test]
fn old_pods_that_serve_nobody_go_at_once() {
    let sets = [set("old", false, 4, 1), set("new", true, 1, 1)];
    assert_eq!(to(&plan_rollout(&rolling_update(4, 1, 3), &sets)), [("old", 0)]);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let rollout = Rollout { desired: 2, paused: false, strategy: RolloutStrategy::Recreate };
    let mut old = set("old", false, 2, 2);
    assert_eq!(rollout.size_of_new_set(std::slice::from_ref(&old)), None);
    assert_eq!(to(&plan_rollout(&rollout, std::slice::from_ref(&old))), [("old", 0)]);
    old.replicas = 0;
    assert_eq!(rollout.size_of_new_set(std::slice::from_ref(&old)), None, "its pods are still ending");
    old.pods = 0;
    assert_eq!(rollout.size_of_new_set(&[old]), Some(2));
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_the_proportion() {
    let at = |name: &str, is_new, replicas| SetView {
        desired_when_scaled: Some(10),
        max_when_scaled: Some(10),
        ..set(name, is_new, replicas, replicas)
    };
    let sets = [at("old", false, 6), at("new", true, 4)];
    let plan = plan_rollout(&rolling_update(20, 0, 1), &sets);
    assert_eq!(to(&plan), [("old", 12), ("new", 8)]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let paused = Rollout { paused: true, ..rolling_update(3, 1, 0) };
    let sets = [SetView { desired_when_scaled: Some(2), ..set("old", false, 2, 2) }];
    assert_eq!(to(&plan_rollout(&paused, &sets)), [("old", 3)]);
    assert_eq!(paused.size_of_new_set(&sets), None);
}

fn any_rollout() -> impl proptest::strategy::Strategy<Value = Rollout> {
    (0..12_i32, 0..5_i32, 0..5_i32).prop_map(|(desired, surge, unavailable)| {
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        rolling_update(desired, surge, unavailable)
    })
}

fn any_sets() -> impl proptest::strategy::Strategy<Value = Vec<SetView>> {
    proptest::collection::vec((0..12_i32, 0..12_i32), 1..4).prop_map(|sizes| {
        let last = sizes.len() - 1;
        sizes
            .iter()
            .enumerate()
            .map(|(index, (replicas, available))| {
                set(&format!("set-{index}"), index == last, *replicas, (*available).min(*replicas))
            })
            .collect()
    })
}

fn apply(sets: &mut [SetView], plan: &[Scale]) {
    for scale in plan {
        for set in sets.iter_mut().filter(|set| set.name == scale.name) {
            set.replicas = scale.to;
            // The ReplicaSet controller deletes pods that do not serve first.
            set.available = set.available.min(scale.to);
            set.pods = scale.to;
        }
    }
}

fn available(sets: &[SetView]) -> i32 {
    sets.iter().map(|set| set.available).sum()
}

proptest! {
    #[test]
    fn a_step_never_takes_away_service_below_the_minimum(rollout in any_rollout(), sets in any_sets()) {
        let before = available(&sets);
        let mut after = sets.clone();
        apply(&mut after, &plan_rollout(&rollout, &sets));
        // A Deployment that was scaled down gives up pods above its own size; those are no loss.
        let minimum = (rollout.desired - rollout.max_unavailable()).min(before);
        prop_assert!(available(&after) >= minimum, "{before} -> {} below {minimum}", available(&after));
    }

    #[test]
    fn a_step_never_goes_above_the_surge(rollout in any_rollout(), sets in any_sets()) {
        let before: i32 = sets.iter().map(|set| set.replicas).sum();
        let mut after = sets.clone();
        apply(&mut after, &plan_rollout(&rollout, &sets));
        let total: i32 = after.iter().map(|set| set.replicas).sum();
        prop_assert!(total <= rollout.max_total().max(before));
    }

    #[test]
    fn a_rollout_whose_pods_become_ready_always_ends(rollout in any_rollout(), sets in any_sets()) {
        let mut sets = sets;
        for _ in 0..200 {
            let plan = plan_rollout(&rollout, &sets);
            if plan.is_empty() && sets.iter().all(|set| set.available == set.replicas) {
                break;
            }
            apply(&mut sets, &plan);
            // One pod becomes ready between two looks.
            if let Some(set) = sets.iter_mut().rev().find(|set| set.available < set.replicas) {
                set.available += 1;
            }
        }
        for set in &sets {
            let wanted = if set.is_new { rollout.desired } else { 0 };
            prop_assert_eq!(set.replicas, wanted, "{:?}", sets);
        }
    }

    #[test]
    fn scaling_in_proportion_adds_up(desired in 1..40_i32, sets in any_sets()) {
        let sets: Vec<_> = sets
            .into_iter()
            .map(|set| SetView { desired_when_scaled: Some(41), max_when_scaled: Some(41), ..set })
            .collect();
        let active = sets.iter().filter(|set| set.replicas > 0).count();
        let rollout = rolling_update(desired, 1, 0);
        let mut after = sets.clone();
        apply(&mut after, &plan_rollout(&rollout, &sets));
        let total: i32 = after.iter().map(|set| set.replicas).sum();
        match active {
            0 => {}
            1 => prop_assert_eq!(total, desired),
            _ => prop_assert!(total <= rollout.max_total() || total <= sets.iter().map(|set| set.replicas).sum()),
        }
    }
}
