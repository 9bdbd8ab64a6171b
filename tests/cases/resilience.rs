//! Timeouts, retries, circuit breaking and outlier ejection between sidecars.

use super::traffic::{NAMESPACE, client_log, in_client, networking, prepare, service, statuses};
use crate::support::{Mesh, echo, eventually};
use anyhow::ensure;
use serde_json::{Value, json};

fn route(mesh: &Mesh, host: &str, policy: &Value) -> anyhow::Result<()> {
    let mut http = json!({"route": [{"destination": {"host": host}}]});
    if let (Some(http), Some(policy)) = (http.as_object_mut(), policy.as_object()) {
        http.extend(policy.clone());
    }
    networking(mesh, "VirtualService", host, &json!({"hosts": [host], "http": [http]}))
}

fn has(statuses: &[String], status: &str) -> bool {
    statuses.iter().any(|found| found == status)
}

pub fn timeout(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    route(mesh, "server", &json!({"timeout": "0.3s"}))?;
    eventually("504 where the answer takes too long", || {
        let answer = in_client(
            mesh,
            "curl --silent --max-time 5 --write-out ' %{http_code}' 'http://server/?delay=1h'",
        )?;
        ensure!(answer == "upstream request timeout 504", "{answer}");
        Ok(())
    })?;
    let log = client_log(mesh)?;
    ensure!(log.lines().any(|line| line.contains(" 504 UT ")), "no line with flag UT in:\n{log}");
    let quick = statuses(mesh, "http://server/", 1)?;
    ensure!(quick == ["200"], "{quick:?}");
    Ok(())
}

pub fn retries(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    let flaky = "http://server/?fail=30%25";
    route(mesh, "server", &json!({"retries": {"attempts": 0}}))?;
    eventually("failures without retries", || {
        let statuses = statuses(mesh, flaky, 100)?;
        ensure!(has(&statuses, "503"), "{statuses:?}");
        Ok(())
    })?;
    route(mesh, "server", &json!({"retries": {"attempts": 20, "retryOn": "5xx"}}))?;
    eventually("no failure with retries", || {
        let statuses = statuses(mesh, flaky, 100)?;
        ensure!(statuses.len() == 100 && statuses.iter().all(|status| status == "200"), "{statuses:?}");
        Ok(())
    })?;
    mesh.kubectl(&["delete", "-n", NAMESPACE, "virtualservice", "server"])?;
    Ok(())
}

pub fn circuit_breaking(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    networking(
        mesh,
        "DestinationRule",
        "server",
        &json!({"host": "server", "trafficPolicy": {"connectionPool": {
            "tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1}}}}),
    )?;
    // Ten at once: one has the connection, one waits for it, the others are turned away.
    let crowd = "curl --silent --parallel --parallel-immediate --parallel-max 10 --max-time 30 --output /dev/null \
        --write-out '%{http_code} %header{x-envoy-overloaded}\\n' 'http://server/?delay=500ms#[1-10]' || true";
    eventually("some requests to be turned away", || {
        let answers = in_client(mesh, crowd)?;
        let of = |answer: &str| answers.lines().filter(|line| line.trim() == answer).count();
        ensure!(of("200") >= 1 && of("503 true") >= 1 && of("200") + of("503 true") == 10, "{answers}");
        Ok(())
    })?;
    let log = client_log(mesh)?;
    ensure!(log.lines().any(|line| line.contains(" 503 UO ")), "no line with flag UO in:\n{log}");
    mesh.kubectl(&["delete", "-n", NAMESPACE, "destinationrule", "server"])?;
    Ok(())
}

/// Answers everything with 503.
const FAILING: &str = r#"
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(503)
        self.send_header('content-length', '0')
        self.end_headers()
http.server.ThreadingHTTPServer(('0.0.0.0', 8080), Answer).serve_forever()
"#;

pub fn outlier_ejection(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    mesh.apply(&service("mixed", &[("http", 80)]))?;
    mesh.apply(&echo(NAMESPACE, "mixed-good", "mixed", "good", 1))?;
    let mut failing: Value = serde_json::from_str(&echo(NAMESPACE, "mixed-bad", "mixed", "bad", 1))?;
    let container = &mut failing["spec"]["template"]["spec"]["containers"][0];
    container["image"] = "host/python3".into();
    container["command"] = json!(["python3", "-c", FAILING]);
    container["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    mesh.apply(&failing.to_string())?;
    mesh.available(NAMESPACE)?;
    route(mesh, "mixed", &json!({"retries": {"attempts": 0}}))?;
    eventually("the bad endpoint to be heard", || {
        let statuses = statuses(mesh, "http://mixed/", 20)?;
        ensure!(has(&statuses, "503") && has(&statuses, "200"), "{statuses:?}");
        Ok(())
    })?;
    networking(
        mesh,
        "DestinationRule",
        "mixed",
        &json!({"host": "mixed", "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 3,
            "interval": "1s", "baseEjectionTime": "300s", "maxEjectionPercent": 50}}}),
    )?;
    eventually("the bad endpoint to be left out", || {
        let statuses = statuses(mesh, "http://mixed/", 30)?;
        ensure!(statuses.len() == 30 && statuses.iter().all(|status| status == "200"), "{statuses:?}");
        Ok(())
    })?;
    let cluster = "outbound|80||mixed.traffic.svc.cluster.local";
    let endpoints =
        mesh.mizzen(&["proxy-config", "endpoints", "deploy/client", "-n", NAMESPACE, "--cluster", cluster])?;
    let marked = |mark: &str| {
        endpoints.lines().filter(|line| line.split_whitespace().any(|word| word == mark)).count()
    };
    ensure!(marked("FAILED") == 1 && marked("OK") == 1, "{endpoints}");
    mesh.kubectl(&[
        "delete",
        "-n",
        NAMESPACE,
        "deployment/mixed-good",
        "deployment/mixed-bad",
        "service/mixed",
    ])?;
    mesh.kubectl(&["delete", "-n", NAMESPACE, "virtualservice/mixed", "destinationrule/mixed"])?;
    Ok(())
}
