//! What is not plain HTTP/1.1: gRPC, WebSocket, TCP and TLS that is not ours to open.

use super::traffic::{IDENTITY, NAMESPACE, in_client, metrics, networking, prepare, service};
use crate::support::{Mesh, certificate, checked, eventually, https_server, tls_secret};
use anyhow::{anyhow, ensure};
use serde_json::json;
use std::net::TcpStream;
use std::process::Command;
use tokio_tungstenite::tungstenite::{Message, client};

/// A unary call with an empty message, by curl: five bytes are the frame of gRPC.
fn call(method: &str, extra: &str) -> String {
    format!(
        "printf '\\000\\000\\000\\000\\000' | curl --silent --show-error --max-time 10 --http2-prior-knowledge --include \
         --header 'content-type: application/grpc' --header 'te: trailers' {extra} --data-binary @- \
         http://server:7070/{method}"
    )
}

pub fn grpc(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    eventually("an answer with its trailers", || {
        let answer = in_client(mesh, &call("mizzen.echo.v1.Echo/Describe", ""))?;
        ensure!(answer.contains("content-type: application/grpc"), "{answer}");
        ensure!(answer.contains(&format!("URI={IDENTITY}")), "no mutual TLS: {answer}");
        ensure!(answer.contains("grpc-status: 0"), "{answer}");
        Ok(())
    })?;
    let refused = in_client(mesh, &call("any.Service/Method", "--header 'x-echo-status: 5'"))?;
    ensure!(refused.contains("grpc-status: 5"), "{refused}");
    eventually("the metrics of gRPC", || {
        let metrics = metrics(mesh, "deploy/client")?;
        for status in ["0", "5"] {
            let status = format!("grpc_response_status=\"{status}\"");
            let counted = |line: &&str| {
                line.starts_with("istio_requests_total{")
                    && line.contains("request_protocol=\"grpc\"")
                    && line.contains(&status)
            };
            ensure!(metrics.lines().any(|line| counted(&line)), "no istio_requests_total with {status}");
        }
        Ok(())
    })
}

pub fn websocket(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    let host = "traffic.example.com";
    networking(
        mesh,
        "Gateway",
        "plain",
        &json!({"selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [host]}]}),
    )?;
    networking(
        mesh,
        "VirtualService",
        "socket",
        &json!({"hosts": [host], "gateways": ["plain"],
            "http": [{"route": [{"destination": {"host": "server", "port": {"number": 80}}}]}]}),
    )?;
    let port = mesh.published("istio-system", "istio-ingressgateway", 80)?;
    let (mut socket, answer) = eventually("the WebSocket to open", || {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        client(format!("ws://{host}/socket"), stream).map_err(|error| anyhow!("{error}"))
    })?;
    ensure!(answer.status() == 101, "{answer:?}");
    for message in [Message::text("over the mesh"), Message::binary(vec![0_u8; 70_000])] {
        socket.send(message.clone())?;
        let echoed = socket.read()?;
        ensure!(echoed == message, "another message came back");
    }
    socket.close(None)?;
    while socket.read().is_ok() {}
    mesh.kubectl(&["delete", "-n", NAMESPACE, "virtualservice/socket", "gateway.networking.istio.io/plain"])?;
    Ok(())
}

/// Says a line that is no HTTP and prints what comes back.
const TALK: &str = "python3 -c \"
import socket
connection = socket.create_connection(('server', 9000), 10)
connection.sendall(b'\\\\x01 plain bytes')
print(connection.recv(100))\"";

pub fn tcp(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    eventually("the bytes to come back", || {
        let echoed = in_client(mesh, TALK)?;
        ensure!(echoed.contains("plain bytes"), "{echoed}");
        Ok(())
    })?;
    eventually("the metric of a connection under mutual TLS", || {
        let both = format!("{}{}", metrics(mesh, "deploy/server-v1")?, metrics(mesh, "deploy/server-v2")?);
        let counted = |line: &&str| {
            line.starts_with("istio_tcp_connections_opened_total{")
                && line.contains("connection_security_policy=\"mutual_tls\"")
                && line.contains(&format!("source_principal=\"{IDENTITY}\""))
        };
        ensure!(
            both.lines().any(|line| counted(&line)),
            "no istio_tcp_connections_opened_total under mutual TLS"
        );
        Ok(())
    })
}

pub fn tls_passthrough(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    let host = "secure.example.com";
    let pair = certificate(host)?;
    mesh.apply(&tls_secret(NAMESPACE, "secure-tls", &pair))?;
    mesh.apply(&https_server(NAMESPACE, "secure", "secure-tls", 8080))?;
    mesh.apply(&service("secure", &[("tls", 443)]))?;
    mesh.kubectl(&["wait", "-n", NAMESPACE, "pod/secure", "--for=condition=Ready", "--timeout=60s"])?;
    networking(
        mesh,
        "Gateway",
        "through",
        &json!({"selector": {"istio": "ingressgateway"}, "servers": [{"hosts": [host],
            "port": {"number": 443, "name": "tls", "protocol": "TLS"}, "tls": {"mode": "PASSTHROUGH"}}]}),
    )?;
    networking(
        mesh,
        "VirtualService",
        "through",
        &json!({"hosts": [host], "gateways": ["through"], "tls": [{"match": [{"port": 443, "sniHosts": [host]}],
            "route": [{"destination": {"host": "secure", "port": {"number": 443}}}]}]}),
    )?;
    let authority = mesh.folder().join("secure.pem");
    std::fs::write(&authority, &pair.0)?;
    let port = mesh.published("istio-system", "istio-ingressgateway", 443)?;
    // Only the application has the key to this certificate.
    let answer = eventually("an answer from the application itself", || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "10"]);
        curl.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]).arg("--cacert").arg(&authority);
        checked(curl.arg(format!("https://{host}:{port}/")))
    })?;
    ensure!(answer == "from secure\n", "{answer}");
    mesh.kubectl(&[
        "delete",
        "-n",
        NAMESPACE,
        "virtualservice/through",
        "gateway.networking.istio.io/through",
    ])?;
    mesh.kubectl(&["delete", "-n", NAMESPACE, "pod/secure", "service/secure"])?;
    Ok(())
}
