//! The picture of a cluster's hosts that picks are made from.

use super::super::Host;
use super::Policy;
use super::hashing::{maglev, ring};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How priorities and localities of a cluster share its load.
#[derive(Clone, Debug, PartialEq)]
pub struct Sharing {
    /// How many of a priority's hosts count double up to this many percent; Envoy's default is 140.
    pub overprovisioning: u32,
    /// Below this percentage of available hosts, health is ignored; Envoy's default is 50, 0 never.
    pub panic_threshold: f64,
    /// Whether localities share by their weights.
    pub by_locality: bool,
}

/// Hosts with the order in which they are tried. Immutable.
#[derive(Debug, Default)]
pub struct Balance {
    hosts: Box<[Arc<Host>]>,
    levels: Box<[Level]>,
    /// Whether some level ignores health because too few hosts have it.
    pub panicking: bool,
}

/// The hosts of one priority that take traffic.
#[derive(Debug)]
pub struct Level {
    /// Share of the load in percent, all levels up to and including this one.
    pub up_to: u32,
    /// Localities, or one group of all.
    pub groups: Box<[Group]>,
    /// Sum of the groups' weights.
    pub group_weight: u64,
}

/// Hosts that share by their own weights.
#[derive(Debug)]
pub struct Group {
    members: Box<[usize]>,
    /// Running sum of weights; empty when all weights are equal.
    sums: Box<[u64]>,
    /// Sum of the members' weights, or their number when all are equal.
    pub weight: u64,
    /// Share among groups: this group's and those before it.
    pub up_to: u64,
    table: Table,
}

/// How a hash finds a member.
#[derive(Debug)]
enum Table {
    None,
    /// Places in the order of their hashes.
    Ring(Box<[(u64, u32)]>),
    /// One member for each place.
    Maglev(Box<[u32]>),
}

impl Balance {
    /// Draws the picture.
    pub fn new(
        hosts: Vec<Arc<Host>>,
        sharing: &Sharing,
        policy: &Policy,
        locality_weights: &[(u32, u32, u32)],
    ) -> Self {
        let mut by_priority = BTreeMap::<u32, Vec<usize>>::new();
        for (index, host) in hosts.iter().enumerate() {
            by_priority.entry(host.priority).or_default().push(index);
        }
        let priorities: Vec<Vec<usize>> = by_priority.into_values().collect();
        let healthy: Vec<(usize, usize)> = priorities
            .iter()
            .map(|members| (members.iter().filter(|index| available(&hosts, **index)).count(), members.len()))
            .collect();
        let (loads, total_health) = priority_loads(&healthy, sharing.overprovisioning);
        let mut up_to = 0;
        let mut panicking = false;
        let mut levels = Vec::with_capacity(priorities.len());
        for ((members, load), (available_count, count)) in priorities.iter().zip(loads).zip(&healthy) {
            let percent = *available_count as f64 * 100.0 / (*count).max(1) as f64;
            let panic = total_health < 100 && percent < sharing.panic_threshold;
            panicking |= panic;
            let chosen = members.iter().copied().filter(|index| panic || available(&hosts, *index)).collect();
            let groups = groups(&hosts, chosen, members, sharing, policy, locality_weights);
            up_to += load;
            let group_weight = groups.last().map_or(0, |group: &Group| group.up_to);
            levels.push(Level { up_to, groups, group_weight });
        }
        Self { hosts: hosts.into_boxed_slice(), levels: levels.into_boxed_slice(), panicking }
    }

    /// All hosts, whatever their health.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }

    /// The priority that takes a request; `point` is drawn only when there is a choice.
    pub fn level(&self, point: impl FnOnce() -> u64) -> Option<&Level> {
        let level = match &*self.levels {
            [only] => only,
            levels => {
                let point = (point() % 100) as u32;
                levels
                    .iter()
                    .find(|level| point < level.up_to && level.group_weight > 0)
                    .or_else(|| levels.iter().find(|level| level.group_weight > 0))?
            }
        };
        (level.group_weight > 0).then_some(level)
    }
}

fn available(hosts: &[Arc<Host>], index: usize) -> bool {
    hosts.get(index).is_some_and(|host| host.is_available())
}

/// The load of each priority in percent, from (available, all) hosts of each, and the total health.
/// Source: Envoy documentation, "Priority levels".
pub fn priority_loads(healthy: &[(usize, usize)], overprovisioning: u32) -> (Vec<u32>, u32) {
    let healths: Vec<u32> = healthy
        .iter()
        .map(|(available, all)| {
            let share = (*available as u64) * u64::from(overprovisioning) / (*all).max(1) as u64;
            share.min(100) as u32
        })
        .collect();
    let total = healths.iter().sum::<u32>().min(100);
    if total == 0 {
        // Nothing is healthy: the first priority takes it all, in panic or in vain.
        let mut loads = vec![0; healthy.len()];
        if let Some(first) = loads.first_mut() {
            *first = 100;
        }
        return (loads, 0);
    }
    let mut left = 100;
    let mut loads: Vec<u32> = healths
        .iter()
        .map(|health| {
            let load = (health * 100 / total).min(left);
            left -= load;
            load
        })
        .collect();
    // What rounding left over goes to the first priority that takes anything.
    if let Some(load) = loads.iter_mut().find(|load| **load > 0) {
        *load += left;
    }
    (loads, total)
}

fn groups(
    hosts: &[Arc<Host>],
    chosen: Vec<usize>,
    all: &[usize],
    sharing: &Sharing,
    policy: &Policy,
    locality_weights: &[(u32, u32, u32)],
) -> Box<[Group]> {
    if chosen.is_empty() {
        return Box::default();
    }
    let locality = |index: usize| hosts.get(index).map(|host| host.locality_number());
    let weighted = sharing.by_locality && !locality_weights.is_empty();
    if !weighted {
        return [Group::new(hosts, chosen, 1, policy)].into();
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut up_to = 0;
    let mut seen = Vec::new();
    for index in &chosen {
        let Some(own) = locality(*index) else { continue };
        if seen.contains(&own) {
            continue;
        }
        seen.push(own);
        let members: Vec<usize> =
            chosen.iter().copied().filter(|other| locality(*other) == Some(own)).collect();
        let everyone = all.iter().filter(|other| locality(**other) == Some(own)).count();
        let (priority, number) =
            hosts.get(*index).map_or((0, 0), |host| (host.priority, host.locality_number()));
        let weight = locality_weights
            .iter()
            .find(|(of_priority, of_locality, _)| (*of_priority, *of_locality) == (priority, number))
            .map_or(0, |(_, _, weight)| u64::from(*weight));
        // A locality that lost hosts gives up load, once its spare capacity is used up.
        let share =
            (members.len() as u64 * u64::from(sharing.overprovisioning) / everyone.max(1) as u64).min(100);
        let weight = weight * share;
        if weight > 0 {
            up_to += weight;
            groups.push(Group::new(hosts, members, up_to, policy));
        }
    }
    if groups.is_empty() { [Group::new(hosts, chosen, 1, policy)].into() } else { groups.into() }
}

impl Group {
    fn new(hosts: &[Arc<Host>], members: Vec<usize>, up_to: u64, policy: &Policy) -> Self {
        let weight = |index: &usize| hosts.get(*index).map_or(1, |host| u64::from(host.weight.max(1)));
        let first = members.first().map_or(1, weight);
        let equal = members.iter().all(|index| weight(index) == first);
        let mut total = 0;
        let sums: Box<[u64]> = if equal {
            Box::default()
        } else {
            members
                .iter()
                .map(|index| {
                    total += weight(index);
                    total
                })
                .collect()
        };
        let weight_sum = if equal { members.len() as u64 } else { total };
        let keyed = || {
            members.iter().map(|index| {
                let key = hosts.get(*index).map(|host| host.address.to_string()).unwrap_or_default();
                (key, weight(index))
            })
        };
        let table = match policy {
            Policy::RingHash { minimum, maximum } => Table::Ring(ring(keyed(), *minimum, *maximum)),
            Policy::Maglev { size } => Table::Maglev(maglev(&keyed().collect::<Vec<_>>(), *size)),
            _ => Table::None,
        };
        Self { members: members.into_boxed_slice(), sums, weight: weight_sum, up_to, table }
    }

    /// How many hosts it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The host that owns `point`, which is below [`Group::weight`].
    pub fn by_weight(&self, point: u64) -> Option<usize> {
        let position = if self.sums.is_empty() {
            usize::try_from(point).unwrap_or_default()
        } else {
            self.sums.partition_point(|sum| *sum <= point)
        };
        self.members.get(position).or_else(|| self.members.last()).copied()
    }

    /// The host that owns `hash`.
    pub fn by_hash(&self, hash: u64) -> Option<usize> {
        let position = match &self.table {
            Table::None => return self.by_weight(super::scale(hash, self.weight)),
            Table::Ring(places) => {
                let place = places.partition_point(|(at, _)| *at < hash);
                places.get(place).or_else(|| places.first())?.1
            }
            Table::Maglev(places) => {
                let place = usize::try_from(hash % (places.len().max(1) as u64)).unwrap_or_default();
                *places.get(place)?
            }
        };
        self.members.get(usize::try_from(position).unwrap_or_default()).copied()
    }
}
