//! Admission webhooks, asked over TLS at the endpoints of their Service.

use std::convert::Infallible;
use std::sync::Arc;

use crate::support::{Cluster, start};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, PostParams};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves `/mutate`, which labels, and `/validate`, which denies what is labelled `forbidden`. Gives the port and the
/// certificate to trust.
async fn serve_webhook(name: &str) -> (u16, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .await;
            });
        }
    });
    (port, certificate.pem())
}

async fn answer(request: http::Request<Incoming>) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let asked = &review["request"];
    let mut response = json!({"uid": asked["uid"], "allowed": true});
    if path == "/mutate" {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": asked["operation"]}}]);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(patch.to_string()).into();
    } else if !asked["object"]["data"]["forbidden"].is_null() {
        response["allowed"] = false.into();
        response["status"] = json!({"message": "that is not allowed here"});
    }
    let answer =
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
    Ok(http::Response::new(Full::new(Bytes::from(answer.to_string()))))
}

fn hook(name: &str, path: &str, certificate: &str) -> Value {
    json!({
        "name": name,
        "clientConfig": {
            "service": {"namespace": "default", "name": "hooks", "path": path, "port": 443},
            "caBundle": STANDARD.encode(certificate),
        },
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
    })
}

async fn create<K>(cluster: &Cluster, object: Value) -> Result<K, kube::Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(cluster.client().await, "default");
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_change_deny_and_fail_as_their_policy_says() {
    let cluster = start().await;
    let (port, certificate) = serve_webhook("hooks.default.svc").await;
    let service = json!({"metadata": {"name": "hooks"}, "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]}});
    create::<Service>(&cluster, service).await.unwrap();
    let slice = json!({
        "metadata": {"name": "hooks-1", "labels": {"kubernetes.io/service-name": "hooks"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    create::<EndpointSlice>(&cluster, slice).await.unwrap();

    let client = cluster.client().await;
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let configuration = json!({"metadata": {"name": "m"}, "webhooks": [hook("label.hooks.example.org", "/mutate", &certificate)]});
    mutating.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let configuration = json!({"metadata": {"name": "v"}, "webhooks": [hook("deny.hooks.example.org", "/validate", &certificate)]});
    validating.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();

    let made: ConfigMap = create(&cluster, json!({"metadata": {"name": "a"}})).await.unwrap();
    assert_eq!(made.metadata.labels.unwrap().get("seen").map(String::as_str), Some("CREATE"));
    let denied =
        create::<ConfigMap>(&cluster, json!({"metadata": {"name": "b"}, "data": {"forbidden": "x"}})).await;
    let message = denied.unwrap_err().to_string();
    assert!(
        message.contains(
            "admission webhook \"deny.hooks.example.org\" denied the request: that is not allowed here"
        ),
        "{message}"
    );

    // A certificate for another name, or by another authority, is no webhook.
    mutating.delete("m", &DeleteParams::default()).await.unwrap();
    let (_, stranger) = serve_webhook("hooks.default.svc").await;
    let configuration = json!({"metadata": {"name": "m"}, "webhooks": [hook("label.hooks.example.org", "/mutate", &stranger)]});
    mutating.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    let failed =
        create::<ConfigMap>(&cluster, json!({"metadata": {"name": "c"}})).await.unwrap_err().to_string();
    assert!(
        failed.contains("failed calling webhook \"label.hooks.example.org\": failed to call webhook: Post"),
        "{failed}"
    );

    let mut lenient = mutating.get("m").await.unwrap();
    lenient.webhooks.as_mut().unwrap()[0].failure_policy = Some("Ignore".to_owned());
    mutating.replace("m", &PostParams::default(), &lenient).await.unwrap();
    let made: ConfigMap = create(&cluster, json!({"metadata": {"name": "d"}})).await.unwrap();
    assert_eq!(made.metadata.labels, None);
}
