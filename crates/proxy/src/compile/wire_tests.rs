use super::*;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use proptest::prelude::*;
use prost::Message;

/// The number of `virtual_hosts`.
const HOSTS: u32 = 2;

#[test]
fn a_message_is_its_parted_field_and_the_rest() {
    let hosts = ["a", "", "b"].map(|name| VirtualHost { name: name.to_owned(), ..VirtualHost::default() });
    let whole = RouteConfiguration {
        name: "80".to_owned(),
        virtual_hosts: hosts.to_vec(),
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    };
    let encoded = whole.encode_to_vec();
    let parted = part(&encoded, HOSTS).expect("parts");
    let decoded = parted.values.iter().map(|value| VirtualHost::decode(*value).expect("a virtual host"));
    assert_eq!(decoded.collect::<Vec<_>>(), hosts);
    let rest = RouteConfiguration::decode(parted.rest.as_slice()).expect("the rest");
    assert_eq!(rest, RouteConfiguration { virtual_hosts: Vec::new(), ..whole });
}

proptest! {
    #[test]
    fn anything_is_parted_or_refused_as_it_decodes(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let whole: usize = fields(&bytes).filter_map(|field| Some(field.ok()?.whole.len())).sum();
        match fields(&bytes).find_map(Result::err) {
            None => prop_assert_eq!(whole, bytes.len()),
            Some(_) => prop_assert!(RouteConfiguration::decode(bytes.as_slice()).is_err()),
        }
    }
}
