//! Which pods of a StatefulSet to create or delete next: pure.

/// What a StatefulSet wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The first ordinal, mostly 0.
    pub start: i32,
    pub replicas: i32,
    /// One at a time, in order (`podManagementPolicy: OrderedReady`).
    pub ordered: bool,
    /// Pods from this ordinal on are replaced when the template changes; `None`: never (`OnDelete`).
    pub update_from: Option<i32>,
}

/// One pod as the plan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    pub ordinal: i32,
    /// Made from the present template.
    pub is_current: bool,
    /// Ready for `minReadySeconds`.
    pub is_available: bool,
    pub is_ending: bool,
    /// All its containers have ended for good.
    pub is_finished: bool,
}

/// What to do with the pod of an ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Create(i32),
    Delete(i32),
}

/// The next steps; empty when there is nothing to do until a pod changes.
pub fn plan_stateful_set(wishes: &Wishes, pods: &[PodView]) -> Vec<Step> {
    let end = wishes.start.saturating_add(wishes.replicas);
    let mut steps = Vec::new();
    let mut waiting = false;
    for ordinal in wishes.start..end {
        let step = match pods.iter().find(|pod| pod.ordinal == ordinal) {
            None => Some(Step::Create(ordinal)),
            Some(pod) if pod.is_ending => None,
            Some(pod) if pod.is_finished => Some(Step::Delete(ordinal)),
            // A pod of an old template that does not work would block its own repair.
            Some(pod) if !pod.is_available && !pod.is_current && updates(wishes, ordinal) => {
                Some(Step::Delete(ordinal))
            }
            Some(pod) if !pod.is_available => None,
            Some(_) => continue,
        };
        steps.extend(step);
        waiting = true;
        if wishes.ordered {
            return steps;
        }
    }
    let mut surplus: Vec<&PodView> =
        pods.iter().filter(|pod| !(wishes.start..end).contains(&pod.ordinal)).collect();
    surplus.sort_by_key(|pod| std::cmp::Reverse(pod.ordinal));
    for pod in surplus {
        if !pod.is_ending {
            steps.push(Step::Delete(pod.ordinal));
        }
        waiting = true;
        if wishes.ordered {
            return steps;
        }
    }
    if waiting {
        return steps;
    }
    let outdated = pods.iter().filter(|pod| !pod.is_current && updates(wishes, pod.ordinal));
    steps.extend(outdated.map(|pod| pod.ordinal).max().map(Step::Delete));
    steps
}

fn updates(wishes: &Wishes, ordinal: i32) -> bool {
    wishes.update_from.is_some_and(|from| ordinal >= from)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
