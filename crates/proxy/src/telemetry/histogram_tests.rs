use super::*;

#[test]
fn values_fall_into_the_bucket_that_holds_them() {
    let histogram = Histogram::default();
    for thousandths in [0, 500, 501, 1_000, 3_600_000_001] {
        histogram.record(thousandths);
    }
    let mut reading = Reading::default();
    histogram.read_into(&mut reading);
    assert_eq!((reading.buckets[0], reading.buckets[1], reading.buckets[19]), (2, 2, 1));
    assert_eq!(reading.count(), 5);
    assert_eq!(reading.sum, 3_600_002_002);
}
