//! Who is calling: a client certificate of the mesh, or a token that the API vouches for.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use mizzen_identity::{PeerCertificate, SpiffeId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::CertificateDer;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

/// The audience of tokens that proxies present. Source: Istio, `TOKEN_AUDIENCES`.
pub(crate) const PROXY_AUDIENCE: &str = "istio-ca";
/// How long a reviewed token is believed without asking again.
const REVIEW_LIFETIME: Duration = Duration::from_secs(60);
/// Reviews remembered at a time.
const REVIEWS: usize = 10_000;
/// Longest token looked at.
const LONGEST_TOKEN: usize = 16 << 10;
/// The prefix of a service account's user name.
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Whoever is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Proved to be this service account.
    Workload {
        /// Its namespace.
        namespace: String,
        /// Its service account.
        service_account: String,
    },
    /// Has not proved anything; only where plain text is allowed.
    Anonymous,
}

impl Caller {
    /// The SPIFFE identity, for those that have one.
    pub(crate) fn identity(&self, trust_domain: &str) -> Option<SpiffeId> {
        match self {
            Self::Workload { namespace, service_account } => {
                SpiffeId::of_service_account(trust_domain, namespace, service_account).ok()
            }
            Self::Anonymous => None,
        }
    }
}

/// What a request was sent with.
pub(crate) enum Credentials {
    /// The leaf of a client certificate that TLS has verified.
    Certificate(CertificateDer<'static>),
    /// A bearer token.
    Token(String),
    /// Nothing.
    None,
}

impl Credentials {
    /// Those of a gRPC request; a certificate counts before a token.
    pub(crate) fn of<B>(request: &http::Request<B>) -> Self {
        let certificates =
            request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        match certificates.as_ref().and_then(|certificates| certificates.first()) {
            Some(leaf) => Self::Certificate(leaf.clone()),
            None => bearer(request.headers()).map_or(Self::None, |token| Self::Token(token.to_owned())),
        }
    }
}

/// Recognises callers.
pub(crate) struct Authenticator {
    client: Client,
    reviews: Mutex<HashMap<[u8; 32], (Instant, Caller)>>,
}

impl Authenticator {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, reviews: Mutex::default() }
    }

    /// Who presented these credentials. The certificate was verified by TLS; a token is reviewed.
    pub(crate) async fn caller(&self, credentials: &Credentials) -> Result<Caller, Status> {
        match credentials {
            Credentials::Certificate(leaf) => of_certificate(leaf),
            Credentials::Token(token) => self.review(token, Some(PROXY_AUDIENCE)).await,
            Credentials::None => Ok(Caller::Anonymous),
        }
    }

    /// Whose token this is, as the API says.
    pub(crate) async fn review(&self, token: &str, audience: Option<&str>) -> Result<Caller, Status> {
        if token.len() > LONGEST_TOKEN {
            return Err(Status::unauthenticated("the token is too long to be one"));
        }
        let key = cache_key(token, audience);
        let now = Instant::now();
        let remembered = self.reviews.lock().get(&key).cloned();
        if let Some((until, caller)) = remembered
            && until > now
        {
            return Ok(caller);
        }
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: audience.map(|audience| vec![audience.to_owned()]),
            },
            ..TokenReview::default()
        };
        let api = Api::<TokenReview>::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| {
            tracing::warn!("a token could not be reviewed: {error}");
            Status::unavailable("the Kubernetes API cannot be asked about the token now; try again")
        })?;
        let caller = of_review(&answer, audience)?;
        let mut reviews = self.reviews.lock();
        if reviews.len() >= REVIEWS {
            reviews.retain(|_, (until, _)| *until > now);
        }
        if reviews.len() < REVIEWS {
            reviews.insert(key, (now + REVIEW_LIFETIME, caller.clone()));
        }
        Ok(caller)
    }
}

/// The token of an `authorization: Bearer` header.
pub(crate) fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn of_certificate(leaf: &CertificateDer<'static>) -> Result<Caller, Status> {
    let refused = |reason: String| Status::unauthenticated(format!("the client certificate: {reason}"));
    let certificate = PeerCertificate::parse(leaf.clone()).map_err(|error| refused(error.to_string()))?;
    certificate
        .spiffe_id()
        .and_then(SpiffeId::service_account)
        .map(|(namespace, account)| Caller::Workload {
            namespace: namespace.to_owned(),
            service_account: account.to_owned(),
        })
        .ok_or_else(|| refused("it has no identity of the form spiffe://…/ns/…/sa/…".to_owned()))
}

fn of_review(review: &TokenReview, audience: Option<&str>) -> Result<Caller, Status> {
    let refused = |reason: &str| Status::unauthenticated(format!("the token was refused: {reason}"));
    let status = review.status.as_ref().ok_or_else(|| refused("the API gave no verdict"))?;
    if status.authenticated != Some(true) {
        return Err(refused(status.error.as_deref().unwrap_or("the API does not know it")));
    }
    if let Some(audience) = audience
        && !status.audiences.iter().flatten().any(|accepted| accepted == audience)
    {
        return Err(refused("it is meant for another audience"));
    }
    let name = status.user.as_ref().and_then(|user| user.username.as_deref()).unwrap_or_default();
    name.strip_prefix(SERVICE_ACCOUNT_PREFIX)
        .and_then(|rest| rest.split_once(':'))
        .filter(|(namespace, account)| !namespace.is_empty() && !account.is_empty())
        .map(|(namespace, account)| Caller::Workload {
            namespace: namespace.to_owned(),
            service_account: account.to_owned(),
        })
        .ok_or_else(|| refused("it does not belong to a service account"))
}

/// Tokens are remembered by their digest, so that memory holds none that could be used.
fn cache_key(token: &str, audience: Option<&str>) -> [u8; 32] {
    use sha2::Digest;
    let mut digest = sha2::Sha256::new();
    digest.update(audience.unwrap_or_default());
    digest.update([0]);
    digest.update(token);
    digest.finalize().into()
}

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
