use super::*;
use serde_json::json;

fn found(spec: Value) -> Vec<String> {
    fields(&serde_json::from_value(spec).expect("spec"))
}

#[test]
fn a_usual_pod_as_the_api_defaults_it_has_nothing_to_report() {
    let spec = json!({
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default", "serviceAccount": "default", "securityContext": {},
        "schedulerName": "default-scheduler", "enableServiceLinks": true, "nodeName": "n", "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        "containers": [{
            "name": "app", "image": "shop:1", "imagePullPolicy": "IfNotPresent", "stdin": true, "tty": true,
            "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A", "value": "b"}],
            "resources": {"requests": {"cpu": "1"}}, "securityContext": {"privileged": false},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
            "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 10},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}]
        }],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "m", "defaultMode": 420}}]
    });
    assert_eq!(found(spec), Vec::<String>::new());
}

#[test]
fn what_is_set_and_has_no_effect_is_reported_by_its_path() {
    for (spec, expected) in [
        (json!({"hostPID": true}), vec!["spec.hostPID"]),
        (json!({"hostNetwork": true}), vec![]),
        (json!({"runtimeClassName": "gvisor"}), vec!["spec.runtimeClassName"]),
        (
            json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}}),
            vec!["spec.securityContext.fsGroup", "spec.securityContext.runAsUser"],
        ),
        (
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname"}]}}}),
            vec!["spec.affinity.podAntiAffinity"],
        ),
        (
            json!({"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}),
            vec!["spec.ephemeralContainers"],
        ),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]}),
            vec!["spec.volumes[0].emptyDir.medium", "spec.volumes[0].emptyDir.sizeLimit"],
        ),
        (
            json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}),
            vec!["spec.volumes[0].nfs"],
        ),
    ] {
        let mut spec = spec;
        spec["containers"] = json!([]);
        assert_eq!(found(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn containers_are_told_apart_and_mizzens_own_are_left_out() {
    let limited = json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
        "securityContext": {"runAsUser": 1, "privileged": false, "capabilities": {"drop": ["ALL"]}},
        "ports": [{"containerPort": 80, "hostPort": 8080}], "lifecycle": {"stopSignal": "SIGUSR1"}});
    let with = |name: &str, image: &str| {
        let mut container = limited.clone();
        container["name"] = json!(name);
        container["image"] = json!(image);
        container
    };
    let spec = json!({
        "initContainers": [with("istio-proxy", "mizzen/mizzen:1"), with("first", "setup")],
        "containers": [with("app", "mizzen/echo")]
    });
    let fields = [
        "lifecycle.stopSignal",
        "ports[0].hostPort",
        "resources.limits",
        "securityContext.capabilities",
        "securityContext.runAsUser",
    ];
    let expected: Vec<String> = ["spec.containers[0]", "spec.initContainers[1]"]
        .iter()
        .flat_map(|container| fields.map(|field| format!("{container}.{field}")))
        .collect();
    assert_eq!(found(spec), expected);
}
