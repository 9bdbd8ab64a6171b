//! One request through the gateway and two sidecars is one trace, whichever headers carry it.

use super::traffic::{NAMESPACE, networking, prepare, service};
use crate::support::{Mesh, checked, echo, eventually};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// An application that calls the server and, as applications must, hands the trace's headers on.
const RELAY: &str = r#"
import http.server, urllib.request
KEPT = ['traceparent', 'tracestate', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'x-request-id']
class Relay(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kept = {name: self.headers[name] for name in KEPT if name in self.headers}
        answer = urllib.request.urlopen(urllib.request.Request('http://server/', headers=kept), timeout=10).read()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)
http.server.ThreadingHTTPServer(('0.0.0.0', 8080), Relay).serve_forever()
"#;

const HOST: &str = "relay.example.com";

pub fn one_trace(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    let mut relay: Value = serde_json::from_str(&echo(NAMESPACE, "relay", "relay", "v1", 1))?;
    let container = &mut relay["spec"]["template"]["spec"]["containers"][0];
    container["image"] = "host/python3".into();
    container["command"] = json!(["python3", "-c", RELAY]);
    container["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    mesh.apply(&relay.to_string())?;
    mesh.apply(&service("relay", &[("http", 80)]))?;
    networking(
        mesh,
        "Gateway",
        "relay",
        &json!({"selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [HOST]}]}),
    )?;
    networking(
        mesh,
        "VirtualService",
        "relay",
        &json!({"hosts": [HOST], "gateways": ["relay"], "http": [{"route": [{"destination": {"host": "relay"}}]}]}),
    )?;
    mesh.available(NAMESPACE)?;

    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let answer = call(mesh, &[&format!("traceparent: 00-{trace}-{span}-01"), "tracestate: vendor=kept"])?;
    let context = answer["headers"]["traceparent"].as_str().unwrap_or_default();
    ensure!(context.starts_with(&format!("00-{trace}-")) && context.ends_with("-01"), "{answer}");
    ensure!(answer["headers"]["tracestate"] == "vendor=kept", "{answer}");
    is_one_trace(mesh, trace, span)?;

    let (trace, span) = ("463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312");
    let b3 = [format!("x-b3-traceid: {trace}"), format!("x-b3-spanid: {span}"), "x-b3-sampled: 1".to_owned()];
    let answer = call(mesh, &b3.each_ref().map(String::as_str))?;
    ensure!(
        answer["headers"]["x-b3-traceid"] == trace && answer["headers"]["x-b3-sampled"] == "1",
        "{answer}"
    );
    is_one_trace(mesh, trace, span)?;

    mesh.kubectl(&["delete", "-n", NAMESPACE, "deployment/relay", "service/relay"])?;
    mesh.kubectl(&["delete", "-n", NAMESPACE, "virtualservice/relay", "gateway.networking.istio.io/relay"])?;
    Ok(())
}

/// A call of the relay through the gateway; the answer is the server's.
fn call(mesh: &Mesh, headers: &[&str]) -> anyhow::Result<Value> {
    let port = mesh.published("istio-system", "istio-ingressgateway", 80)?;
    let answer = eventually("an answer through the gateway", || {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "10",
            "--header",
            &format!("host: {HOST}"),
        ]);
        for header in headers {
            curl.args(["--header", header]);
        }
        checked(curl.arg(format!("http://127.0.0.1:{port}/")))
    })?;
    serde_json::from_str(&answer).context("the server's answer")
}

/// At the collector: the spans of gateway, relay (in and out) and server, each under the one before it.
fn is_one_trace(mesh: &Mesh, trace: &str, caller: &str) -> anyhow::Result<()> {
    let port = mesh.published("istio-system", "mizzen-dashboard", 20001)?;
    eventually("every span of the trace", || {
        let url = format!("http://127.0.0.1:{port}/api/trace/{trace}");
        let spans = checked(Command::new("curl").args(["--silent", "--fail", &url]))?;
        let spans: Vec<Value> = serde_json::from_str(&spans)?;
        let word = |span: &Value, name: &str| span[name].as_str().unwrap_or_default().to_owned();
        let services: BTreeSet<String> = spans.iter().map(|span| word(span, "service")).collect();
        let expected = ["istio-ingressgateway.istio-system", "relay.traffic", "server.traffic"];
        ensure!(services == expected.map(str::to_owned).into(), "{spans:#?}");
        let parents: BTreeMap<String, String> =
            spans.iter().map(|span| (word(span, "id"), word(span, "parent"))).collect();
        ensure!(parents.len() == 4, "{spans:#?}");
        let outside: Vec<&String> =
            parents.values().filter(|parent| !parents.contains_key(*parent)).collect();
        ensure!(outside == [caller], "{spans:#?}");
        Ok(())
    })
}
