//! What kubectl does, unmodified, against the server.

use crate::support::{has_kubectl, start};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - {name: app, image: 'shop:1', ports: [{containerPort: 8080}]}
";

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.sea.example.org}
spec:
  group: sea.example.org
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt], categories: [fleet]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Masts, type: integer, jsonPath: .spec.masts}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [masts]
            properties:
              masts: {type: integer, minimum: 1, description: How many masts the boat has.}
              flag: {type: string, default: plain}
              length:
                type: string
                x-kubernetes-validations:
                - {rule: \"self.endsWith('m')\", message: must be in metres}
          status:
            type: object
            properties: {afloat: {type: boolean}}
";

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_change_and_go() {
    if !has_kubectl() {
        return;
    }
    let cluster = start().await;
    cluster.kubectl(&["version"]).await.says("Server Version: v1.33");
    cluster.kubectl(&["get", "ns"]).await.says("kube-system");
    // Protobuf bodies.
    cluster.kubectl(&["create", "namespace", "demo"]).await.says("namespace/demo created");
    cluster.kubectl(&["create", "namespace", "demo"]).await.fails_with("namespaces \"demo\" already exists");
    cluster.kubectl(&["-n", "demo", "create", "configmap", "c", "--from-literal=a=1"]).await.says("created");
    cluster.kubectl(&["-n", "demo", "get", "cm", "c", "-o", "jsonpath={.data.a}"]).await.says("1");
    cluster.kubectl(&["-n", "demo", "create", "deployment", "web", "--image=web:1"]).await.says("created");
    cluster
        .kubectl(&["-n", "demo", "create", "secret", "generic", "s", "--from-literal=k=v"])
        .await
        .says("created");
    cluster
        .kubectl(&["-n", "demo", "create", "service", "clusterip", "web", "--tcp=80:8080"])
        .await
        .says("created");
    cluster.kubectl(&["-n", "demo", "get", "svc"]).await.says("80/TCP");

    // Client-side apply, unchanged, changed, and the other patches.
    let apply = ["-n", "demo", "apply", "-f", "-"];
    cluster.kubectl_with_input(&apply, DEPLOYMENT).await.says("deployment.apps/shop created");
    cluster.kubectl_with_input(&apply, DEPLOYMENT).await.says("deployment.apps/shop unchanged");
    let second = DEPLOYMENT.replace("shop:1", "shop:2");
    cluster.kubectl_with_input(&apply, &second).await.says("deployment.apps/shop configured");
    cluster.kubectl(&["-n", "demo", "get", "deploy", "-o", "wide"]).await.says("shop:2");
    cluster.kubectl(&["-n", "demo", "scale", "deploy/shop", "--replicas=5"]).await.says("scaled");
    cluster.kubectl(&["-n", "demo", "get", "deploy", "shop"]).await.says("0/5");
    cluster.kubectl(&["-n", "demo", "label", "deploy", "shop", "tier=web"]).await.says("labeled");
    cluster.kubectl(&["-n", "demo", "get", "deploy", "-l", "tier in (web),app=shop"]).await.says("shop");
    cluster.kubectl(&["-n", "demo", "annotate", "deploy", "shop", "note=x"]).await.says("annotated");
    cluster.kubectl(&["-n", "demo", "set", "image", "deploy/shop", "app=shop:3"]).await.says("image updated");
    let patch = r#"[{"op":"replace","path":"/spec/replicas","value":1}]"#;
    cluster
        .kubectl(&["-n", "demo", "patch", "deploy", "shop", "--type=json", "-p", patch])
        .await
        .says("patched");
    cluster.kubectl(&["-n", "demo", "rollout", "restart", "deploy/shop"]).await.says("restarted");
    cluster
        .kubectl(&["-n", "demo", "describe", "deploy", "shop"])
        .await
        .says("25% max unavailable, 25% max surge");

    // What is wrong is refused with Kubernetes' words.
    let strict = DEPLOYMENT.replace("replicas: 2", "replicaz: 2");
    cluster.kubectl_with_input(&apply, &strict).await.fails_with("unknown field \"spec.replicaz\"");
    let astray = DEPLOYMENT
        .replace("matchLabels: {app: shop}", "matchLabels: {app: other}")
        .replace("name: shop,", "name: astray,");
    cluster
        .kubectl_with_input(&apply, &astray)
        .await
        .fails_with("`selector` does not match template `labels`");
    cluster
        .kubectl(&["-n", "missing", "create", "configmap", "c"])
        .await
        .fails_with("namespaces \"missing\" not found");
    cluster.kubectl(&["get", "pod", "none"]).await.fails_with("pods \"none\" not found");

    cluster.kubectl(&["-n", "demo", "delete", "deploy", "shop"]).await.says("deleted");
    cluster.kubectl(&["delete", "namespace", "demo"]).await.says("deleted");
    cluster.kubectl(&["get", "namespace", "demo"]).await.fails_with("not found");
    cluster.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_knows_owners() {
    if !has_kubectl() {
        return;
    }
    let cluster = start().await;
    let apply = |manager: &'static str| ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
    cluster.kubectl_with_input(&apply("one"), DEPLOYMENT).await.says("serverside-applied");
    let other = DEPLOYMENT.replace("replicas: 2", "replicas: 3");
    cluster
        .kubectl_with_input(&apply("two"), &other)
        .await
        .fails_with("conflict with \"one\": .spec.replicas");
    let forced = ["apply", "--server-side", "--force-conflicts", "--field-manager", "two", "-f", "-"];
    cluster.kubectl_with_input(&forced, &other).await.says("serverside-applied");
    cluster.kubectl(&["get", "deploy", "shop", "-o", "jsonpath={.spec.replicas}"]).await.says("3");
    // Going over from client-side apply moves ownership.
    let renamed = DEPLOYMENT.replace("name: shop,", "name: moved,");
    cluster.kubectl_with_input(&["apply", "-f", "-"], &renamed).await.says("created");
    cluster
        .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &renamed)
        .await
        .says("serverside-applied");
    cluster.kubectl_with_input(&["diff", "-f", "-"], &renamed).await.says("");
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_make_kinds() {
    if !has_kubectl() {
        return;
    }
    let cluster = start().await;
    let apply = ["apply", "-f", "-"];
    cluster.kubectl_with_input(&apply, DEFINITION).await.says("created");
    cluster
        .kubectl(&["wait", "--for=condition=Established", "crd/boats.sea.example.org"])
        .await
        .says("condition met");
    cluster.kubectl(&["explain", "boat.spec.masts"]).await.says("How many masts the boat has.");
    cluster.kubectl(&["explain", "pod.spec.containers.image"]).await.says("Container image name");
    let boat = |spec: &str| {
        format!("apiVersion: sea.example.org/v1\nkind: Boat\nmetadata: {{name: ship}}\nspec: {spec}\n")
    };
    cluster
        .kubectl_with_input(&apply, &boat("{masts: 0}"))
        .await
        .fails_with("spec.masts in body should be greater than or equal to 1");
    cluster
        .kubectl_with_input(&apply, &boat("{masts: 1, sails: 2}"))
        .await
        .fails_with("unknown field \"spec.sails\"");
    cluster
        .kubectl_with_input(&apply, &boat("{masts: 1, length: 3ft}"))
        .await
        .fails_with("must be in metres");
    cluster
        .kubectl_with_input(&apply, &boat("{masts: 3, length: 20m}"))
        .await
        .says("boat.sea.example.org/ship created");
    cluster.kubectl(&["get", "bt"]).await.says("MASTS");
    cluster.kubectl(&["get", "fleet"]).await.says("ship");
    cluster.kubectl(&["get", "boat", "ship", "-o", "jsonpath={.spec.flag}"]).await.says("plain");
    let status = r#"{"status":{"afloat":true}}"#;
    cluster
        .kubectl(&["patch", "boat", "ship", "--subresource=status", "--type=merge", "-p", status])
        .await
        .says("patched");
    cluster.kubectl(&["api-resources", "--api-group=sea.example.org"]).await.says("bt");
    cluster.kubectl(&["delete", "crd", "boats.sea.example.org"]).await.says("deleted");
    cluster.kubectl(&["get", "boats"]).await.fails_with("the server could not find the requested resource");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_reach_the_node() {
    if !has_kubectl() {
        return;
    }
    let cluster = start().await;
    cluster.kubectl(&["run", "p", "--image=x:1", "--labels=a=b"]).await.says("pod/p created");
    cluster
        .kubectl(&["get", "pod", "p", "-o", "jsonpath={.spec.volumes[0].projected.sources[0]}"])
        .await
        .says("token");
    let running = r#"{"status":{"phase":"Running"}}"#;
    cluster.kubectl(&["patch", "pod", "p", "--subresource=status", "-p", running]).await.says("patched");
    cluster.kubectl(&["logs", "p"]).await.says("first line\nsecond line");
    let tail = cluster.kubectl(&["logs", "p", "--tail=1"]).await.says("second line");
    assert!(!tail.stdout.contains("first"));
    cluster.kubectl(&["logs", "p", "--previous"]).await.fails_with("previous terminated container");
    cluster.kubectl(&["exec", "p", "--", "echo", "hello"]).await.says("echo hello");
    cluster.kubectl_with_input(&["exec", "-i", "p", "--", "cat"], "typed").await.says("cat\ntyped");
    cluster.kubectl(&["exec", "p", "--", "false"]).await.fails_with("exit code 3");
    cluster.kubectl(&["get", "pods", "-A"]).await.says("Running");
    cluster.kubectl(&["describe", "pod", "p"]).await.says("kube-api-access");
    cluster.kubectl(&["create", "token", "default", "--duration=20m"]).await.says("eyJ");
    cluster.kubectl(&["auth", "can-i", "delete", "pods"]).await.says("yes");
    cluster.kubectl(&["auth", "whoami"]).await.says("kubernetes-admin");
    cluster.kubectl(&["delete", "pod", "p", "--force"]).await.says("deleted");
}
