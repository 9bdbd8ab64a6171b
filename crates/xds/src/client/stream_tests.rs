use super::*;

#[test]
fn waits_double_up_to_the_longest() {
    let backoff = Backoff::default();
    let waits: Vec<_> = (1..=12).map(|failures| backoff.after(failures).as_millis()).collect();
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 15_000]);
    assert_eq!(backoff.after(u32::MAX), backoff.longest);
}
