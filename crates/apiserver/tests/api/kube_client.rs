//! What `kube` does against the server.

use crate::support::{start, start_in};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{Api, AttachParams, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": value}})).unwrap()
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "app", "image": "x:1"}]},
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_every_change_in_order() {
    let cluster = start().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await, "default");
    maps.create(&PostParams::default(), &config_map("before", "1")).await.unwrap();
    let mut seen =
        watcher(maps.clone(), watcher::Config::default().streaming_lists()).applied_objects().boxed();
    let mut names = Vec::new();
    while names.len() < 2 {
        names.push(seen.try_next().await.unwrap().unwrap().metadata.name.unwrap());
    }
    assert!(names.contains(&"before".to_owned()));
    let created = maps.create(&PostParams::default(), &config_map("after", "1")).await.unwrap();
    assert_eq!(seen.try_next().await.unwrap().unwrap().metadata.name.as_deref(), Some("after"));
    let mut changed = created.clone();
    changed.data = config_map("after", "2").data;
    let changed = maps.replace("after", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(
        seen.try_next().await.unwrap().unwrap().metadata.resource_version,
        changed.metadata.resource_version
    );

    let conflict = maps.replace("after", &PostParams::default(), &created).await.unwrap_err();
    assert!(conflict.to_string().contains("the object has been modified"), "{conflict}");

    let old =
        maps.watch(&WatchParams::default(), "1").await.unwrap().boxed().try_next().await.unwrap().unwrap();
    assert!(matches!(old, WatchEvent::Error(status) if status.code == 410));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let cluster = start().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await, "default");
    for name in ["a", "b", "c", "d"] {
        maps.create(&PostParams::default(), &config_map(name, "1")).await.unwrap();
    }
    let mut names = Vec::new();
    let mut parameters = ListParams::default().limit(2);
    loop {
        let page = maps.list(&parameters).await.unwrap();
        assert!(page.items.len() <= 2);
        names.extend(page.items.into_iter().filter_map(|map| map.metadata.name));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = ListParams::default().limit(2).continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "kube-root-ca.crt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_good_until_what_they_are_bound_to_goes() {
    let cluster = start().await;
    let client = cluster.client().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let bound = pods.create(&PostParams::default(), &pod("holder")).await.unwrap();
    let request = serde_json::from_value(json!({
        "metadata": {},
        "spec": {"audiences": ["istio-ca"], "expirationSeconds": 3600,
                 "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "holder", "uid": bound.metadata.uid}},
    }))
    .unwrap();
    let token = accounts
        .create_token_request("default", &PostParams::default(), &request)
        .await
        .unwrap()
        .status
        .unwrap()
        .token;
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let review = |audience: &str| TokenReview {
        spec: TokenReviewSpec { token: Some(token.clone()), audiences: Some(vec![audience.to_owned()]) },
        ..TokenReview::default()
    };
    let status = reviews.create(&PostParams::default(), &review("istio-ca")).await.unwrap().status.unwrap();
    assert_eq!(status.authenticated, Some(true));
    assert_eq!(status.user.unwrap().username.as_deref(), Some("system:serviceaccount:default:default"));
    let status = reviews.create(&PostParams::default(), &review("other")).await.unwrap().status.unwrap();
    assert_eq!(status.authenticated, Some(false));
    pods.delete("holder", &DeleteParams::default()).await.unwrap();
    let status = reviews.create(&PostParams::default(), &review("istio-ca")).await.unwrap().status.unwrap();
    assert_eq!(status.authenticated, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_ports_reach_the_node() {
    let cluster = start().await;
    let pods: Api<Pod> = Api::namespaced(cluster.client().await, "default");
    pods.create(&PostParams::default(), &pod("p")).await.unwrap();
    let mut process = pods.exec("p", ["echo", "hi"], &AttachParams::default().stderr(false)).await.unwrap();
    let mut output = String::new();
    process.stdout().unwrap().read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "echo hi\n");

    let mut forwarder = pods.portforward("p", &[8080]).await.unwrap();
    let mut stream = forwarder.take_stream(8080).unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"8080:ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_with_their_owners_and_namespaces_with_their_content() {
    let cluster = start().await;
    let client = cluster.client().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let space = serde_json::from_value(json!({"metadata": {"name": "demo"}})).unwrap();
    let space: Namespace = namespaces.create(&PostParams::default(), &space).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "demo");
    let owner = maps.create(&PostParams::default(), &config_map("owner", "1")).await.unwrap();
    let mut dependent = config_map("dependent", "1");
    dependent.metadata.owner_references = serde_json::from_value(json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid},
    ]))
    .unwrap();
    maps.create(&PostParams::default(), &dependent).await.unwrap();
    let mut kept = config_map("kept", "1");
    kept.metadata.finalizers = Some(vec!["example.org/hold".to_owned()]);
    maps.create(&PostParams::default(), &kept).await.unwrap();

    let mut changes = watcher(maps.clone(), watcher::Config::default()).boxed();
    maps.delete("owner", &DeleteParams::default()).await.unwrap();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        if let watcher::Event::Delete(map) = changes.try_next().await.unwrap().unwrap() {
            gone.push(map.metadata.name.unwrap());
        } else if maps.get_opt("dependent").await.unwrap().is_none() {
            break;
        }
    }
    namespaces.delete("demo", &DeleteParams::default()).await.unwrap();
    let refused = maps.create(&PostParams::default(), &config_map("late", "1")).await.unwrap_err();
    assert!(refused.to_string().contains("because it is being terminated"), "{refused}");
    // Emptying a namespace is asynchronous: what a finalizer holds is marked first.
    let marked = |map: Option<&ConfigMap>| map.is_some_and(|map| map.metadata.deletion_timestamp.is_some());
    let held = kube::runtime::wait::await_condition(maps.clone(), "kept", marked).await.unwrap();
    let mut held = held.expect("the object that is held");
    held.metadata.finalizers = None;
    maps.replace("kept", &PostParams::default(), &held).await.unwrap();
    let uid = space.metadata.uid.unwrap();
    kube::runtime::wait::await_condition(namespaces, "demo", kube::runtime::conditions::is_deleted(&uid))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn intent_survives_a_restart() {
    let cluster = start().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await, "default");
    let kept = maps.create(&PostParams::default(), &config_map("kept", "1")).await.unwrap();
    let token = cluster.server.admin_token().to_owned();
    cluster.server.shutdown().await;

    let cluster = start_in(cluster.folder).await;
    assert_eq!(cluster.server.admin_token(), token);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().await, "default");
    let found = maps.get("kept").await.unwrap();
    assert_eq!(found.metadata.uid, kept.metadata.uid);
    assert_eq!(found.data, kept.data);
}
