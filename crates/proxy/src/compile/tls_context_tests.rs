use super::*;
use crate::telemetry::Telemetry;
use crate::tls::Secrets;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::google::protobuf::BoolValue;

fn context() -> (tokio::runtime::Runtime, Context) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let node = Node::default();
    let context = Context {
        telemetry: Telemetry::new(&node, 1),
        node: Arc::new(node),
        secrets: Arc::new(Secrets::new(true)),
        control: runtime.handle().clone(),
    };
    (runtime, context)
}

fn sds(name: &str) -> pb::SdsSecretConfig {
    pb::SdsSecretConfig { name: name.to_owned(), sds_config: None }
}

fn trusting(name: &str, names: Vec<pb::SubjectAltNameMatcher>) -> Option<ValidationContextType> {
    Some(ValidationContextType::CombinedValidationContext(
        pb::common_tls_context::CombinedCertificateValidationContext {
            default_validation_context: Some(pb::CertificateValidationContext {
                match_typed_subject_alt_names: names,
                ..Default::default()
            }),
            validation_context_sds_secret_config: Some(sds(name)),
            ..Default::default()
        },
    ))
}

fn exact(kind: pb::subject_alt_name_matcher::SanType, name: &str) -> pb::SubjectAltNameMatcher {
    pb::SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(name.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn the_meshs_roots_vouch_for_spiffe_identities_unless_a_host_is_asked_for() {
    use pb::subject_alt_name_matcher::SanType;
    let (_runtime, context) = context();
    let spiffe = |validation| {
        let common = pb::CommonTlsContext { validation_context_type: validation, ..Default::default() };
        verification(&common, false, &context).expect("verification").expect("some").spiffe
    };
    assert!(spiffe(trusting("ROOTCA", Vec::new())));
    assert!(spiffe(trusting("ROOTCA", vec![exact(SanType::Uri, "spiffe://td/ns/a/sa/b")])));
    assert!(!spiffe(trusting("ROOTCA", vec![exact(SanType::Dns, "istiod.istio-system.svc")])));
    assert!(!spiffe(trusting("kubernetes://gateway-cacert", Vec::new())));
}

#[test]
fn secrets_are_asked_for_over_ads_unless_the_agent_gives_them() {
    let (_runtime, context) = context();
    let tls = pb::DownstreamTlsContext {
        common_tls_context: Some(pb::CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![sds("default"), sds("kubernetes://gateway")],
            ..Default::default()
        }),
        ..Default::default()
    };
    let acceptor = acceptor(&tls, &context).expect("acceptor");
    assert!(acceptor.usable().is_err());
    let wanted: Vec<_> = context.secrets.wanted().iter().map(ToString::to_string).collect();
    assert_eq!(wanted, ["kubernetes://gateway"]);
}

#[test]
fn client_certificates_that_nothing_would_verify_are_refused() {
    let (_runtime, context) = context();
    let tls = pb::DownstreamTlsContext {
        require_client_certificate: Some(BoolValue { value: true }),
        common_tls_context: Some(pb::CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![sds("default")],
            ..Default::default()
        }),
        ..Default::default()
    };
    let error = acceptor(&tls, &context).map(drop).expect_err("refused");
    assert_eq!(error.field, "common_tls_context.validation_context");
}

#[test]
fn versions_and_suites_we_do_not_have_are_refused() {
    let params = |parameters| pb::CommonTlsContext { tls_params: Some(parameters), ..Default::default() };
    let only_13 =
        pb::TlsParameters { tls_minimum_protocol_version: TlsProtocol::TlSv13.into(), ..Default::default() };
    assert_eq!(versions(&params(only_13)), Ok((Version::Tls13, Version::Tls13)));
    let old =
        pb::TlsParameters { tls_maximum_protocol_version: TlsProtocol::TlSv11.into(), ..Default::default() };
    assert!(versions(&params(old)).is_err());
    let weak = pb::TlsParameters { cipher_suites: vec!["AES128-SHA".to_owned()], ..Default::default() };
    assert_eq!(versions(&params(weak)).expect_err("refused").field, "tls_params.cipher_suites");
}
