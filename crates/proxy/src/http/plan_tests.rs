use super::super::filter::rbac::Rbac;
use super::super::matcher::HeaderView;
use super::super::normalize;
use super::*;
use crate::compile::{Context, route};
use crate::telemetry::Telemetry;
use envoy_types::pb::envoy::config::core::v3::{DataSource, Node, data_source::Specifier};
use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    PathMatcher, StringMatcher, path_matcher, string_matcher::MatchPattern,
};
use prost::Message as _;

fn prefix(prefix: &str) -> pb::RouteMatch {
    pb::RouteMatch {
        path_specifier: Some(pb::route_match::PathSpecifier::Prefix(prefix.into())),
        ..pb::RouteMatch::default()
    }
}

fn to(matcher: pb::RouteMatch, cluster: &str) -> pb::Route {
    let action = pb::RouteAction {
        cluster_specifier: Some(pb::route_action::ClusterSpecifier::Cluster(cluster.into())),
        ..pb::RouteAction::default()
    };
    pb::Route {
        name: cluster.into(),
        r#match: Some(matcher),
        action: Some(pb::route::Action::Route(action)),
        ..pb::Route::default()
    }
}

fn redirects(redirect: pb::RedirectAction) -> pb::Route {
    pb::Route {
        r#match: Some(prefix("/")),
        action: Some(pb::route::Action::Redirect(redirect)),
        ..pb::Route::default()
    }
}

fn table(routes: Vec<pb::Route>, require_tls: i32) -> RouteTable {
    let host = pb::VirtualHost {
        name: "shop".into(),
        domains: vec!["shop.example".into()],
        routes,
        require_tls,
        ..pb::VirtualHost::default()
    };
    let message = pb::RouteConfiguration {
        virtual_hosts: vec![host],
        ignore_port_in_host_matching: true,
        ..pb::RouteConfiguration::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let node = Node::default();
    let telemetry = Telemetry::new(&node, 1);
    let context = Context {
        node: node.into(),
        secrets: Default::default(),
        telemetry,
        control: runtime.handle().clone(),
    };
    route::compile(&message.encode_to_vec(), None, &[], &context).unwrap()
}

fn decide<R>(
    table: &RouteTable,
    filters: &Filters,
    authority: &str,
    path: &str,
    then: impl FnOnce(Plan<'_>) -> R,
) -> R {
    let headers = HeaderMap::new();
    let host = normalize::host(authority, true);
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let view = RequestView {
        header: HeaderView { method: "GET", path, authority, scheme: "http", headers: &headers },
        host: &host,
        path: bare,
        query,
        grpc: false,
        connect: false,
        random: 1,
        client_certificate: false,
    };
    let address = "10.0.0.1:80".parse().unwrap();
    let subject = Subject {
        local: address,
        peer: address,
        direct_peer: address,
        remote: address,
        server_name: None,
        certificate: None,
        request: None,
    };
    then(plan(table, filters, &view, &Ground { subject, secure: false, internal: true }))
}

fn step(table: &RouteTable, authority: &str, path: &str) -> String {
    decide(table, &Filters::default(), authority, path, |plan| match plan.step {
        Step::Forward(_) => plan.route.unwrap().name.to_string(),
        Step::Redirect(status, location) => format!("{} {location}", status.as_u16()),
        Step::Secure(location) => format!("secure {location}"),
        other => format!("{other:?}"),
    })
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let table =
        table(vec![to(prefix("/api"), "api"), to(prefix("/api/v2"), "never"), to(prefix("/"), "web")], 0);
    assert_eq!(step(&table, "shop.example", "/api/v2"), "api");
    assert_eq!(step(&table, "Shop.Example:8080", "/"), "web");
    assert_eq!(step(&table, "other.example", "/"), "NoRoute");
}

#[test]
fn redirects_say_where() {
    let with = |redirect| step(&table(vec![redirects(redirect)], 0), "shop.example:8080", "/a?b=c");
    let https = pb::RedirectAction {
        scheme_rewrite_specifier: Some(pb::redirect_action::SchemeRewriteSpecifier::HttpsRedirect(true)),
        port_redirect: 443,
        ..pb::RedirectAction::default()
    };
    assert_eq!(with(https), "301 https://shop.example/a?b=c");
    let moved = pb::RedirectAction {
        host_redirect: "new.example".into(),
        response_code: 3,
        strip_query: true,
        path_rewrite_specifier: Some(pb::redirect_action::PathRewriteSpecifier::PathRedirect("/x".into())),
        ..pb::RedirectAction::default()
    };
    assert_eq!(with(moved), "307 http://new.example/x");
    assert_eq!(with(pb::RedirectAction::default()), "301 http://shop.example:8080/a?b=c");
}

#[test]
fn a_host_that_requires_tls_sends_clients_there() {
    let table = table(vec![to(prefix("/"), "web")], 2);
    assert_eq!(step(&table, "shop.example:80", "/a?b"), "secure https://shop.example/a?b");
}

#[test]
fn direct_responses_are_given() {
    let response = pb::DirectResponseAction {
        status: 418,
        body: Some(DataSource {
            specifier: Some(Specifier::InlineString("short".into())),
            ..DataSource::default()
        }),
        ..pb::DirectResponseAction::default()
    };
    let route = pb::Route {
        r#match: Some(prefix("/")),
        action: Some(pb::route::Action::DirectResponse(response)),
        ..pb::Route::default()
    };
    let table = table(vec![route], 0);
    decide(&table, &Filters::default(), "shop.example", "/", |plan| match plan.step {
        Step::Respond(response) => {
            assert_eq!((response.status.as_u16(), &response.body[..]), (418, &b"short"[..]))
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn policy_comes_before_routing() {
    let path =
        StringMatcher { ignore_case: false, match_pattern: Some(MatchPattern::Prefix("/admin".into())) };
    let permission = rbac::Permission {
        rule: Some(rbac::permission::Rule::UrlPath(PathMatcher {
            rule: Some(path_matcher::Rule::Path(path)),
        })),
    };
    let anyone = rbac::Principal { identifier: Some(rbac::principal::Identifier::Any(true)) };
    let policy =
        rbac::Policy { permissions: vec![permission], principals: vec![anyone], ..rbac::Policy::default() };
    let rules = rbac::Rbac {
        action: 1,
        policies: [("ns[default]-policy[no]-rule[0]".to_owned(), policy)].into(),
        ..rbac::Rbac::default()
    };
    let compiled = Rbac::compile_http(&HttpRbac { rules: Some(rules), ..HttpRbac::default() }).unwrap();
    let filters = Filters { rbac: vec![compiled.into()], ..Filters::default() };
    let table = table(vec![to(prefix("/"), "web")], 0);
    for (authority, path, denied) in
        [("shop.example", "/admin/x", true), ("unknown", "/admin", true), ("shop.example", "/", false)]
    {
        decide(&table, &filters, authority, path, |plan| match plan.step {
            Step::Denied(verdict) => {
                assert!(denied, "{path}");
                assert_eq!(
                    verdict.details(),
                    "rbac_access_denied_matched_policy[ns[default]-policy[no]-rule[0]]"
                );
            }
            _ => assert!(!denied, "{path}"),
        });
    }
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    let mut message = pb::RouteConfiguration::default();
    let mut route = to(prefix("/"), "web");
    if let Some(pb::route::Action::Route(action)) = &mut route.action {
        action.priority = 1;
    }
    message.virtual_hosts.push(pb::VirtualHost {
        domains: vec!["*".into()],
        routes: vec![route],
        ..pb::VirtualHost::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let node = Node::default();
    let telemetry = Telemetry::new(&node, 1);
    let context = Context {
        node: node.into(),
        secrets: Default::default(),
        telemetry,
        control: runtime.handle().clone(),
    };
    let error = route::compile(&message.encode_to_vec(), None, &[], &context).unwrap_err();
    assert_eq!(error.field, "virtual_hosts[0].routes[0].route.priority");
}
