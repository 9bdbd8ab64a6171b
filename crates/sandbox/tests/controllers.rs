//! The controllers against the real embedded API server. The kubelet is played by the test: pods
//! become ready, and their status is changed by hand.

mod support;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use support::Cluster;

fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image, "ports": [{"name": "web", "containerPort": 8080}]}]},
            },
        },
    })
}

fn condition(deployment: &Deployment, type_: &str) -> Option<(String, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((found.status.clone(), found.reason.clone().unwrap_or_default()))
}

/// What `kubectl rollout status` waits for.
fn rolled_out(deployment: &Deployment, replicas: i32, image: &str) -> bool {
    let Some(status) = &deployment.status else { return false };
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let current = template.is_some_and(|spec| spec.containers[0].image.as_deref() == Some(image));
    current
        && status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == Some(replicas)
        && status.replicas == Some(replicas)
        && status.available_replicas == Some(replicas)
        && condition(deployment, "Progressing") == Some(("True".into(), "NewReplicaSetAvailable".into()))
        && condition(deployment, "Available") == Some(("True".into(), "MinimumReplicasAvailable".into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_scales_and_goes_back() {
    let cluster = Cluster::start().await;
    let _kubelet = cluster.kubelet();
    cluster.create::<Deployment>(deployment("payments", 3, "app:v1")).await;
    cluster.until::<Deployment>("payments", |found| rolled_out(found, 3, "app:v1")).await;

    cluster.merge::<Deployment>("payments", json!({"spec": {"replicas": 5}})).await;
    cluster.until::<Deployment>("payments", |found| rolled_out(found, 5, "app:v1")).await;

    let image = |image: &str| json!({"spec": deployment("payments", 5, image)["spec"]});
    cluster.merge::<Deployment>("payments", image("app:v2")).await;
    let deployment = cluster.until::<Deployment>("payments", |found| rolled_out(found, 5, "app:v2")).await;
    let revision = |deployment: &Deployment| {
        deployment.metadata.annotations.as_ref()?.get("deployment.kubernetes.io/revision").cloned()
    };
    assert_eq!(revision(&deployment).as_deref(), Some("2"));

    // What `kubectl rollout undo` does: the old template again.
    let sets: Vec<ReplicaSet> = cluster.list().await;
    assert_eq!(sets.len(), 2);
    cluster.merge::<Deployment>("payments", image("app:v1")).await;
    cluster
        .until::<Deployment>("payments", |found| {
            rolled_out(found, 5, "app:v1") && revision(found).as_deref() == Some("3")
        })
        .await;
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 2, "the old ReplicaSet is used again");

    cluster.delete::<Deployment>("payments").await;
    cluster.until_none::<Pod>().await;
    let reasons: Vec<_> =
        cluster.list::<Event>().await.into_iter().filter_map(|event| event.reason).collect();
    for reason in ["ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete"] {
        assert!(reasons.iter().any(|found| found == reason), "{reason} in {reasons:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_cannot_be_created_are_told_and_tried_again() {
    let cluster = Cluster::start().await;
    let _kubelet = cluster.kubelet();
    let mut wanted = deployment("payments", 1, "app:v1");
    wanted["spec"]["template"]["spec"]["serviceAccountName"] = json!("later");
    cluster.create::<Deployment>(wanted).await;
    cluster
        .until::<Deployment>("payments", |found| {
            condition(found, "ReplicaFailure") == Some(("True".into(), "FailedCreate".into()))
        })
        .await;
    cluster
        .create::<ServiceAccount>(json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "later", "namespace": "default"}}))
        .await;
    cluster
        .until::<Deployment>("payments", |found| {
            rolled_out(found, 1, "app:v1") && condition(found, "ReplicaFailure").is_none()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_follows_its_pods_to_slices_dns_and_the_host() {
    let cluster = Cluster::start().await;
    let _kubelet = cluster.kubelet();
    let (address, backend) = support::backend("pod says hello").await;
    let mut wanted = deployment("web", 1, "app:v1");
    wanted["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(address.port());
    cluster.create::<Deployment>(wanted).await;
    cluster
        .create::<Service>(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}}))
        .await;
    let ready = |slice: &EndpointSlice| {
        slice.endpoints.iter().any(|endpoint| {
            endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
        })
    };
    cluster.until_any::<EndpointSlice>(|slice| owned_by(slice, "web") && ready(slice)).await;

    let host_port = |service: &Service| {
        let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?.clone();
        assert_eq!(ingress.ip.as_deref(), Some("127.0.0.1"));
        u16::try_from(ingress.ports?.first()?.port).ok()
    };
    let service = cluster.until::<Service>("web", |service| host_port(service).is_some()).await;
    let port = host_port(&service).expect("a host port");
    assert_eq!(support::read_all(port).await, "pod says hello");

    let cluster_ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone()).expect("a cluster IP");
    assert_eq!(cluster.resolve("web.default.svc.cluster.local.").await, std::slice::from_ref(&cluster_ip));
    cluster.until_forward(&format!("{cluster_ip}:80"), &[address.to_string()]).await;

    // Applied again, as the sheet does: the host port stays.
    let applied = cluster.merge::<Service>("web", json!({"metadata": {"labels": {"again": "yes"}}})).await;
    assert_eq!(host_port(&applied), Some(port));

    let pods: Vec<Pod> = cluster.list().await;
    cluster.set_ready(pods[0].metadata.name.as_deref().expect("a name"), false).await;
    cluster.until_any::<EndpointSlice>(|slice| owned_by(slice, "web") && !ready(slice)).await;
    cluster.until_forward(&format!("{cluster_ip}:80"), &[]).await;

    cluster.delete::<Service>("web").await;
    cluster.until_closed(port).await;
    backend.abort();
}

fn owned_by(slice: &EndpointSlice, service: &str) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get("kubernetes.io/service-name")).is_some_and(|name| name == service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_end_and_stateful_sets_come_in_order() {
    let cluster = Cluster::start().await;
    let _kubelet = cluster.kubelet();
    let template = |app: &str, restart: &str| {
        json!({"metadata": {"labels": {"app": app}},
            "spec": {"restartPolicy": restart, "containers": [{"name": "app", "image": "app:v1"}]}})
    };
    cluster
        .create::<StatefulSet>(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "default"},
            "spec": {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                "template": template("db", "Always")}}))
        .await;
    cluster
        .until::<StatefulSet>("db", |set| {
            set.status.as_ref().is_some_and(|status| {
                status.ready_replicas == Some(2) && status.current_revision == status.update_revision
            })
        })
        .await;
    let mut names: Vec<_> =
        cluster.list::<Pod>().await.into_iter().filter_map(|pod| pod.metadata.name).collect();
    names.sort();
    assert_eq!(names, ["db-0", "db-1"]);

    cluster
        .create::<Job>(json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "migrate", "namespace": "default"},
            "spec": {"template": template("migrate", "Never")}}))
        .await;
    let pod = cluster
        .until_any::<Pod>(|pod| {
            pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("job-name"))
                && pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
        })
        .await;
    cluster.set_phase(pod.metadata.name.as_deref().expect("a name"), "Succeeded").await;
    cluster
        .until::<Job>("migrate", |job| {
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.into_iter().flatten().any(|found| found.type_ == "Complete" && found.status == "True")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_namespace_has_is_put_back() {
    let cluster = Cluster::start().await;
    cluster.until::<ServiceAccount>("default", |_| true).await;
    let certificate = cluster.until::<ConfigMap>("kube-root-ca.crt", |_| true).await;
    cluster.delete::<ConfigMap>("kube-root-ca.crt").await;
    cluster
        .until::<ConfigMap>("kube-root-ca.crt", |found| found.metadata.uid != certificate.metadata.uid)
        .await;
    cluster.until::<Service>("kubernetes", |_| true).await;
    cluster.resolve("kubernetes.default.svc.cluster.local.").await;
}
