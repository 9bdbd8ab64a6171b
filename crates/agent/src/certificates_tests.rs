use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

#[test]
fn renewal_comes_at_half_life_give_or_take_one_percent() {
    let day = 24 * 60 * 60;
    for (chance, expected) in [(0.0, 0.49), (0.5, 0.50), (1.0, 0.51)] {
        let wait = renew_after(at(day), at(0), chance).as_secs_f64();
        assert!((wait / day as f64 - expected).abs() < 1e-9, "{chance}: {wait}");
    }
}

#[test]
fn a_certificate_at_its_end_is_renewed_at_once_but_not_in_a_storm() {
    assert_eq!(renew_after(at(1000), at(999), 0.5), Duration::from_secs(1));
    assert_eq!(renew_after(at(1000), at(2000), 0.5), Duration::from_secs(1));
}
