use super::*;
use crate::host::Host;

fn key(host: &str) -> ServiceKey {
    ServiceKey { host: Host::new(host), namespace: "default".into() }
}

#[test]
fn a_host_keeps_its_address_and_no_two_share_one() {
    let mut allocations = Allocations::default();
    let first = allocations.allocate(&key("a.example.com")).unwrap();
    assert_eq!(first.octets()[..2], [240, 240]);
    let mut seen = std::collections::BTreeSet::new();
    for index in 0..2000 {
        assert!(seen.insert(allocations.allocate(&key(&format!("{index}.example.com"))).unwrap()));
    }
    assert_eq!(allocations.allocate(&key("a.example.com")), Some(first));

    let mut other = Allocations::default();
    assert_eq!(other.allocate(&key("a.example.com")), Some(first), "the address follows from the name");
}

#[test]
fn a_released_address_can_be_given_out_again() {
    let mut allocations = Allocations::default();
    let first = allocations.allocate(&key("a.example.com"));
    allocations.release(&key("a.example.com"));
    assert_eq!(allocations.allocate(&key("a.example.com")), first);
}
