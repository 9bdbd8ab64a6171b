//! A throw-away certificate authority for tests.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// A root and its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The root in PEM.
    pub root: String,
}

impl Authority {
    /// A new root with this common name.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("root").pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// Certificate and key in PEM for these SANs.
    pub fn issue(&self, names: Vec<SanType>) -> (String, String) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// Certificate and key in PEM for a SPIFFE id.
    pub fn issue_spiffe(&self, id: &str) -> (String, String) {
        self.issue(vec![SanType::URI(id.try_into().expect("URI"))])
    }
}
