//! Certificates of a run: one root, a leaf for each sidecar with its SPIFFE id, one for a host. ECDSA
//! P-256, as Istio issues them.

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use std::path::{Path, PathBuf};

/// The identity of the calling workload.
pub const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
/// The identity of the called workload.
pub const SERVER: &str = "spiffe://cluster.local/ns/default/sa/app";
/// The host that TLS is terminated for.
pub const HOST: &str = "bench.example.com";

/// A certificate with its key, in files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The chain in PEM.
    pub certificate: PathBuf,
    /// The key in PEM.
    pub key: PathBuf,
    /// Both in one file, as HAProxy wants it.
    pub bundle: PathBuf,
}

/// The certificates of a run.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The root that all chains end in.
    pub root: PathBuf,
    /// Of [`CLIENT`].
    pub client: Pair,
    /// Of [`SERVER`].
    pub server: Pair,
    /// Of [`HOST`].
    pub host: Pair,
}

impl Certificates {
    /// Issues all of them into `folder`.
    pub fn issue(folder: &Path) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "cluster.local");
        let root = folder.join("root.pem");
        write(&root, &params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        Ok(Self {
            root,
            client: leaf(&issuer, folder, "client", SanType::URI(CLIENT.try_into()?))?,
            server: leaf(&issuer, folder, "server", SanType::URI(SERVER.try_into()?))?,
            host: leaf(&issuer, folder, "host", SanType::DnsName(HOST.try_into()?))?,
        })
    }
}

fn leaf(issuer: &Issuer<'_, KeyPair>, folder: &Path, name: &str, san: SanType) -> anyhow::Result<Pair> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.subject_alt_names = vec![san];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    // HAProxy cannot look at SPIFFE ids; its policy is written against this name.
    params.distinguished_name.push(rcgen::DnType::OrganizationName, name);
    let (certificate, key) = (params.signed_by(&key, issuer)?.pem(), key.serialize_pem());
    let file = |suffix: &str| folder.join(format!("{name}{suffix}.pem"));
    let pair = Pair { certificate: file(""), key: file("-key"), bundle: file("-bundle") };
    write(&pair.certificate, &certificate)?;
    write(&pair.key, &key)?;
    write(&pair.bundle, &format!("{certificate}{key}"))?;
    Ok(pair)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
