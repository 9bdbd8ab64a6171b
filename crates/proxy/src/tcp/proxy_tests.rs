use super::*;

#[test]
fn weights_are_exact_over_the_whole_range() {
    let target = Target::Weighted(vec![
        WeightedCluster { name: "a".into(), up_to: 99 },
        WeightedCluster { name: "never".into(), up_to: 99 },
        WeightedCluster { name: "b".into(), up_to: 100 },
    ]);
    let chosen: Vec<_> = (0..100).map(|number| target.choose(|_| number).to_string()).collect();
    assert_eq!(chosen.iter().filter(|name| *name == "a").count(), 99);
    assert_eq!(chosen.iter().filter(|name| *name == "b").count(), 1);
}
