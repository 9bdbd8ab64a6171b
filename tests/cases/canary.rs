//! The sheet's second manifest: 99 and 1.

use crate::support::{Mesh, eventually, text};
use anyhow::ensure;
use std::process::Stdio;

const REQUESTS: u32 = 10_000;

/// `kubectl exec` of curl in the meshed client, for `count` requests to payments.
fn requests(mesh: &Mesh, pod: &str, count: u32, extra: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("kubectl");
    command.env("KUBECONFIG", mesh.folder().join("state/kubeconfig"));
    command.args(["exec", pod, "-c", "app", "--", "curl", "--silent", "--show-error", "--max-time", "120"]);
    command.args(extra).arg(format!("http://payments/?n=[1-{count}]"));
    command
}

/// The bound that holds the split: five standard deviations of the binomial distribution, which a
/// fair split misses less than once in a million runs.
fn bound(requests: u32, share: f64) -> f64 {
    5.0 * (f64::from(requests) * share * (1.0 - share)).sqrt()
}

pub fn one_percent(mesh: &Mesh) -> anyhow::Result<()> {
    mesh.apply_sheet("2-canary.yaml")?;
    for deployment in ["payments-v1", "payments-v2"] {
        mesh.kubectl(&["rollout", "status", &format!("deployment/{deployment}"), "--timeout=120s"])?;
    }
    let client = mesh.pod("default", "app=client")?;
    eventually("payments to answer", || {
        let output = requests(mesh, &client, 1, &["--fail"]).output()?;
        ensure!(output.status.success(), "{}", text(&output.stderr));
        Ok(())
    })?;
    let output = requests(mesh, &client, REQUESTS, &["--fail"]).stdin(Stdio::null()).output()?;
    let answers = text(&output.stdout);
    ensure!(output.status.success(), "{}", text(&output.stderr));
    let of = |version: &str| answers.matches(&format!("\"version\": \"{version}\"")).count();
    let (stable, canary) = (of("v1"), of("v2"));
    ensure!(stable + canary == REQUESTS as usize, "{stable} + {canary} of {REQUESTS} answered");
    let expected = f64::from(REQUESTS) / 100.0;
    let off = (canary as f64 - expected).abs();
    ensure!(off <= bound(REQUESTS, 0.01), "{canary} of {REQUESTS} went to the canary");
    Ok(())
}

/// As ArgoCD would: the weights are patched while requests run.
pub fn changed_weight(mesh: &Mesh) -> anyhow::Result<()> {
    let client = mesh.pod("default", "app=client")?;
    let codes = ["--output", "/dev/null", "--write-out", "%{http_code}\\n"];
    let mut load = requests(mesh, &client, 4_000, &codes);
    let load = load.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    for canary in [10, 50, 90, 100] {
        let patch = format!(
            r#"[{{"op":"replace","path":"/spec/http/0/route/0/weight","value":{}}},
                {{"op":"replace","path":"/spec/http/0/route/1/weight","value":{canary}}}]"#,
            100 - canary
        );
        mesh.kubectl(&["patch", "virtualservice", "payments", "--type=json", "-p", &patch])?;
    }
    let output = load.wait_with_output()?;
    let codes = text(&output.stdout);
    ensure!(codes.lines().count() == 4_000, "{} answers; {}", codes.lines().count(), text(&output.stderr));
    let failed: Vec<&str> = codes.lines().filter(|code| *code != "200").collect();
    ensure!(failed.is_empty(), "{} requests failed: {failed:?}", failed.len());
    eventually("all requests to go to the canary", || {
        let output = requests(mesh, &client, 100, &["--fail"]).output()?;
        let answers = text(&output.stdout);
        ensure!(answers.matches("\"version\": \"v2\"").count() == 100, "{answers}");
        Ok(())
    })
}
