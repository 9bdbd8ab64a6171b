//! The demo shop: what `up --demo` loads, and what to try with it.

use super::apply::{self, Manifest};

/// The shop's manifests, in the order to apply them.
pub fn manifests() -> anyhow::Result<Vec<Manifest>> {
    apply::parse("demo shop", mizzen_workloads::shop::manifests())
}

/// Five commands worth trying, with what they show. `gateway` is the address of the ingress gateway.
pub fn suggestions(gateway: &str) -> String {
    let commands = [
        (format!("curl -H 'host: shop.example.com' http://{gateway}/"), "the shop, through the ingress gateway"),
        ("kubectl get pods -n shop".to_owned(), "every pod with its sidecar"),
        ("mizzen proxy-config routes -n shop deploy/storefront".to_owned(), "where the storefront's calls go"),
        ("mizzen authn tls-check -n shop $(kubectl get pods -n shop -l app=storefront -o jsonpath={.items[0].metadata.name})".to_owned(),
         "mutual TLS, service by service"),
        ("kubectl patch -n shop virtualservice payments --type=json -p '[{\"op\":\"replace\",\"path\":\"/spec/http/0/route/0/weight\",\"value\":50},\
{\"op\":\"replace\",\"path\":\"/spec/http/0/route/1/weight\",\"value\":50}]'".to_owned(), "half of the payments to the new version"),
    ];
    let mut text = String::from("Worth trying:\n\n");
    for (command, shows) in commands {
        text.push_str(&format!("  # {shows}\n  {command}\n"));
    }
    text
}
