use super::*;

#[test]
fn names_and_app_protocols_declare_what_a_port_speaks() {
    let cases = [
        (80, "http", None, None, Protocol::Http),
        (80, "http-web", None, None, Protocol::Http),
        (80, "HTTP2-api", None, None, Protocol::Http2),
        (80, "grpc-web-ui", None, None, Protocol::GrpcWeb),
        (80, "grpc-api", None, None, Protocol::Grpc),
        (80, "http", Some("tcp"), None, Protocol::Tcp),
        (80, "web", Some("kubernetes.io/h2c"), None, Protocol::Http2),
        (80, "web", Some("kubernetes.io/wss"), None, Protocol::Https),
        (80, "web", Some("kubernetes.io/ws"), None, Protocol::Http),
        (80, "", None, None, Protocol::Unsupported),
        (3306, "", None, None, Protocol::Tcp),
        (3306, "http", None, None, Protocol::Http),
        (53, "http", None, Some("UDP"), Protocol::Udp),
        (80, "web", Some("example.com/custom"), None, Protocol::Unsupported),
    ];
    for (port, name, app_protocol, transport, expected) in cases {
        let found = Protocol::of_port(port, name, app_protocol, transport);
        assert_eq!(found, expected, "port {port} named {name:?} with appProtocol {app_protocol:?}");
    }
}
