//! The sheet's fifth manifest, and the standard metrics.

use crate::support::{Mesh, eventually};
use anyhow::ensure;
use regex::Regex;

pub fn istios_format(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply_sheet("5-access-logs.yaml")?;
    let client = mesh.pod("default", "app=client")?;
    // The fields of Istio's default line, in order, quotes and all: log parsers hold on to them.
    let line = Regex::new(concat!(
        r#"^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "GET /logged HTTP/\d(\.\d)?" 200 - via_upstream - "-" "#,
        r#"\d+ \d+ \d+ \d+ "-" "curl/[^"]*" "[0-9a-f-]{36}" "payments" "\d+\.\d+\.\d+\.\d+:8080" "#,
        r#"outbound\|80\|v\d\|payments\.default\.svc\.cluster\.local \S+ \S+ \S+ - default$"#
    ))?;
    eventually("a log line", || {
        mesh.kubectl(&[
            "exec",
            &client,
            "-c",
            "app",
            "--",
            "curl",
            "--silent",
            "--fail",
            "http://payments/logged",
        ])?;
        let logs = mesh.kubectl(&["logs", &client, "-c", "istio-proxy", "--tail=50"])?;
        let found = logs.lines().any(|logged| line.is_match(logged));
        ensure!(found, "no line of Istio's format in:\n{logs}");
        Ok(())
    })
}

/// Every label of Istio's, from both ends of one call.
pub fn standard_metrics(mesh: &Mesh) -> anyhow::Result<()> {
    let client = mesh.pod("default", "app=client")?;
    let server = mesh.pod("default", "app=payments,version=v2")?;
    let scrape = |pod: &str, port: u16| {
        let container = if pod == client { "app" } else { "payments" };
        let url = format!("http://127.0.0.1:{port}/stats/prometheus");
        mesh.kubectl(&["exec", pod, "-c", container, "--", "curl", "--silent", "--fail", &url])
    };
    let identity = "spiffe://cluster.local/ns/default/sa/default";
    for (pod, port, labels) in [
        (&client, 15090, vec![("reporter", "source"), ("connection_security_policy", "unknown")]),
        (
            &server,
            15020,
            vec![
                ("reporter", "destination"),
                ("connection_security_policy", "mutual_tls"),
                ("source_principal", identity),
                ("destination_principal", identity),
            ],
        ),
    ] {
        let mut expected = vec![
            ("source_workload", "client"),
            ("source_workload_namespace", "default"),
            ("source_app", "client"),
            ("source_version", "v1"),
            ("source_canonical_service", "client"),
            ("source_cluster", "Kubernetes"),
            ("destination_workload", "payments-v2"),
            ("destination_workload_namespace", "default"),
            ("destination_app", "payments"),
            ("destination_version", "v2"),
            ("destination_service", "payments.default.svc.cluster.local"),
            ("destination_service_name", "payments"),
            ("destination_service_namespace", "default"),
            ("destination_canonical_service", "payments"),
            ("destination_canonical_revision", "v2"),
            ("destination_cluster", "Kubernetes"),
            ("request_protocol", "http"),
            ("response_code", "200"),
            ("response_flags", "-"),
        ];
        expected.extend(labels);
        eventually("the metric of a call", || {
            let text = scrape(pod, port)?;
            let has = |line: &str| {
                line.starts_with("istio_requests_total{")
                    && expected.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
            };
            ensure!(
                text.lines().any(has),
                "no istio_requests_total with {expected:?} in:\n{}",
                text.lines()
                    .filter(|line| line.starts_with("istio_requests_total"))
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            for name in [
                "istio_request_duration_milliseconds_bucket",
                "istio_request_bytes_sum",
                "istio_response_bytes_sum",
            ] {
                ensure!(text.contains(name), "no {name}");
            }
            Ok(())
        })?;
    }
    Ok(())
}
