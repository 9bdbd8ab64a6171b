use super::*;
use proptest::prelude::*;

#[test]
fn the_median_of_an_even_number_is_the_mean_of_the_middle() {
    let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
    assert_eq!(spread, Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
    assert_eq!(Spread::of(&[]), None);
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let hundred: Vec<u64> = (1..=100).collect();
    assert_eq!([0.5, 0.9, 0.99, 0.999, 1.0].map(|share| percentile(&hundred, share)), [50, 90, 99, 100, 100]);
    assert_eq!(percentile(&[7], 0.5), 7);
    assert_eq!(percentile(&[], 0.5), 0);
}

#[test]
fn ratios_compare_values_of_the_same_round_only() {
    // The machine was twice as slow in the second round; the ratio is the same.
    let ours = [Some(2.0), Some(4.0), Some(9.0), None];
    let theirs = [Some(8.0), Some(16.0), None, Some(1.0)];
    assert_eq!(paired_ratios(&ours, &theirs), Some(Spread { median: 0.25, min: 0.25, max: 0.25 }));
    assert_eq!(paired_ratios(&[Some(1.0)], &[Some(0.0)]), None, "nothing to compare with");
}

proptest! {
    #[test]
    fn the_median_lies_in_the_spread(values in prop::collection::vec(-1e9..1e9_f64, 1..50)) {
        let spread = Spread::of(&values).unwrap();
        prop_assert!(spread.min <= spread.median && spread.median <= spread.max);
    }

    #[test]
    fn percentiles_grow_with_the_share(mut values in prop::collection::vec(any::<u64>(), 1..200)) {
        values.sort_unstable();
        prop_assert!(percentile(&values, 0.5) <= percentile(&values, 0.9));
        prop_assert!(values.contains(&percentile(&values, 0.9)));
    }
}
