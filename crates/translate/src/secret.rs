//! Secrets for gateways: certificates and authorities from Kubernetes, only those a gateway is entitled to.
//!
//! A gateway gets a Secret of its own namespace, and only while one of the Gateways that select it (or a
//! DestinationRule it applies) names that Secret.

use std::collections::BTreeSet;

use mizzen_model::Secret;

use crate::{
    context::Context,
    envoy::{core, tls as pb},
    listener, tls,
    traffic_policy::ClusterPolicy,
};

const SCHEME: &str = "kubernetes://";
/// What is added to a Secret's name for the one that holds its authorities.
const AUTHORITY_SUFFIX: &str = "-cacert";

/// The names of the secrets a gateway may ask for.
pub(crate) fn entitled(context: &Context<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if !context.proxy.is_router() {
        return names;
    }
    for server in listener::gateway::servers(context) {
        let Some(settings) = &server.server.tls else { continue };
        names.extend(tls::credentials(settings).map(|name| format!("{SCHEME}{name}")));
        names.extend(tls::authority_credential(settings).map(|name| format!("{SCHEME}{name}")));
    }
    for service in context.scope.services() {
        let Some(rule) = context.scope.destination_rule(service) else { continue };
        for port in &service.ports {
            let subsets = rule.subsets.iter().map(|subset| Some(subset.name.as_str()));
            for subset in std::iter::once(None).chain(subsets) {
                let policy = ClusterPolicy::of(Some(rule), port.number, subset);
                if let Some(name) = policy.tls.and_then(|settings| settings.credential_name) {
                    names.insert(format!("{SCHEME}{name}{AUTHORITY_SUFFIX}"));
                    names.insert(format!("{SCHEME}{name}"));
                }
            }
        }
    }
    names
}

/// A secret by name; nothing where the proxy has no right to it, or it is missing or broken. Only the
/// connections that need it fail then.
pub(crate) fn of_name(context: &Context<'_>, name: &str, entitled: &BTreeSet<String>) -> Option<pb::Secret> {
    if !entitled.contains(name) {
        return None;
    }
    let secret_name = name.strip_prefix(SCHEME)?;
    let kind = match secret_name.strip_suffix(AUTHORITY_SUFFIX) {
        Some(base) => authority(context, secret_name, base)?,
        None => certificate(context, secret_name)?,
    };
    Some(pb::Secret { name: name.to_owned(), r#type: Some(kind) })
}

fn find<'a>(context: &'a Context<'_>, name: &str) -> Option<&'a Secret> {
    context.snapshot().secret(&context.proxy.namespace, name).map(|secret| &**secret)
}

fn inline(bytes: &[u8]) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineBytes(bytes.to_vec())),
        ..Default::default()
    }
}

fn certificate(context: &Context<'_>, name: &str) -> Option<pb::secret::Type> {
    let secret = find(context, name)?;
    match secret.certificate() {
        Ok((chain, key)) => Some(pb::secret::Type::TlsCertificate(pb::TlsCertificate {
            certificate_chain: Some(inline(chain)),
            private_key: Some(inline(key)),
            // Our own proxy does not staple; a certificate without a staple is as good.
            ocsp_staple: secret.ocsp_staple().filter(|_| !context.proxy.istio_filters).map(inline),
            ..Default::default()
        })),
        // A Secret named for authorities alone.
        Err(_) => secret.authority().ok().map(|authority| validation(authority, secret)),
    }
}

/// The authorities: of the Secret made for them, else of the one with the certificate.
fn authority(context: &Context<'_>, name: &str, base: &str) -> Option<pb::secret::Type> {
    let own = find(context, name);
    if let Some(secret) = own {
        let authority = secret.authority().or_else(|_| secret.certificate().map(|(chain, _)| chain)).ok()?;
        return Some(validation(authority, secret));
    }
    let secret = find(context, base)?;
    Some(validation(secret.authority().ok()?, secret))
}

fn validation(authority: &[u8], secret: &Secret) -> pb::secret::Type {
    pb::secret::Type::ValidationContext(pb::CertificateValidationContext {
        trusted_ca: Some(inline(authority)),
        crl: secret.revocations().map(inline),
        ..Default::default()
    })
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
