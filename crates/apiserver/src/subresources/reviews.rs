//! Reviews: questions that are answered and forgotten. Access reviews say yes, because this server lets every authenticated
//! caller do everything.

use serde_json::{Value, json};

use crate::api::Api;
use crate::error::ApiError;
use crate::http::response::{self, Answer};
use crate::http::service::Call;
use crate::object::{items, set, text_or_empty};

/// Why access reviews say yes.
const REASON: &str = "this API server allows every authenticated caller everything";

/// Answers a review.
pub(crate) fn answer(api: &Api, call: &Call, mut review: Value) -> Result<Answer, ApiError> {
    crate::operations::prepare::check_kind(&call.resource, &mut review)?;
    let status = match call.resource.kind.as_str() {
        "TokenReview" => token(api, &review),
        "SelfSubjectReview" => json!({"userInfo": call.user.info()}),
        "SelfSubjectRulesReview" => json!({
            "incomplete": false,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }),
        _ => json!({"allowed": true, "reason": REASON}),
    };
    set(&mut review, &["status"], status);
    crate::object::set_default(&mut review, &["metadata"], json!({}));
    set(&mut review, &["metadata", "creationTimestamp"], Value::Null);
    Ok(response::object(201, &review, call.accepted))
}

fn token(api: &Api, review: &Value) -> Value {
    let audiences: Vec<String> =
        items(review, &["spec", "audiences"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let token = text_or_empty(review, &["spec", "token"]);
    if api.tokens.is_admin(token) {
        return json!({"authenticated": true, "user": crate::auth::User::admin().info(), "audiences": audiences});
    }
    match api.tokens.verify(&api.store, token, &audiences) {
        Ok(verified) => {
            json!({"authenticated": true, "user": verified.user.info(), "audiences": verified.audiences})
        }
        Err(reason) => {
            json!({"authenticated": false, "user": {}, "error": format!("[invalid bearer token, {reason}]")})
        }
    }
}
