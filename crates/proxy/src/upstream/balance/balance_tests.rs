use super::super::host::{Health, Host, HostState};
use super::*;
use crate::telemetry::intern::Id;
use envoy_types::pb::envoy::config::core::v3::Locality;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A host as tests describe it.
#[derive(Clone)]
struct Given {
    port: u16,
    weight: u32,
    priority: u32,
    locality: u32,
    health: Health,
}

fn given(port: u16) -> Given {
    Given { port, weight: 1, priority: 0, locality: 0, health: Health::Healthy }
}

fn hosts(given: &[Given]) -> Vec<Arc<Host>> {
    let places: Vec<_> = (0..8).map(|_| Arc::new(Locality::default())).collect();
    given
        .iter()
        .map(|given| {
            Arc::new(Host {
                address: ([10, 0, 0, 1], given.port).into(),
                hostname: None,
                weight: given.weight,
                priority: given.priority,
                locality: Arc::clone(&places[given.locality as usize]),
                locality_number: given.locality,
                health: given.health,
                peer: Id::UNKNOWN,
                transport: 0,
                state: HostState::new(),
            })
        })
        .collect()
}

fn sharing() -> Sharing {
    Sharing { overprovisioning: 140, panic_threshold: 50.0, by_locality: false }
}

fn counts(balance: &Balance, policy: &Policy, picks: usize) -> BTreeMap<u16, usize> {
    let cursor = EvenSequence::starting_at(7);
    let mut counts = BTreeMap::new();
    for number in 0..picks {
        let hash = Some(stable_hash(&number.to_le_bytes()));
        if let Some(host) = balance.pick(policy, &cursor, PickContext { hash, ..PickContext::default() }) {
            *counts.entry(host.address.port()).or_default() += 1;
        }
    }
    counts
}

const LEAST: Policy = Policy::LeastRequest { choices: 2, slow_start: None };

#[test]
fn round_robin_keeps_weights_exactly() {
    let policy = Policy::RoundRobin(None);
    let balance = Balance::new(
        hosts(&[Given { weight: 99, ..given(1) }, Given { weight: 1, ..given(2) }]),
        &sharing(),
        &policy,
        &[],
    );
    let counts = counts(&balance, &policy, 10_000);
    assert!(counts[&2].abs_diff(100) <= 3, "{counts:?}");
}

#[test]
fn idle_hosts_share_by_weight_under_least_request() {
    let balance = Balance::new(hosts(&[Given { weight: 3, ..given(1) }, given(2)]), &sharing(), &LEAST, &[]);
    let counts = counts(&balance, &LEAST, 40_000);
    // Five standard deviations of a binomial with 3/4.
    assert!(counts[&1].abs_diff(30_000) < 450, "{counts:?}");
}

#[test]
fn the_busier_host_gets_less() {
    let hosts = hosts(&[given(1), given(2)]);
    hosts[0].state.active.store(5, Ordering::Relaxed);
    let balance = Balance::new(hosts, &sharing(), &LEAST, &[]);
    let counts = counts(&balance, &LEAST, 1000);
    assert!(counts[&2] > counts.get(&1).copied().unwrap_or_default() * 2, "{counts:?}");
}

#[test]
fn priorities_spill_over_as_hosts_fail() {
    assert_eq!(priority_loads(&[(5, 5), (5, 5)], 140), (vec![100, 0], 100));
    assert_eq!(priority_loads(&[(1, 2), (2, 2)], 140), (vec![70, 30], 100));
    assert_eq!(priority_loads(&[(0, 2), (2, 2)], 140), (vec![0, 100], 100));
    assert_eq!(priority_loads(&[(0, 2), (0, 2)], 140), (vec![100, 0], 0));
    assert_eq!(priority_loads(&[], 140), (vec![], 0));
}

#[test]
fn a_failed_priority_takes_nothing() {
    let balance = Balance::new(
        hosts(&[Given { health: Health::Unhealthy, ..given(1) }, Given { priority: 1, ..given(2) }]),
        &sharing(),
        &LEAST,
        &[],
    );
    assert_eq!(counts(&balance, &LEAST, 100), BTreeMap::from([(2, 100)]));
}

#[test]
fn panic_uses_every_host_unless_it_is_switched_off() {
    let sick = |port| Given { health: Health::Unhealthy, ..given(port) };
    let all = [sick(1), sick(2), sick(3), given(4)];
    let panicking = Balance::new(hosts(&all), &sharing(), &LEAST, &[]);
    assert!(panicking.panicking);
    assert_eq!(counts(&panicking, &LEAST, 1000).len(), 4);
    let calm = Sharing { panic_threshold: 0.0, ..sharing() };
    let balance = Balance::new(hosts(&all), &calm, &LEAST, &[]);
    assert_eq!(counts(&balance, &LEAST, 1000), BTreeMap::from([(4, 1000)]));
    let none = Balance::new(hosts(&all[..3]), &calm, &LEAST, &[]);
    assert!(counts(&none, &LEAST, 10).is_empty());
}

#[test]
fn draining_hosts_take_nothing_new() {
    let balance = Balance::new(
        hosts(&[given(1), Given { health: Health::Draining, ..given(2) }]),
        &sharing(),
        &LEAST,
        &[],
    );
    assert_eq!(counts(&balance, &LEAST, 100), BTreeMap::from([(1, 100)]));
}

#[test]
fn localities_share_by_their_weights() {
    let by_locality = Sharing { by_locality: true, ..sharing() };
    let policy = Policy::Random;
    let balance = Balance::new(
        hosts(&[given(1), Given { locality: 1, ..given(2) }, Given { locality: 1, ..given(3) }]),
        &by_locality,
        &policy,
        &[(0, 0, 80), (0, 1, 20)],
    );
    let counts = counts(&balance, &policy, 10_000);
    assert!(counts[&1].abs_diff(8_000) < 200, "{counts:?}");
}

#[test]
fn tried_hosts_are_avoided_on_retry() {
    let all = hosts(&[given(1), given(2)]);
    let tried = [all[0].state.id];
    let balance = Balance::new(all, &sharing(), &LEAST, &[]);
    let cursor = EvenSequence::starting_at(0);
    let context = PickContext { hash: None, tried: &tried, attempts: 30 };
    for _ in 0..50 {
        assert_eq!(balance.pick(&LEAST, &cursor, context).unwrap().address.port(), 2);
    }
}

#[test]
fn hashes_stay_at_their_host_when_another_goes() {
    let ring = Policy::RingHash { minimum: 1024, maximum: 8 << 20 };
    let maglev = Policy::Maglev { size: 65_537 };
    for policy in [ring, maglev] {
        let all: Vec<_> = (1..=10).map(given).collect();
        let full = Balance::new(hosts(&all), &sharing(), &policy, &[]);
        let fewer = Balance::new(hosts(&all[..9]), &sharing(), &policy, &[]);
        let cursor = EvenSequence::starting_at(0);
        let port = |balance: &Balance, key: u32| {
            let hash = Some(stable_hash(&key.to_le_bytes()));
            balance
                .pick(&policy, &cursor, PickContext { hash, ..PickContext::default() })
                .unwrap()
                .address
                .port()
        };
        let moved = (0..10_000)
            .filter(|key| port(&full, *key) != 10 && port(&full, *key) != port(&fewer, *key))
            .count();
        // Only keys of the host that went must move; a few more do as tables are cut anew.
        assert!(moved < 1_200, "{policy:?} moved {moved} of 10000");
        let counts = counts(&full, &policy, 20_000);
        assert!(counts.values().all(|count| count.abs_diff(2_000) < 700), "{policy:?} {counts:?}");
    }
}

#[test]
fn a_cold_host_warms_up() {
    let slow_start = SlowStart { window: Duration::from_secs(10), aggression: 1.0, minimum: 0.1 };
    assert!((slow_start.share(Duration::from_secs(5)) - 0.5).abs() < 1e-9);
    assert!((slow_start.share(Duration::ZERO) - 0.1).abs() < 1e-9);
    assert!((slow_start.share(Duration::from_secs(10)) - 1.0).abs() < 1e-9);
}

proptest! {
    /// Every share of an even sequence is kept within a handful, however long the run and wherever
    /// it starts.
    #[test]
    fn even_sequences_are_even(start: u64, weight in 1u64..100, picks in 100usize..5_000) {
        let sequence = EvenSequence::starting_at(start);
        let hits = (0..picks).filter(|_| sequence.next(100) < weight).count();
        let expected = picks as f64 * weight as f64 / 100.0;
        prop_assert!((hits as f64 - expected).abs() < 6.0, "{hits} of {picks}, expected {expected}");
    }
}
