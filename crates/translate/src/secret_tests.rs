use std::sync::Arc;

use prost::Message;

use crate::{Context, TypeUrl, envoy::tls as pb, testing::*, translate};

const GATEWAY: &str = "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: my-gateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: app-tls}, hosts: [app.example.com]}
  - {port: {number: 443, name: lost, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: lost-tls}, hosts: [lost.example.com]}
";

fn secret(name: &str, namespace: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
type: kubernetes.io/tls
stringData: {{tls.crt: chain, tls.key: private}}
"
    )
}

fn names(manifests: &str, proxy: &crate::Proxy, wanted: Option<&[Arc<str>]>) -> Vec<String> {
    let snapshot = shop_with(manifests).snapshot();
    let context = Context::new(&snapshot, proxy);
    translate(&context, TypeUrl::SECRET, wanted).iter().map(|resource| resource.name.to_string()).collect()
}

#[test]
fn a_gateway_gets_the_secrets_its_gateways_name_from_its_own_namespace() {
    let manifests =
        GATEWAY.to_owned() + &secret("app-tls", "istio-system") + &secret("other", "istio-system");
    assert_eq!(names(&manifests, &gateway(), None), ["kubernetes://app-tls"]);
    let stolen: Vec<Arc<str>> = vec!["kubernetes://other".into(), "kubernetes://app-tls".into()];
    assert_eq!(names(&manifests, &gateway(), Some(&stolen)), ["kubernetes://app-tls"]);
    let elsewhere = GATEWAY.to_owned() + &secret("app-tls", "default");
    assert!(names(&elsewhere, &gateway(), None).is_empty());
}

#[test]
fn a_sidecar_gets_none() {
    let manifests = GATEWAY.to_owned() + &secret("app-tls", "istio-system");
    assert!(names(&manifests, &sidecar("payments"), None).is_empty());
}

#[test]
fn the_secret_carries_chain_and_key() {
    let snapshot = shop_with(&(GATEWAY.to_owned() + &secret("app-tls", "istio-system"))).snapshot();
    let proxy = gateway();
    let resources = translate(&Context::new(&snapshot, &proxy), TypeUrl::SECRET, None);
    let secret = pb::Secret::decode(resources[0].body.clone()).unwrap();
    let Some(pb::secret::Type::TlsCertificate(certificate)) = secret.r#type else { panic!("no certificate") };
    assert!(format!("{:?}", certificate.certificate_chain).contains(&format!("{:?}", b"chain".to_vec())));
}
