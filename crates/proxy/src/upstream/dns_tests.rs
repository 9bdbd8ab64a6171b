use super::*;

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_family_decides_which_addresses_are_used() {
    let both = addresses(&["10.0.0.1", "fd00::1"]);
    assert_eq!(choose(both.clone(), Family::V4), Ok(addresses(&["10.0.0.1"])));
    assert_eq!(choose(both.clone(), Family::Auto), Ok(addresses(&["fd00::1"])));
    assert_eq!(choose(both.clone(), Family::V4Preferred), Ok(addresses(&["10.0.0.1"])));
    assert_eq!(choose(both.clone(), Family::All), Ok(both));
    assert!(choose(addresses(&["10.0.0.1"]), Family::V6).is_err());
}
