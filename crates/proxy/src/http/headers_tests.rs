use super::*;
use std::time::Duration;

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn a_client_cannot_nominate_mesh_headers_for_removal() {
    let mut headers = map(&[
        ("connection", "keep-alive, x-secret, X-Forwarded-Client-Cert, authorization"),
        ("x-secret", "1"),
        ("x-forwarded-client-cert", "By=a"),
        ("authorization", "Bearer x"),
        ("te", "gzip, trailers"),
        ("upgrade", "h2c"),
    ]);
    strip_hop_by_hop(&mut headers);
    assert!(
        !headers.contains_key("connection")
            && !headers.contains_key("x-secret")
            && !headers.contains_key("upgrade")
    );
    assert!(headers.contains_key("x-forwarded-client-cert") && headers.contains_key("authorization"));
    assert_eq!(headers["te"], "trailers");
}

#[test]
fn the_edge_believes_no_envoy_header() {
    let mut headers = map(&[("x-envoy-retry-on", "5xx"), ("x-envoy-peer-metadata", "x"), ("x-other", "1")]);
    assert!(survey(&headers).envoy);
    strip_at_edge(&mut headers);
    assert_eq!(headers.len(), 1);
}

#[test]
fn grpc_is_recognised_by_its_content_type() {
    for (value, wanted) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        assert_eq!(is_grpc(&map(&[("content-type", value)])), wanted, "{value}");
    }
}

#[test]
fn grpc_timeouts_have_units() {
    assert_eq!(grpc_timeout(&map(&[("grpc-timeout", "1500m")])), Some(Duration::from_millis(1500)));
    assert_eq!(grpc_timeout(&map(&[("grpc-timeout", "2S")])), Some(Duration::from_secs(2)));
    for bad in ["S", "123456789S", "5x", "-1S"] {
        assert_eq!(grpc_timeout(&map(&[("grpc-timeout", bad)])), None, "{bad}");
    }
}

#[test]
fn an_upgrade_needs_both_headers() {
    assert_eq!(
        upgrade_type(&map(&[("connection", "Upgrade"), ("upgrade", "WebSocket")])).as_deref(),
        Some("websocket")
    );
    assert_eq!(upgrade_type(&map(&[("upgrade", "websocket")])), None);
}
