use super::*;
use serde_json::json;

fn pod(annotations: serde_json::Value, container: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "reviews", "annotations": annotations}, "spec": {"containers": [container]}
    }))
    .expect("pod")
}

fn decide(annotations: serde_json::Value, container: serde_json::Value, images: &[(&str, &str)]) -> Launch {
    let pod = pod(annotations, container);
    let container = &pod.spec.as_ref().expect("spec").containers[0];
    let command = container.command.clone().unwrap_or_default();
    let args = container.args.clone().unwrap_or_default();
    let images = images.iter().map(|(name, command)| ((*name).to_owned(), (*command).to_owned()));
    launch(&pod, container, &command, &args, &ImageMap::new(images))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn our_own_images_are_this_executable() {
    let decided =
        decide(json!({}), json!({"name": "c", "image": "mizzen/mizzen:1", "args": ["control"]}), &[]);
    assert_eq!(decided, Launch::new(Program::Own, words(&["control"])));
    let container = json!({"name": "c", "image": "mizzen/mizzen", "command": ["/usr/local/bin/mizzen", "proxy"], "args": ["router"]});
    assert_eq!(decide(json!({}), container, &[]), Launch::new(Program::Own, words(&["proxy", "router"])));
}

#[test]
fn a_mapping_is_found_with_and_without_tag() {
    for image in ["docker.io/team/app", "docker.io/team/app:v1", "docker.io/team/app@sha256:00"] {
        let container = json!({"name": "c", "image": image, "args": ["-v"]});
        let decided = decide(json!({}), container, &[("docker.io/team/app", "python3 -m http.server 8080")]);
        assert_eq!(decided.program, Program::Host("/bin/sh".to_owned()));
        assert_eq!(decided.arguments, words(&["-c", "exec python3 -m http.server 8080 \"$@\"", "sh", "-v"]));
    }
    let tagged = [("localhost:5000/app:v2", "two"), ("localhost:5000/app", "any")];
    let decided = decide(json!({}), json!({"name": "c", "image": "localhost:5000/app:v2"}), &tagged);
    assert!(decided.arguments[1].contains("two"));
}

#[test]
fn an_annotation_beats_the_image_and_can_name_its_container() {
    let container = json!({"name": "app", "image": "mizzen/echo"});
    let decided = decide(json!({"sandbox.mizzen.dev/command": "sleep 1"}), container.clone(), &[]);
    assert!(decided.arguments[1].contains("sleep 1"));
    let annotations = json!({"sandbox.mizzen.dev/command": "a", "sandbox.mizzen.dev/command.app": "b"});
    assert!(decide(annotations, container, &[]).arguments[1].contains("exec b"));
    let sidecar = json!({"name": "istio-proxy", "image": "mizzen/mizzen", "args": ["proxy"]});
    assert_eq!(decide(json!({"sandbox.mizzen.dev/command": "a"}), sidecar, &[]).program, Program::Own);
}

#[test]
fn host_images_are_programs_of_the_machine() {
    let decided =
        decide(json!({}), json!({"name": "c", "image": "host/bash:5", "args": ["-c", "true"]}), &[]);
    assert_eq!(decided, Launch::new(Program::Host("bash".to_owned()), words(&["-c", "true"])));
    let container = json!({"name": "c", "image": "host/anything", "command": ["sleep"], "args": ["9"]});
    assert_eq!(
        decide(json!({}), container, &[]),
        Launch::new(Program::Host("sleep".to_owned()), words(&["9"]))
    );
}

#[test]
fn echo_stands_in_for_an_unknown_image() {
    let container = json!({"name": "c", "image": "docker.io/istio/examples-bookinfo-reviews-v1:1.20.3", "command": ["/run"],
        "ports": [{"containerPort": 9080}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 9090}]});
    let decided = decide(json!({}), container, &[]);
    assert_eq!((decided.program, decided.arguments), (Program::Own, words(&["workload", "echo"])));
    assert_eq!(decided.environment[0], ("MIZZEN_ECHO_PORTS".to_owned(), "9080,9090".to_owned()));
    assert!(decided.stand_in);
    let decided = decide(json!({}), json!({"name": "c", "image": "mizzen/echo"}), &[]);
    assert_eq!(decided.environment[0].1, "8080");
    assert!(!decided.stand_in, "asked for by name");
}
