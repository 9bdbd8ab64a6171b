use super::*;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    StringMatcher as StringProto, string_matcher::MatchPattern,
};
use http::{HeaderMap, HeaderValue};
use pb::{permission::Rule as Permission, principal::Identifier as Principal};

fn permission(rule: Permission) -> pb::Permission {
    pb::Permission { rule: Some(rule) }
}

fn principal(identifier: Principal) -> pb::Principal {
    pb::Principal { identifier: Some(identifier) }
}

fn exact(text: &str) -> StringProto {
    StringProto { ignore_case: false, match_pattern: Some(MatchPattern::Exact(text.into())) }
}

fn header(name: &str, value: &str) -> envoy_types::pb::envoy::config::route::v3::HeaderMatcher {
    use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
    HeaderMatcher {
        name: name.into(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(exact(value))),
        ..HeaderMatcher::default()
    }
}

fn rules(action: i32, policies: Vec<(&str, pb::Permission, pb::Principal)>) -> Rbac {
    let policies = policies
        .into_iter()
        .map(|(name, permission, principal)| {
            let policy = pb::Policy {
                permissions: vec![permission],
                principals: vec![principal],
                ..pb::Policy::default()
            };
            (name.to_owned(), policy)
        })
        .collect();
    let rules = pb::Rbac { action, policies, ..pb::Rbac::default() };
    Rbac::compile_http(&HttpRbac { rules: Some(rules), ..HttpRbac::default() }).unwrap()
}

fn subject<'a>(header: Option<&'a HeaderView<'a>>) -> Subject<'a> {
    Subject {
        local: "10.0.0.9:8080".parse().unwrap(),
        peer: "10.1.2.3:4".parse().unwrap(),
        direct_peer: "10.1.2.3:4".parse().unwrap(),
        remote: "192.168.7.7:0".parse().unwrap(),
        server_name: Some("outbound_.80_._.shop"),
        certificate: None,
        request: header.map(|header| Request { header, path: header.path }),
    }
}

const ALLOW: i32 = 0;
const DENY: i32 = 1;

fn any() -> pb::Principal {
    principal(Principal::Any(true))
}

#[test]
fn allowing_needs_a_match_and_denying_needs_none() {
    let none = subject(None);
    assert_eq!(rules(ALLOW, vec![]).check(&none), Verdict::Denied(None), "an empty policy denies all");
    assert_eq!(rules(DENY, vec![]).check(&none), Verdict::Allowed(None));
    let allowed = rules(ALLOW, vec![("all", permission(Permission::Any(true)), any())]).check(&none);
    assert_eq!(allowed, Verdict::Allowed(Some("all".into())));
    assert_eq!(Verdict::Denied(None).details(), "rbac_access_denied_matched_policy[none]");
}

#[test]
fn ports_addresses_and_server_names_are_those_of_the_connection() {
    let range = |prefix: &str, length| CidrRange {
        address_prefix: prefix.into(),
        prefix_len: Some(envoy_types::pb::google::protobuf::UInt32Value { value: length }),
    };
    let check = |permission_rule: Permission, identifier: Principal| {
        let rbac = rules(ALLOW, vec![("one", permission(permission_rule), principal(identifier))]);
        matches!(rbac.check(&subject(None)), Verdict::Allowed(_))
    };
    let everything = || Permission::Any(true);
    assert!(check(Permission::DestinationPort(8080), Principal::Any(true)));
    assert!(!check(Permission::DestinationPort(80), Principal::Any(true)));
    assert!(check(Permission::DestinationIp(range("10.0.0.0", 24)), Principal::Any(true)));
    assert!(check(Permission::RequestedServerName(exact("outbound_.80_._.shop")), Principal::Any(true)));
    assert!(check(everything(), Principal::DirectRemoteIp(range("10.1.0.0", 16))));
    assert!(!check(everything(), Principal::RemoteIp(range("10.1.0.0", 16))));
    assert!(check(everything(), Principal::RemoteIp(range("192.168.0.0", 16))));
    assert!(!check(
        everything(),
        Principal::Authenticated(pb::principal::Authenticated { principal_name: None })
    ));
}

#[test]
fn a_connection_has_no_headers_to_match() {
    let rbac = rules(ALLOW, vec![("one", permission(Permission::Header(header("x", "1"))), any())]);
    assert_eq!(rbac.check(&subject(None)), Verdict::Denied(None));
}

#[test]
fn repeated_headers_cannot_dodge_a_rule() {
    let mut headers = HeaderMap::new();
    headers.append("x-role", HeaderValue::from_static("guest"));
    headers.append("x-role", HeaderValue::from_static("blocked"));
    let view = HeaderView { method: "GET", path: "/", authority: "a", scheme: "http", headers: &headers };
    let blocked = || permission(Permission::Header(header("x-role", "blocked")));
    let guest = || permission(Permission::Header(header("x-role", "guest")));
    let subject = subject(Some(&view));
    assert!(matches!(rules(DENY, vec![("no", blocked(), any())]).check(&subject), Verdict::Denied(Some(_))));
    assert_eq!(rules(ALLOW, vec![("guests", guest(), any())]).check(&subject), Verdict::Denied(None));
    let not_blocked = permission(Permission::NotRule(Box::new(blocked())));
    assert_eq!(rules(ALLOW, vec![("others", not_blocked, any())]).check(&subject), Verdict::Denied(None));
}

#[test]
fn methods_are_compared_as_they_are_written() {
    let headers = HeaderMap::new();
    let view = HeaderView { method: "get", path: "/", authority: "a", scheme: "http", headers: &headers };
    let rbac = rules(ALLOW, vec![("one", permission(Permission::Header(header(":method", "GET"))), any())]);
    assert_eq!(rbac.check(&subject(Some(&view))), Verdict::Denied(None));
}

#[test]
fn what_is_not_honoured_is_refused() {
    let policy = pb::Policy { condition: Some(Default::default()), ..pb::Policy::default() };
    let rules = pb::Rbac { policies: [("p".to_owned(), policy)].into(), ..pb::Rbac::default() };
    let error = Rbac::compile_http(&HttpRbac { rules: Some(rules), ..HttpRbac::default() }).unwrap_err();
    assert_eq!(error.field, "rules.policies[\"p\"].condition");
}
