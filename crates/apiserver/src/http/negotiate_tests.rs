use super::*;

#[test]
fn the_first_acceptable_choice_wins() {
    let plain = Some(Accepted { form: Form::Plain, yaml: false });
    for (accept, expected) in [
        ("", plain),
        ("*/*", plain),
        ("application/vnd.kubernetes.protobuf, application/json", plain),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some(Accepted { form: Form::Table, yaml: false }),
        ),
        ("application/json;as=Chair;v=v1;g=meta.k8s.io,application/json", plain),
        (
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Some(Accepted { form: Form::Metadata, yaml: false }),
        ),
        ("application/yaml", Some(Accepted { form: Form::Plain, yaml: true })),
        ("text/html", None),
    ] {
        assert_eq!(accepted(accept), expected, "{accept}");
    }
}

#[test]
fn discovery_is_aggregated_only_for_those_who_ask() {
    assert_eq!(
        aggregated_discovery(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        ),
        Some("v2")
    );
    assert_eq!(
        aggregated_discovery("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
        Some("v2beta1")
    );
    assert_eq!(aggregated_discovery("application/json"), None);
}
