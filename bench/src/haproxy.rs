//! HAProxy's configuration for the same work. Its mesh path is a floor to compare with, not the same: no
//! SPIFFE ids (its policy is written against another name in the certificate), no statistics by request.

use crate::bootstrap::Sidecars;
use crate::certificates::Certificates;
use std::net::SocketAddr;

/// Process-wide settings; idle connections stay for longer than any run.
const COMMON: &str = "global
    nbthread 1
    maxconn 9000
    tune.ssl.cachesize 0
    log stdout format raw local0
defaults
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    http-reuse always
";

/// TLS 1.3 without resumption.
const TLS: &str = "ssl-min-ver TLSv1.3 no-tls-tickets";

/// HTTP in, HTTP out.
pub fn hop(
    entry: SocketAddr,
    application: SocketAddr,
    http2_in: bool,
    http2_out: bool,
    tls: Option<&Certificates>,
) -> String {
    let bind = match tls {
        Some(certificates) => {
            format!("ssl crt {} alpn h2,http/1.1 {TLS}", certificates.host.bundle.display())
        }
        None if http2_in => "proto h2".to_owned(),
        None => String::new(),
    };
    let server = if http2_out { "proto h2" } else { "" };
    format!(
        "{COMMON}
frontend entry
    mode http
    bind {entry} {bind}
    option forwardfor
    unique-id-format %[uuid()]
    unique-id-header X-Request-ID
    default_backend app
backend app
    mode http
    server app {application} {server}
"
    )
}

/// Bytes in, bytes out.
pub fn tcp(entry: SocketAddr, application: SocketAddr) -> String {
    format!("{COMMON}\nlisten entry\n    mode tcp\n    bind {entry}\n    server app {application}\n")
}

/// The calling and the called sidecar; HTTP is understood, logged and its caller checked unless `tcp`.
pub fn mesh(at: &Sidecars, certificates: &Certificates, tcp: bool) -> [String; 2] {
    let Sidecars { client, server, application, .. } = at;
    let root = certificates.root.display();
    let mode = if tcp { "tcp" } else { "http" };
    let alpn = if tcp { "" } else { "alpn h2" };
    let http = if tcp {
        String::new()
    } else {
        "    log global
    option httplog
    option forwardfor
    unique-id-format %[uuid()]
    unique-id-header X-Request-ID
"
        .to_owned()
    };
    let policy = if tcp {
        ""
    } else {
        "    acl client ssl_c_s_dn(O) -m str client
    acl admin path_beg /admin
    http-request deny if admin
    http-request deny unless client
"
    };
    let outbound = format!(
        "{COMMON}
listen outbound
    mode {mode}
    bind {client}
{http}    server app {server} ssl verify required ca-file {root} crt {} {alpn} {TLS}
",
        certificates.client.bundle.display()
    );
    let inbound = format!(
        "{COMMON}
listen inbound
    mode {mode}
    bind {server} ssl verify required ca-file {root} crt {} {alpn} {TLS}
{http}{policy}    server app {application}
",
        certificates.server.bundle.display()
    );
    [outbound, inbound]
}
