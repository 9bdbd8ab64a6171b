//! Certificates that live for seconds are rotated while connections stay open and new ones are made.

use super::traffic::{NAMESPACE, application, prepare, service};
use crate::support::{Mesh, eventually};
use anyhow::{Context as _, ensure};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

/// For each line read: a request on a kept connection, bytes on a kept TCP connection, and a request on
/// a new connection. Prints `ok` or what failed.
const CALLER: &str = r#"
import http.client, socket, sys
kept = http.client.HTTPConnection('rotating', 80, timeout=10)
kept.connect()
kept.auto_open = 0
plain = socket.create_connection(('rotating', 9000), 10)
def get(connection):
    connection.request('GET', '/')
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
for line in sys.stdin:
    try:
        get(kept)
        plain.sendall(b'\x01 ping')
        assert plain.recv(100) == b'\x01 ping'
        new = http.client.HTTPConnection('rotating', 80, timeout=10)
        get(new)
        new.close()
        print('ok', flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"#;

pub fn under_load(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    mesh.apply(&service("rotating", &[("http", 80), ("tcp", 9000)]))?;
    for name in ["rotating", "rotating-caller"] {
        let mut deployment = application(name, name, "v1")?;
        deployment["spec"]["template"]["metadata"]["annotations"]["proxy.istio.io/config"] =
            "proxyMetadata: {SECRET_TTL: 10s}".into();
        mesh.apply(&deployment.to_string())?;
    }
    mesh.available(NAMESPACE)?;
    let before = serials(mesh)?;

    let caller =
        ["exec", "-i", "-n", NAMESPACE, "deploy/rotating-caller", "-c", "app", "--", "python3", "-c", CALLER];
    let mut caller = mesh.kubectl_command(&caller).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = caller.stdin.take().context("no standard input")?;
    let mut answers = BufReader::new(caller.stdout.take().context("no standard output")?).lines();
    let mut calls = 0;
    let rotated = eventually("other certificates at both ends", || {
        // A failed call ends the test at its end, not the wait.
        writeln!(input, "call")?;
        let answer = answers.next().context("the caller ended")??;
        calls += 1;
        if answer != "ok" {
            return Ok(Err(answer));
        }
        let now = serials(mesh)?;
        ensure!(now.iter().zip(&before).all(|(now, before)| now != before), "still {now:?}");
        Ok(Ok(()))
    })?;
    drop(input);
    caller.wait()?;
    ensure!(rotated.is_ok(), "call {calls} failed: {rotated:?}");
    mesh.kubectl(&[
        "delete",
        "-n",
        NAMESPACE,
        "deployment/rotating",
        "deployment/rotating-caller",
        "service/rotating",
    ])?;
    Ok(())
}

/// Serial numbers of the certificates in use, at the called and the calling end.
fn serials(mesh: &Mesh) -> anyhow::Result<Vec<String>> {
    let serial = |target: &str| {
        let table = mesh.mizzen(&["proxy-config", "secret", target, "-n", NAMESPACE])?;
        let row = table.lines().find(|line| line.starts_with("default "));
        let row = row.with_context(|| format!("no certificate in:\n{table}"))?;
        let serial = row.split_whitespace().find(|word| word.len() == 32);
        Ok(serial.with_context(|| format!("no serial number in: {row}"))?.to_owned())
    };
    ["deploy/rotating", "deploy/rotating-caller"].into_iter().map(serial).collect()
}
