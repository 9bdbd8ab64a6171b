use super::*;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use rcgen::{CertificateParams, KeyPair};

fn inline(text: &str) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..DataSource::default() })
}

fn pair() -> (String, String) {
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec!["a.example.com".to_owned()]).expect("parameters");
    (params.self_signed(&key).expect("certificate").pem(), key.serialize_pem())
}

fn certificate(chain: &str, key: &str) -> Secret {
    let certificate = TlsCertificate {
        certificate_chain: inline(chain),
        private_key: inline(key),
        ..TlsCertificate::default()
    };
    Secret { name: "a".to_owned(), r#type: Some(Type::TlsCertificate(certificate)) }
}

#[test]
fn a_certificate_with_its_key_is_taken() {
    let (chain, key) = pair();
    let value = compile(&certificate(&chain, &key)).expect("secret");
    assert!(matches!(value, SecretValue::Certificate(_)));
}

#[test]
fn a_foreign_key_and_a_missing_part_are_named() {
    let ((chain, _), (_, key)) = (pair(), pair());
    let error = compile(&certificate(&chain, &key)).expect_err("foreign key");
    assert_eq!(error.field, "tls_certificate.certificate_chain");
    let mut secret = certificate(&chain, &key);
    if let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type {
        certificate.private_key = None;
    }
    let error = compile(&secret).expect_err("no key");
    assert_eq!(error.to_string(), "tls_certificate.private_key: is required");
}

#[test]
fn a_trust_bundle_needs_roots_and_checks_that_are_not_honoured_are_refused() {
    let secret = |context| Secret { name: "a".to_owned(), r#type: Some(Type::ValidationContext(context)) };
    let context = CertificateValidationContext { trusted_ca: inline(&pair().0), ..Default::default() };
    assert!(matches!(compile(&secret(context.clone())).expect("bundle"), SecretValue::Trust(_)));
    let error = compile(&secret(CertificateValidationContext::default())).expect_err("no roots");
    assert_eq!(error.field, "validation_context.trusted_ca");
    let pinned = CertificateValidationContext { verify_certificate_hash: vec!["00".to_owned()], ..context };
    let error = compile(&secret(pinned)).expect_err("pinned");
    assert_eq!(error.field, "validation_context.verify_certificate_hash");
}
