//! The certificate authority in service: its Secret, the control plane's own certificate, and what
//! happens when either changes.

use crate::config::ControlConfig;
use crate::error::ControlError;
use arc_swap::ArcSwap;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::watcher;
use mizzen_identity::ca::{AuthorityMaterial, CertificateAuthority};
use mizzen_identity::secret::{SecretStore, SecretValue};
use mizzen_identity::{Credential, SpiffeId, TrustBundle};
use mizzen_registry::Observed;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// An authority plugged in by the operator. Source: Istio, "Plug in CA Certificates".
const PLUGGED_IN: &str = "cacerts";
/// The authority we make and keep.
const OWN: &str = "istio-ca-secret";
/// Type of the latter. Source: Istio.
const OWN_TYPE: &str = "istio.io/ca-root";
/// Slots in [`Authority::secrets`].
pub(crate) const SERVING: &str = "serving";
pub(crate) const ROOTS: &str = "roots";
/// Pause before a failed renewal of our own certificate is tried again.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// The authority that signs now, and our own certificate by it.
pub(crate) struct Authority {
    current: ArcSwap<CertificateAuthority>,
    /// Slots `serving` and `roots`, for TLS configurations.
    secrets: SecretStore,
    roots: watch::Sender<Arc<str>>,
    dns_names: Vec<String>,
    identity: SpiffeId,
    /// Whether the operator's own authority signed at the start; it counts before ours.
    plugged_in: bool,
}

impl Authority {
    /// Loads the authority, or makes one, and gives ourselves a certificate.
    pub(crate) async fn load(
        client: &Client,
        config: &ControlConfig,
        trust_domain: &str,
    ) -> Result<Arc<Self>, ControlError> {
        let api = Api::<Secret>::namespaced(client.clone(), &config.namespace);
        let (name, authority) = load_or_create(&api, trust_domain).await?;
        let identity = SpiffeId::of_service_account(trust_domain, &config.namespace, &config.service_account)
            .map_err(|error| ControlError::Certificate(error.to_string()))?;
        let loaded = Arc::new(Self {
            roots: watch::Sender::new(authority.root().into()),
            current: ArcSwap::from_pointee(authority),
            secrets: SecretStore::default(),
            dns_names: config.dns_names(),
            identity,
            plugged_in: name == PLUGGED_IN,
        });
        loaded.publish()?;
        Ok(loaded)
    }

    /// The authority that signs now.
    pub(crate) fn current(&self) -> Arc<CertificateAuthority> {
        self.current.load_full()
    }

    /// Our certificate and the roots, as TLS configurations take them.
    pub(crate) fn secrets(&self) -> &SecretStore {
        &self.secrets
    }

    /// The roots in PEM, and when they change.
    pub(crate) fn watch_roots(&self) -> watch::Receiver<Arc<str>> {
        self.roots.subscribe()
    }

    /// Renews our certificate at half of its life, and follows changes of the authority's Secrets.
    pub(crate) async fn maintain(self: Arc<Self>, client: Client, namespace: String) {
        let api = Api::<Secret>::namespaced(client, &namespace);
        let observe = |name: &'static str| {
            let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
            mizzen_registry::watch("Secret", api.clone(), only).map(move |observed| (name, observed)).boxed()
        };
        let mut changes = futures::stream::select(observe(PLUGGED_IN), observe(OWN));
        let mut plugged_in = self.plugged_in;
        loop {
            let renewal = self.renewal_pause();
            tokio::select! {
                change = changes.next() => match change {
                    Some((name, Observed::Present(secret))) => {
                        plugged_in |= name == PLUGGED_IN;
                        if name == PLUGGED_IN || !plugged_in {
                            self.take_over(name, &secret);
                        }
                    }
                    Some(_) => {}
                    None => return,
                },
                () = tokio::time::sleep(renewal) => {
                    if let Err(error) = self.publish() {
                        tracing::error!("renewing the control plane's own certificate failed: {error}");
                    }
                }
            }
        }
    }

    /// Until our certificate is to be renewed.
    fn renewal_pause(&self) -> Duration {
        let slot = self.secrets.slot(SERVING);
        let Ok(credential) = slot.credential() else { return RENEWAL_PAUSE };
        let Some(leaf) = credential.leaf() else { return RENEWAL_PAUSE };
        let half = u64::try_from((leaf.not_after - leaf.not_before) / 2).unwrap_or_default();
        let start = u64::try_from(leaf.not_before).unwrap_or_default();
        let due = SystemTime::UNIX_EPOCH + Duration::from_secs(start.saturating_add(half));
        due.duration_since(SystemTime::now()).unwrap_or(RENEWAL_PAUSE).max(Duration::from_secs(1))
    }

    /// Signs with another authority from now on. One that cannot be used changes nothing.
    fn take_over(&self, name: &str, secret: &Secret) {
        let authority = AuthorityMaterial::from_secret(&data_of(secret))
            .and_then(|material| CertificateAuthority::new(material, SystemTime::now()));
        match authority {
            Ok(authority) if authority.material() == self.current.load().material() => {}
            Ok(authority) => {
                tracing::info!("Secret {name} has a new certificate authority; it signs from now on");
                self.current.store(Arc::new(authority));
                if let Err(error) = self.publish() {
                    tracing::error!("no certificate by the new authority: {error}");
                }
            }
            Err(error) => {
                tracing::error!(
                    "Secret {name} cannot be used, the previous authority goes on signing: {error}"
                );
            }
        }
    }

    /// Issues our certificate and puts it and the roots in service.
    fn publish(&self) -> Result<(), ControlError> {
        let certificate = |error: &dyn std::fmt::Display| ControlError::Certificate(error.to_string());
        let authority = self.current.load();
        let (issued, key) = authority
            .issue_server(&self.dns_names, &self.identity, SystemTime::now())
            .map_err(|error| certificate(&error))?;
        let credential = Credential::from_pem(issued.presented().as_bytes(), key.as_bytes())
            .map_err(|error| certificate(&error))?;
        let roots =
            TrustBundle::from_pem(authority.root().as_bytes()).map_err(|error| certificate(&error))?;
        self.secrets.set(SERVING, SecretValue::Certificate(Arc::new(credential)), "");
        self.secrets.set(ROOTS, SecretValue::Trust(Arc::new(roots)), "");
        self.roots.send_if_modified(|published| {
            let changed = **published != *authority.root();
            *published = authority.root().into();
            changed
        });
        Ok(())
    }
}

/// The authority, and the Secret it comes from.
async fn load_or_create(
    api: &Api<Secret>,
    trust_domain: &str,
) -> Result<(&'static str, CertificateAuthority), ControlError> {
    for name in [PLUGGED_IN, OWN] {
        if let Some(secret) = api.get_opt(name).await? {
            tracing::info!("signing with the certificate authority of Secret {name}");
            return Ok((name, open(name, &secret)?));
        }
    }
    let unusable = |source| ControlError::Authority { secret: OWN, source };
    let material = AuthorityMaterial::self_signed(trust_domain, SystemTime::now()).map_err(unusable)?;
    let secret = Secret {
        metadata: ObjectMeta { name: Some(OWN.to_owned()), ..ObjectMeta::default() },
        type_: Some(OWN_TYPE.to_owned()),
        data: Some(material.to_secret().into_iter().map(|(key, value)| (key, ByteString(value))).collect()),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => {
            tracing::info!("made a new certificate authority and keep it in Secret {OWN}");
            let authority = CertificateAuthority::new(material, SystemTime::now()).map_err(unusable)?;
            Ok((OWN, authority))
        }
        // Another replica was faster: there must be one root, so theirs it is.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok((OWN, open(OWN, &api.get(OWN).await?)?)),
        Err(error) => Err(error.into()),
    }
}

fn open(name: &'static str, secret: &Secret) -> Result<CertificateAuthority, ControlError> {
    AuthorityMaterial::from_secret(&data_of(secret))
        .and_then(|material| CertificateAuthority::new(material, SystemTime::now()))
        .map_err(|source| ControlError::Authority { secret: name, source })
}

fn data_of(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
