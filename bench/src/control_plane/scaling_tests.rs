use super::*;

#[test]
fn the_plot_has_a_point_for_every_mesh() {
    let svg = plot(&[(100, 0.01, 20.0), (1000, 0.011, 21.0), (5000, 0.012, 22.0)]);
    assert_eq!(svg.matches("<circle").count(), 6);
    assert!(svg.contains(">12.0</text>") && svg.contains(">5000</text>"));
    assert!(!svg.contains("NaN"));
}
