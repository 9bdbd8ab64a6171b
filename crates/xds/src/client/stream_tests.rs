use super::*;

#[test]
fn waits_double_up_to_the_longest() {
    let backoff = Backoff::default();
    let waits: Vec<_> = (1..=12).map(|failures| backoff.after(failures).as_millis()).collect();
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3000, 3000, 3000]);
    assert_eq!(backoff.after(u32::MAX), backoff.longest);
}

#[test]
fn nodes_wait_for_different_times_within_a_quarter() {
    let waits: std::collections::BTreeSet<_> =
        (0..100).map(|node| Backoff::default().spread(&node.to_string()).longest.as_millis()).collect();
    assert!(waits.len() > 50);
    assert!(waits.iter().all(|wait| (2250..=3750).contains(wait)), "{waits:?}");
}
