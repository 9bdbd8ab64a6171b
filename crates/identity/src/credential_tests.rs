use super::*;
use crate::test_authority::Authority;

#[test]
fn chain_and_key_are_read_and_their_leaf_is_known() {
    let authority = Authority::new("root");
    let (chain, key) = authority.issue_spiffe("spiffe://td/ns/a/sa/b");
    let credential = Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect("credential");
    let leaf = credential.leaf().expect("leaf");
    assert_eq!(leaf.spiffe_id().expect("id").as_str(), "spiffe://td/ns/a/sa/b");
    assert_eq!(leaf.sha256().len(), 64);
    assert!(leaf.not_after > leaf.not_before);
}

#[test]
fn a_foreign_key_is_refused() {
    let authority = Authority::new("root");
    let (chain, _) = authority.issue_spiffe("spiffe://td/ns/a/sa/b");
    let (_, key) = authority.issue_spiffe("spiffe://td/ns/a/sa/b");
    let error = Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect_err("mismatch");
    assert_eq!(error, CertificateError::KeyMismatch);
}

#[test]
fn missing_parts_are_named() {
    let authority = Authority::new("root");
    let (chain, key) = authority.issue_spiffe("spiffe://td/ns/a/sa/b");
    assert_eq!(
        Credential::from_pem(b"", key.as_bytes()).expect_err("no chain"),
        CertificateError::NoCertificate
    );
    assert_eq!(Credential::from_pem(chain.as_bytes(), b"").expect_err("no key"), CertificateError::NoKey);
    assert!(
        TrustBundle::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err()
    );
}
