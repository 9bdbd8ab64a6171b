//! Who is asking: tokens, the authority behind the serving certificate, and kubeconfigs.

pub(crate) mod authority;
pub(crate) mod kubeconfig;
pub(crate) mod tokens;

use serde_json::{Value, json};

pub(crate) use tokens::{TokenRequest, Tokens};

use crate::object;
use crate::store::Store;

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    /// For example the pod a token is bound to.
    pub extra: Vec<(String, String)>,
}

impl User {
    /// The holder of the admin token.
    pub fn admin() -> User {
        User {
            name: "kubernetes-admin".to_owned(),
            uid: String::new(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            extra: Vec::new(),
        }
    }

    /// `UserInfo` of reviews.
    pub fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            object::set(&mut info, &["uid"], self.uid.as_str());
        }
        for (key, value) in &self.extra {
            object::set(&mut info, &["extra", key], vec![value.as_str()]);
        }
        info
    }
}

/// Who a bearer token belongs to, for the API server itself as the audience.
pub(crate) fn authenticate(tokens: &Tokens, store: &Store, bearer: &str) -> Option<User> {
    if tokens.is_admin(bearer) {
        return Some(User::admin());
    }
    tokens.verify(store, bearer, &[tokens::ISSUER.to_owned()]).ok().map(|verified| verified.user)
}
