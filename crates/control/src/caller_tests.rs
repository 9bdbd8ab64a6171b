use super::*;
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};

fn review(name: &str, audiences: &[&str]) -> TokenReview {
    TokenReview {
        status: Some(TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(audiences.iter().map(|&audience| audience.to_owned()).collect()),
            user: Some(UserInfo { username: Some(name.to_owned()), ..UserInfo::default() }),
            ..TokenReviewStatus::default()
        }),
        ..TokenReview::default()
    }
}

#[test]
fn a_service_account_is_recognised() {
    let review = review("system:serviceaccount:default:payments", &["istio-ca"]);
    let expected =
        Caller::Workload { namespace: "default".to_owned(), service_account: "payments".to_owned() };
    assert_eq!(of_review(&review, Some(PROXY_AUDIENCE)).expect("accepted"), expected);
    let identity = expected.identity("cluster.local").expect("an identity");
    assert_eq!(identity.as_str(), "spiffe://cluster.local/ns/default/sa/payments");
    assert_eq!(Caller::Anonymous.identity("cluster.local"), None);
}

#[test]
fn tokens_for_others_and_of_others_are_refused() {
    let elsewhere = review("system:serviceaccount:default:payments", &["https://kubernetes.default.svc"]);
    assert!(of_review(&elsewhere, Some(PROXY_AUDIENCE)).is_err());
    for name in ["admin", "system:serviceaccount:default", "system:serviceaccount::a", ""] {
        assert!(of_review(&review(name, &["istio-ca"]), Some(PROXY_AUDIENCE)).is_err(), "{name}");
    }
    let mut unknown = review("system:serviceaccount:default:payments", &["istio-ca"]);
    unknown.status.as_mut().expect("status").authenticated = Some(false);
    assert!(of_review(&unknown, None).is_err());
    assert!(of_review(&TokenReview::default(), None).is_err());
}

#[test]
fn only_bearer_headers_carry_tokens() {
    let token = |value: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, value.parse().expect("header"));
        bearer(&headers).map(str::to_owned)
    };
    assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
    assert_eq!(token("bearer  abc ").as_deref(), Some("abc"));
    assert_eq!(token("Basic abc"), None);
    assert_eq!(token("Bearer "), None);
}
