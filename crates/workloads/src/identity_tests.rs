use super::*;

fn read(variables: &[(&str, &str)], labels: Option<&str>) -> Identity {
    Identity::read(
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        |path| (path == Path::new("/etc/podinfo/labels")).then(|| labels.map(str::to_owned)).flatten(),
    )
}

#[test]
fn the_environment_comes_first_then_labels_then_the_image() {
    let labels = Some("app=\"payments\"\nversion=\"v2\"\n");
    let image = ("MIZZEN_ECHO_IMAGE", "your-registry:5000/payments:v1@sha256:00");
    assert_eq!(read(&[("VERSION", "v3"), image], labels).version, "v3");
    assert_eq!(read(&[image], labels).version, "v2");
    assert_eq!(read(&[image], None).version, "v1");
    assert_eq!(read(&[], None), Identity::default());
}

#[test]
fn the_pod_name_stands_in_the_environment() {
    let identity =
        read(&[("POD_NAME", "payments-1"), ("HOSTNAME", "other"), ("POD_NAMESPACE", "shop")], None);
    assert_eq!((identity.pod.as_str(), identity.namespace.as_str()), ("payments-1", "shop"));
}

#[test]
fn an_image_without_a_tag_has_no_version() {
    assert_eq!(tag("localhost:5000/payments"), None);
    assert_eq!(tag("payments:v2"), Some("v2".to_owned()));
}
