//! What makes a Gateway valid.

use std::net::IpAddr;

use super::{
    findings::Findings,
    names::{check_labels, check_port, check_protocol, check_scoped_host},
    tls::check_server_tls,
};
use crate::networking::{Gateway, Server, ServerTls};

pub(super) fn check(spec: &Gateway, findings: &mut Findings) {
    if spec.servers.is_empty() {
        findings.error("spec.servers", "is required; a Gateway without servers opens no port");
    }
    if spec.selector.is_empty() {
        findings.warning("spec.selector", "is empty, so every gateway proxy of the mesh opens these ports");
    }
    check_labels(&spec.selector, "spec.selector", findings);
    for (index, server) in spec.servers.iter().enumerate() {
        check_server(server, &format!("spec.servers[{index}]"), findings);
    }
    let port_name = |server: &Server| Some(server.port.name.clone()).filter(|name| !name.is_empty());
    findings.unique(&spec.servers, port_name, |i| format!("spec.servers[{i}].port.name"), "the port name");
    findings.unique(
        &spec.servers,
        |server| server.name.clone(),
        |i| format!("spec.servers[{i}].name"),
        "the name",
    );
}

fn check_server(server: &Server, path: &str, findings: &mut Findings) {
    check_port(server.port.number, &format!("{path}.port.number"), findings);
    check_protocol(&server.port.protocol, &format!("{path}.port.protocol"), findings);
    if server.port.name.is_empty() {
        findings.error(format!("{path}.port.name"), "is required; name the port");
    }
    if server.port.target_port.is_some() {
        findings
            .warning(format!("{path}.port.targetPort"), "is not used here; the Service's targetPort counts");
    }
    if server.hosts.is_empty() {
        findings.error(format!("{path}.hosts"), "is required; \"*\" serves every host");
    }
    for (index, host) in server.hosts.iter().enumerate() {
        check_scoped_host(host, &["*", "."], false, &format!("{path}.hosts[{index}]"), findings);
    }
    findings.unique(
        &server.hosts,
        |host| Some(host.to_lowercase()),
        |i| format!("{path}.hosts[{i}]"),
        "the host",
    );
    if let Some(bind) = &server.bind
        && bind.parse::<IpAddr>().is_err()
        && !bind.starts_with("unix://")
    {
        findings.error(format!("{path}.bind"), format!("{bind:?} is not an IP address"));
    }
    check_tls(server, path, findings);
}

fn check_tls(server: &Server, path: &str, findings: &mut Findings) {
    let ends_tls = ["HTTPS", "TLS"].iter().any(|tls| tls.eq_ignore_ascii_case(&server.port.protocol));
    match &server.tls {
        None if ends_tls => {
            let message =
                format!("is required for protocol {}; set a mode and credentialName", server.port.protocol);
            findings.error(format!("{path}.tls"), message);
        }
        None => {}
        Some(tls) if ends_tls => {
            check_server_tls(tls, &format!("{path}.tls"), findings);
            if tls.https_redirect {
                let message = "is for ports of protocol HTTP; set it on the server of port 80";
                findings.error(format!("{path}.tls.httpsRedirect"), message);
            }
        }
        // All that a plain port can say of TLS is that clients are sent to another port.
        Some(tls) => {
            let redirect_only = ServerTls { https_redirect: tls.https_redirect, ..ServerTls::default() };
            if *tls != redirect_only {
                let message = format!(
                    "cannot be used on a port of protocol {}; change the protocol to HTTPS or TLS",
                    server.port.protocol
                );
                findings.error(format!("{path}.tls"), message);
            }
        }
    }
}
