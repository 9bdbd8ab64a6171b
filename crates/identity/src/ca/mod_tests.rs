use super::*;
use crate::{Credential, PeerCertificate, TrustBundle};
use rcgen::{BasicConstraints, DnType};

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

fn authority() -> CertificateAuthority {
    let material = AuthorityMaterial::self_signed("cluster.local", now()).expect("root");
    CertificateAuthority::new(material, now()).expect("authority")
}

fn caller() -> SpiffeId {
    SpiffeId::of_service_account("cluster.local", "default", "payments").expect("id")
}

fn leaf(issued: &IssuedCertificate) -> PeerCertificate {
    let der = certificates_from_pem(issued.chain[0].as_bytes()).expect("PEM").remove(0);
    PeerCertificate::parse(der).expect("certificate")
}

fn seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()).expect("fits")
}

#[test]
fn the_caller_is_named_whatever_the_request_says() {
    let authority = authority();
    let other = SpiffeId::of_service_account("cluster.local", "bank", "vault").expect("id");
    let (key, request) = csr::generate(&other).expect("request");
    let issued = authority.sign(&request, &caller(), Duration::ZERO, now()).expect("signed");
    let leaf = leaf(&issued);
    assert_eq!(leaf.spiffe_id(), Some(&caller()));
    assert_eq!((leaf.uri_sans.len(), leaf.dns_sans.len()), (1, 0));
    assert_eq!(leaf.not_after - seconds(now()), 24 * 3600);
    assert_eq!(seconds(now()) - leaf.not_before, 120);
    assert_eq!(issued.chain.last().map(String::as_str), Some(authority.root()));
    Credential::from_pem(issued.presented().as_bytes(), key.as_bytes()).expect("belongs to the key");
}

#[test]
fn lifetimes_are_bounded_by_policy_and_by_the_authority() {
    let authority = authority();
    let (_, request) = csr::generate(&caller()).expect("request");
    let lifetime = |asked, at| {
        let issued = authority.sign(&request, &caller(), asked, at).expect("signed");
        issued.not_after.duration_since(at).expect("later")
    };
    assert_eq!(lifetime(Duration::from_secs(5 * 60), now()), Duration::from_secs(5 * 60));
    assert_eq!(lifetime(Duration::MAX, now()), MAXIMUM_LIFETIME);
    let nearly_over = authority.not_after() - Duration::from_secs(10 * 60);
    assert_eq!(lifetime(Duration::ZERO, nearly_over), Duration::from_secs(10 * 60));
    let over = authority.sign(&request, &caller(), Duration::ZERO, authority.not_after());
    assert!(matches!(over, Err(SignError::AuthorityExpired)));
}

#[test]
fn serials_are_random() {
    let authority = authority();
    let (_, request) = csr::generate(&caller()).expect("request");
    let serial = || leaf(&authority.sign(&request, &caller(), Duration::ZERO, now()).expect("signed")).serial;
    let (first, second) = (serial(), serial());
    assert_ne!(first, second);
    assert_eq!(first.len(), 32);
}

#[test]
fn requests_without_proof_of_possession_are_refused() {
    let authority = authority();
    let (_, request) = csr::generate(&caller()).expect("request");
    let mut lines: Vec<_> = request.lines().map(str::to_owned).collect();
    // The signature is at the end.
    let last = lines.len() - 2;
    lines[last] = lines[last].chars().rev().collect();
    for broken in [lines.join("\n").as_str(), "", "-----BEGIN CERTIFICATE REQUEST-----\n"] {
        assert!(matches!(
            authority.sign(broken, &caller(), Duration::ZERO, now()),
            Err(SignError::Request(_))
        ));
    }
}

#[test]
fn an_authority_survives_its_secret() {
    let authority = authority();
    let kept = authority.material().to_secret();
    let again = AuthorityMaterial::from_secret(&kept).expect("complete");
    assert_eq!(&again, authority.material());
    let mut incomplete = kept;
    incomplete.remove("ca-key.pem");
    assert!(matches!(AuthorityMaterial::from_secret(&incomplete), Err(MaterialError::Missing("ca-key.pem"))));
}

fn intermediate(is_ca: bool) -> (AuthorityMaterial, AuthorityMaterial) {
    let root = AuthorityMaterial::self_signed("root", now()).expect("root");
    let root_key = KeyPair::from_pem(&root.key).expect("key");
    let issuer = Issuer::from_ca_cert_pem(&root.certificate, root_key).expect("issuer");
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "intermediate");
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.not_after = (now() + Duration::from_secs(48 * 3600)).into();
    let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
    let material = AuthorityMaterial {
        key: key.serialize_pem(),
        root: root.root.clone(),
        chain: format!("{certificate}{}", root.certificate),
        certificate,
    };
    (root, material)
}

#[test]
fn a_plugged_in_intermediate_signs_and_sends_its_chain() {
    let (root, material) = intermediate(true);
    let authority = CertificateAuthority::new(material, now()).expect("authority");
    let (_, request) = csr::generate(&caller()).expect("request");
    let issued = authority.sign(&request, &caller(), Duration::ZERO, now()).expect("signed");
    assert_eq!(issued.chain.len(), 3);
    let presented = certificates_from_pem(issued.presented().as_bytes()).expect("PEM");
    assert_eq!(presented.len(), 3, "the leaf, the intermediate and what the chain has above it");
    TrustBundle::from_pem(root.root.as_bytes()).expect("roots");
}

#[test]
fn material_that_does_not_belong_together_is_refused() {
    let (_, good) = intermediate(true);
    let stranger = AuthorityMaterial::self_signed("other", now()).expect("root");
    let foreign_root = AuthorityMaterial { root: stranger.root.clone(), ..good.clone() };
    assert!(matches!(CertificateAuthority::new(foreign_root, now()), Err(MaterialError::Untrusted)));
    let foreign_key = AuthorityMaterial { key: stranger.key, ..good.clone() };
    assert!(matches!(CertificateAuthority::new(foreign_key, now()), Err(MaterialError::Pair(_))));
    let late = now() + Duration::from_secs(49 * 3600);
    assert!(matches!(CertificateAuthority::new(good, late), Err(MaterialError::Expired)));
    let (_, leaf) = intermediate(false);
    assert!(matches!(CertificateAuthority::new(leaf, now()), Err(MaterialError::Certificate(_))));
}

#[test]
fn a_server_certificate_has_names_and_identity() {
    let authority = authority();
    let names = ["istiod.istio-system.svc".to_owned()];
    let (issued, key) = authority.issue_server(&names, &caller(), now()).expect("issued");
    let leaf = leaf(&issued);
    assert_eq!(leaf.dns_sans.len(), 1);
    assert_eq!(leaf.spiffe_id(), Some(&caller()));
    Credential::from_pem(issued.presented().as_bytes(), key.as_bytes()).expect("belongs together");
}
