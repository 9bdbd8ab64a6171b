//! How many pods each ReplicaSet of a Deployment should have next: a pure decision from what is.
//!
//! Follows Kubernetes' deployment controller: new pods appear only within `maxSurge`, old ones that
//! serve go only as far as `maxUnavailable` allows, and old ones that do not serve go first.

use k8s_openapi::api::apps::v1::{DeploymentSpec, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What a Deployment wants, with its defaults applied and its percentages worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub desired: i32,
    pub paused: bool,
    pub strategy: RolloutStrategy,
}

/// How old pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutStrategy {
    Recreate,
    RollingUpdate {
        /// Pods allowed above `desired`.
        max_surge: i32,
        /// Pods allowed to be missing below `desired`.
        max_unavailable: i32,
    },
}

/// One ReplicaSet as the plan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetView {
    pub name: String,
    /// Whether it has the Deployment's present template.
    pub is_new: bool,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// Pods that exist, those being deleted included.
    pub pods: i32,
    /// The Deployment's replicas when this set was last scaled (annotation `desired-replicas`).
    pub desired_when_scaled: Option<i32>,
    /// The most pods the Deployment could have had then (annotation `max-replicas`).
    pub max_when_scaled: Option<i32>,
}

/// A change of one ReplicaSet's `spec.replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    pub name: String,
    pub from: i32,
    pub to: i32,
}

impl Rollout {
    /// Reads a Deployment's wishes. An unreadable percentage is an error naming its field.
    pub fn of(spec: &DeploymentSpec) -> Result<Self, String> {
        let desired = spec.replicas.unwrap_or(1).max(0);
        let strategy = spec.strategy.as_ref();
        let strategy = match strategy.and_then(|strategy| strategy.type_.as_deref()) {
            Some("Recreate") => RolloutStrategy::Recreate,
            Some("RollingUpdate") | None => {
                rolling(strategy.and_then(|strategy| strategy.rolling_update.as_ref()), desired)?
            }
            Some(other) => {
                return Err(format!("spec.strategy.type: '{other}' is neither RollingUpdate nor Recreate"));
            }
        };
        Ok(Self { desired, paused: spec.paused.unwrap_or(false), strategy })
    }

    /// The most pods there may be at any time.
    pub fn max_total(&self) -> i32 {
        match self.strategy {
            RolloutStrategy::RollingUpdate { max_surge, .. } if self.desired > 0 => {
                self.desired.saturating_add(max_surge)
            }
            _ => self.desired,
        }
    }

    /// How many pods of `desired` may be missing.
    pub fn max_unavailable(&self) -> i32 {
        match self.strategy {
            RolloutStrategy::RollingUpdate { max_unavailable, .. } => max_unavailable.min(self.desired),
            RolloutStrategy::Recreate => 0,
        }
    }

    /// The size a new ReplicaSet is created with, next to the `old` ones; `None` while a Recreate
    /// still waits for old pods to end, or nothing new may start.
    pub fn size_of_new_set(&self, old: &[SetView]) -> Option<i32> {
        if self.paused || self.was_rescaled(old) {
            return None;
        }
        match self.strategy {
            RolloutStrategy::Recreate => {
                old.iter().all(|set| set.replicas == 0 && set.pods == 0).then_some(self.desired)
            }
            RolloutStrategy::RollingUpdate { .. } => {
                let total: i32 = old.iter().map(|set| set.replicas).sum();
                Some((self.max_total() - total).clamp(0, self.desired))
            }
        }
    }

    /// Whether `spec.replicas` of the Deployment changed since its sets were last scaled.
    fn was_rescaled(&self, sets: &[SetView]) -> bool {
        sets.iter()
            .filter(|set| set.replicas > 0)
            .any(|set| set.desired_when_scaled.is_some_and(|desired| desired != self.desired))
    }
}

fn rolling(wishes: Option<&RollingUpdateDeployment>, desired: i32) -> Result<RolloutStrategy, String> {
    let quarter = IntOrString::String("25%".to_owned());
    let surge = wishes.and_then(|wishes| wishes.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = wishes.and_then(|wishes| wishes.max_unavailable.as_ref()).unwrap_or(&quarter);
    let max_surge = resolve(surge, desired, Rounding::Up)
        .ok_or_else(|| invalid_amount("spec.strategy.rollingUpdate.maxSurge", surge))?;
    let max_unavailable = resolve(unavailable, desired, Rounding::Down)
        .ok_or_else(|| invalid_amount("spec.strategy.rollingUpdate.maxUnavailable", unavailable))?;
    // Nothing could ever move with neither (both may round to zero).
    let max_unavailable = if max_surge == 0 && max_unavailable == 0 { 1 } else { max_unavailable };
    Ok(RolloutStrategy::RollingUpdate { max_surge, max_unavailable })
}

fn invalid_amount(field: &str, amount: &IntOrString) -> String {
    let amount = match amount {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    };
    format!("{field}: '{amount}' is neither a number of pods nor a percentage such as 25%")
}

/// Which way a share of a pod goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    Up,
    Down,
}

/// Works out a number of pods or a percentage of `total`; `None` when it is neither.
pub fn resolve(amount: &IntOrString, total: i32, rounding: Rounding) -> Option<i32> {
    let percent = match amount {
        IntOrString::Int(number) => return (*number >= 0).then_some(*number),
        IntOrString::String(text) => i64::from(text.strip_suffix('%')?.parse::<u16>().ok()?),
    };
    let hundredths = i64::from(total) * percent;
    let rounded = if rounding == Rounding::Up { (hundredths + 99) / 100 } else { hundredths / 100 };
    i32::try_from(rounded).ok()
}

/// The next step of a rollout: which sets to scale now. Empty when there is nothing to do until a
/// pod changes. `sets` are sorted oldest first.
pub fn plan_rollout(rollout: &Rollout, sets: &[SetView]) -> Vec<Scale> {
    if rollout.paused || rollout.was_rescaled(sets) {
        return scale_in_proportion(rollout, sets);
    }
    match rollout.strategy {
        RolloutStrategy::Recreate => recreate(rollout, sets),
        RolloutStrategy::RollingUpdate { .. } => {
            let new = grow_new(rollout, sets);
            if new.is_empty() { shrink_old(rollout, sets) } else { new }
        }
    }
}

fn scale(set: &SetView, to: i32) -> Option<Scale> {
    (set.replicas != to).then(|| Scale { name: set.name.clone(), from: set.replicas, to })
}

fn recreate(rollout: &Rollout, sets: &[SetView]) -> Vec<Scale> {
    let shrink: Vec<_> = sets.iter().filter(|set| !set.is_new).filter_map(|set| scale(set, 0)).collect();
    if !shrink.is_empty() || sets.iter().any(|set| !set.is_new && set.pods > 0) {
        return shrink;
    }
    sets.iter().filter(|set| set.is_new).filter_map(|set| scale(set, rollout.desired)).collect()
}

fn grow_new(rollout: &Rollout, sets: &[SetView]) -> Vec<Scale> {
    let Some(new) = sets.iter().find(|set| set.is_new) else { return Vec::new() };
    if new.replicas >= rollout.desired {
        return scale(new, rollout.desired).into_iter().collect();
    }
    let total: i32 = sets.iter().map(|set| set.replicas).sum();
    let room = (rollout.max_total() - total).clamp(0, rollout.desired - new.replicas);
    scale(new, new.replicas + room).into_iter().collect()
}

fn shrink_old(rollout: &Rollout, sets: &[SetView]) -> Vec<Scale> {
    let min_available = rollout.desired - rollout.max_unavailable();
    let total: i32 = sets.iter().map(|set| set.replicas).sum();
    let new_missing: i32 =
        sets.iter().filter(|set| set.is_new).map(|set| (set.replicas - set.available).max(0)).sum();
    let mut may_go = total - min_available - new_missing;
    if may_go <= 0 {
        return Vec::new();
    }
    let old: Vec<&SetView> = sets.iter().filter(|set| !set.is_new && set.replicas > 0).collect();
    let mut sizes: Vec<i32> = old.iter().map(|set| set.replicas).collect();
    // First those that serve nobody anyway.
    for (set, size) in old.iter().zip(&mut sizes) {
        let idle = (*size - set.available).clamp(0, may_go);
        *size -= idle;
        may_go -= idle;
    }
    // Then those that serve, as far as enough others do.
    let available: i32 = sets.iter().map(|set| set.available.min(set.replicas)).sum();
    let mut spare = (available - min_available).min(may_go);
    for size in &mut sizes {
        let step = (*size).min(spare.max(0));
        *size -= step;
        spare -= step;
    }
    old.iter().zip(sizes).filter_map(|(set, size)| scale(set, size)).collect()
}

/// Scales a Deployment whose `replicas` changed, or that is paused, without rolling: one active set
/// takes all; several in the middle of a rollout share the change in proportion to their sizes.
fn scale_in_proportion(rollout: &Rollout, sets: &[SetView]) -> Vec<Scale> {
    let active: Vec<&SetView> = sets.iter().filter(|set| set.replicas > 0).collect();
    let only = match active.as_slice() {
        [] => sets.iter().find(|set| set.is_new).or(sets.last()),
        [set] => Some(*set),
        _ => None,
    };
    if let Some(set) = only {
        return scale(set, rollout.desired).into_iter().collect();
    }
    let new_is_saturated = sets.iter().any(|set| {
        set.is_new
            && set.replicas == rollout.desired
            && set.available == rollout.desired
            && set.desired_when_scaled == Some(rollout.desired)
    });
    if new_is_saturated {
        return active.iter().filter(|set| !set.is_new).filter_map(|set| scale(set, 0)).collect();
    }
    if rollout.strategy == RolloutStrategy::Recreate {
        return Vec::new();
    }
    share_change(rollout, active)
}

fn share_change(rollout: &Rollout, mut active: Vec<&SetView>) -> Vec<Scale> {
    let total: i32 = active.iter().map(|set| set.replicas).sum();
    let change = rollout.max_total() - total;
    // The biggest get the remainders: the newest of them when growing, the oldest when shrinking.
    if change > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| std::cmp::Reverse(set.replicas));
    let mut left = change;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for set in &active {
        let max_then = set.max_when_scaled.filter(|max| *max > 0).unwrap_or(total.max(1));
        let ideal = rounded_share(set.replicas, rollout.max_total(), max_then);
        let step = if change > 0 {
            (ideal - set.replicas).clamp(0, left)
        } else {
            (ideal - set.replicas).clamp(left, 0)
        };
        left -= step;
        sizes.push((set.replicas + step).max(0));
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + left).max(0);
    }
    active.iter().zip(sizes).filter_map(|(set, size)| scale(set, size)).collect()
}

/// `replicas * max_now / max_then`, to the nearest.
fn rounded_share(replicas: i32, max_now: i32, max_then: i32) -> i32 {
    let doubled = 2 * i64::from(replicas) * i64::from(max_now) + i64::from(max_then);
    i32::try_from(doubled / (2 * i64::from(max_then))).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
