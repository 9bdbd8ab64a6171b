//! Service-account tokens: JSON Web Tokens signed with ES256 (RFC 7515, 7518), with the claims Kubernetes gives its bound
//! tokens, and the admin token.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::User;
use crate::object::{self, integer, items, text, text_or_empty};
use crate::server::StartError;
use crate::state;
use crate::store::Store;

/// Who issues the tokens, and the audience of the API server.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Shortest and longest life of a token, in seconds.
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
const DEFAULT_LIFE: i64 = 3600;

/// Signs and checks tokens.
pub(crate) struct Tokens {
    admin_digest: [u8; 32],
    key: EcdsaKeyPair,
    key_id: String,
}

/// What a token is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenRequest {
    pub namespace: String,
    pub account: String,
    pub account_uid: String,
    /// Empty: the API server.
    pub audiences: Vec<String>,
    pub expiration_seconds: Option<i64>,
    /// Kind (`Pod`, `Secret`, `Node`), name and uid of what the token lives and dies with.
    pub bound_to: Option<(String, String, String)>,
    /// Name and uid of the bound pod's node.
    pub node: Option<(String, String)>,
}

/// A token that is good.
pub(crate) struct Verified {
    pub user: User,
    /// The asked-for audiences that the token is for.
    pub audiences: Vec<String>,
}

impl Tokens {
    /// Takes the signing key from the folder, or makes one.
    pub fn load(folder: &Path, admin_token: &str) -> Result<Tokens, StartError> {
        let path = folder.join("service-account.key");
        let fresh = || {
            let document =
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                    .map_err(|error| StartError::Certificate(error.to_string()))?;
            Ok(document.as_ref().to_vec())
        };
        let bytes = state::load_or_create(&path, fresh)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes).map_err(|error| {
            StartError::Damaged { path: path.display().to_string(), reason: error.to_string() }
        })?;
        let key_id = URL_SAFE_NO_PAD.encode(Sha256::digest(key.public_key().as_ref()));
        Ok(Tokens { admin_digest: Sha256::digest(admin_token).into(), key, key_id })
    }

    /// Whether this is the admin token. Digests are compared, so time tells nothing about the token.
    pub fn is_admin(&self, token: &str) -> bool {
        <[u8; 32]>::from(Sha256::digest(token)) == self.admin_digest
    }

    /// A signed token and when it ends.
    pub fn issue(&self, request: &TokenRequest) -> Result<(String, Timestamp), String> {
        let now = Timestamp::now().as_second();
        let life = request.expiration_seconds.unwrap_or(DEFAULT_LIFE).clamp(SHORTEST, LONGEST);
        let expires = Timestamp::from_second(now + life).map_err(|error| error.to_string())?;
        let audiences =
            if request.audiences.is_empty() { vec![ISSUER.to_owned()] } else { request.audiences.clone() };
        let mut bound = json!({
            "namespace": request.namespace,
            "serviceaccount": {"name": request.account, "uid": request.account_uid},
        });
        if let Some((kind, name, uid)) = &request.bound_to {
            object::set(&mut bound, &[&kind.to_ascii_lowercase()], json!({"name": name, "uid": uid}));
        }
        if let Some((name, uid)) = &request.node {
            object::set(&mut bound, &["node"], json!({"name": name, "uid": uid}));
        }
        let claims = json!({
            "aud": audiences,
            "exp": expires.as_second(),
            "iat": now,
            "iss": ISSUER,
            "jti": uuid::Uuid::new_v4().to_string(),
            "kubernetes.io": bound,
            "nbf": now,
            "sub": format!("system:serviceaccount:{}:{}", request.namespace, request.account),
        });
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|error| format!("cannot sign a token: {error}"))?;
        Ok((format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())), expires))
    }

    /// Checks signature, times, audiences, and that the account and what the token is bound to still exist.
    pub fn verify(&self, store: &Store, token: &str, audiences: &[String]) -> Result<Verified, String> {
        let (signed, signature) = token.rsplit_once('.').ok_or("the token is not a JSON Web Token")?;
        let signature =
            URL_SAFE_NO_PAD.decode(signature).map_err(|_| "the token's signature is not base64url")?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "the token is not signed by this server")?;
        let (_, claims) = signed.split_once('.').ok_or("the token has no claims")?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| "the token's claims are not base64url")?;
        let claims: Value = serde_json::from_slice(&claims).map_err(|_| "the token's claims are not JSON")?;
        let now = Timestamp::now().as_second();
        if integer(&claims, &["exp"]).is_none_or(|expires| expires <= now) {
            return Err("service account token has expired".to_owned());
        }
        let wanted: Vec<String> =
            if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences.to_vec() };
        let granted: Vec<&str> = items(&claims, &["aud"]).iter().filter_map(Value::as_str).collect();
        let common: Vec<String> =
            wanted.into_iter().filter(|audience| granted.contains(&audience.as_str())).collect();
        if common.is_empty() {
            return Err(format!(
                "token audiences {granted:?} is invalid for the target audiences {audiences:?}"
            ));
        }
        let user = bearer(store, &claims)?;
        Ok(Verified { user, audiences: common })
    }

    /// The public key as a JSON Web Key Set, for those who verify on their own.
    pub fn key_set(&self) -> Value {
        // An uncompressed point: 0x04, x, y.
        let point = self.key.public_key().as_ref();
        let coordinate =
            |range| point.get(range).map(|bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default();
        json!({"keys": [{
            "use": "sig",
            "kty": "EC",
            "kid": self.key_id,
            "crv": "P-256",
            "alg": "ES256",
            "x": coordinate(1..33),
            "y": coordinate(33..65),
        }]})
    }
}

/// The account behind good claims, if it and what the token is bound to are still the same objects.
fn bearer(store: &Store, claims: &Value) -> Result<User, String> {
    let bound = claims.get("kubernetes.io").ok_or("the token is not a service account's")?;
    let namespace = text_or_empty(bound, &["namespace"]);
    let account = text_or_empty(bound, &["serviceaccount", "name"]);
    let exists = |collection: &str, name: &str, uid: &str| {
        store.get(collection, namespace, name).is_some_and(|stored| object::uid(&stored.object) == uid)
    };
    let uid = text_or_empty(bound, &["serviceaccount", "uid"]);
    if !exists("/serviceaccounts", account, uid) {
        return Err(format!("service account {namespace}/{account} has been deleted"));
    }
    let mut extra = Vec::new();
    for (kind, collection) in [("pod", "/pods"), ("secret", "/secrets")] {
        let Some(name) = text(bound, &[kind, "name"]) else { continue };
        let uid = text_or_empty(bound, &[kind, "uid"]);
        if !exists(collection, name, uid) {
            return Err(format!("{kind} {namespace}/{name}, which the token is bound to, has been deleted"));
        }
        extra.push((format!("authentication.kubernetes.io/{kind}-name"), name.to_owned()));
        extra.push((format!("authentication.kubernetes.io/{kind}-uid"), uid.to_owned()));
    }
    Ok(User {
        name: format!("system:serviceaccount:{namespace}:{account}"),
        uid: uid.to_owned(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        extra,
    })
}
