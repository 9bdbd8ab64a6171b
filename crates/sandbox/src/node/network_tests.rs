use super::*;

#[test]
fn addresses_go_round_and_skip_what_is_in_use() {
    let range: Ipv4Net = "10.0.0.0/29".parse().expect("range");
    let mut addresses = Addresses::new(range, ["10.0.0.1".parse().expect("address")]);
    let mut take = || addresses.take().map(|address| address.octets()[3]);
    assert_eq!([take(), take(), take()], [Some(2), Some(3), Some(4)]);
    addresses.release("10.0.0.2".parse().expect("address"));
    let mut take = || addresses.take().map(|address| address.octets()[3]);
    assert_eq!([take(), take(), take(), take()], [Some(5), Some(6), Some(2), None]);
}
