//! Clients that send nonsense, send half of something, or send nothing: on every port.

use super::traffic::{NAMESPACE, networking, prepare, statuses};
use crate::support::{Mesh, eventually, text};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Opens connections to every address it is given, with each kind of bad beginning, and holds them until
/// its standard input ends.
const CROWD: &str = r#"
import os, socket, sys
BEGINNINGS = [
    b'',
    os.urandom(4096),
    b'\x00' * 4096,
    bytes.fromhex('1603010200010001fc0303'),
    bytes.fromhex('16030100050100000100'),
    b'GET / HTTP/1.1\r\nhost: a\r\nx: ',
    b'GET / HTTP/1.1\r\nhost: a\r\nx: ' + b'y' * 100000 + b'\r\n\r\n',
    b'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    b'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n',
    b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + os.urandom(512),
]
held = []
for address in sys.argv[1:]:
    host, port = address.rsplit(':', 1)
    for beginning in BEGINNINGS * 3:
        connection = socket.create_connection((host, int(port)), 10)
        connection.settimeout(1)
        try:
            connection.sendall(beginning)
        except OSError:
            pass
        held.append(connection)
print('held', flush=True)
sys.stdin.read()
"#;

/// A running crowd; it leaves when this is dropped.
struct Crowd(Child);

impl Crowd {
    fn gather(mut command: Command, addresses: &[String]) -> anyhow::Result<Self> {
        command.args(["python3", "-c", CROWD]).args(addresses);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        let crowd = Self(child);
        let line =
            BufReader::new(output).lines().next().with_context(|| format!("no crowd at {addresses:?}"))??;
        ensure!(line == "held", "{line}");
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub fn bounded(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    open_plain_port(mesh)?;
    let in_pod = |namespace: &str| {
        mesh.kubectl_command(&["exec", "-i", "-n", namespace, "deploy/client", "-c", "app", "--"])
    };
    let at = |address: &str, ports: &[u16]| {
        ports.iter().map(|port| format!("{address}:{port}")).collect::<Vec<_>>()
    };
    let sidecar = address(mesh, NAMESPACE, "app=server,version=v1")?;
    let control = address(mesh, "istio-system", "app=istiod")?;
    let gateway = address(mesh, "istio-system", "istio=ingressgateway")?;
    let mut inside = at(&sidecar, &[8080, 15001, 15006, 15020, 15021, 15090]);
    inside.extend(at(&control, &[15010, 15012, 15014, 15017]));
    inside.extend(at(&gateway, &[8080, 8443, 15021, 15090]));

    let api = mesh.api_address()?;
    let dashboard = mesh.published("istio-system", "mizzen-dashboard", 20001)?;
    let collector = mesh.published("istio-system", "mizzen-dashboard", 4317)?;
    let mut outside = at("127.0.0.1", &gateway_ports(mesh)?);
    outside.extend(at("127.0.0.1", &[dashboard, collector]));
    outside.push(api);

    let crowds = [
        // Without a sidecar, at the ports themselves; with one, through its outbound port 15001.
        Crowd::gather(in_pod("mynamespace"), &inside)?,
        Crowd::gather(in_pod(NAMESPACE), &at("server", &[80, 7070, 9000]))?,
        Crowd::gather(Command::new("env"), &outside)?,
    ];
    all_answers(mesh)?;
    drop(crowds);
    all_answers(mesh)?;
    let pods = mesh.kubectl(&["get", "pods", "-A", "--no-headers"])?;
    let restarted =
        pods.lines().find(|line| line.split_whitespace().nth(4).is_some_and(|count| count != "0"));
    ensure!(restarted.is_none(), "a container was restarted: {restarted:?}");
    Ok(())
}

/// The gateway's plain port serves HTTP, which it does not before somebody asks for it.
fn open_plain_port(mesh: &Mesh) -> anyhow::Result<()> {
    networking(
        mesh,
        "Gateway",
        "plain",
        &json!({"selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["plain.example.com"]}]}),
    )?;
    let [plain, _] = gateway_ports(mesh)?;
    eventually("the gateway's plain port", || {
        let answer = raw(plain, b"GET / HTTP/1.1\r\nhost: plain.example.com\r\nconnection: close\r\n\r\n")?;
        ensure!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        Ok(())
    })
}

fn gateway_ports(mesh: &Mesh) -> anyhow::Result<[u16; 2]> {
    let port = |port| mesh.published("istio-system", "istio-ingressgateway", port);
    Ok([port(80)?, port(443)?])
}

fn address(mesh: &Mesh, namespace: &str, selector: &str) -> anyhow::Result<String> {
    let pod = mesh.get(&["-n", namespace, "pod", &mesh.pod(namespace, selector)?])?;
    Ok(pod["status"]["podIP"].as_str().context("a pod without an address")?.to_owned())
}

/// Gateway, sidecars, control plane and API serve everybody else.
fn all_answers(mesh: &Mesh) -> anyhow::Result<()> {
    let found = statuses(mesh, "http://server/", 50)?;
    ensure!(found.len() == 50 && found.iter().all(|status| status == "200"), "between sidecars: {found:?}");
    super::ingress::answers(mesh)?;
    // The control plane takes a change, and the proxies get it.
    mesh.kubectl(&["scale", "-n", NAMESPACE, "deployment/server-v2", "--replicas=2"])?;
    mesh.kubectl(&["rollout", "status", "-n", NAMESPACE, "deployment/server-v2", "--timeout=60s"])?;
    mesh.kubectl(&["scale", "-n", NAMESPACE, "deployment/server-v2", "--replicas=1"])?;
    eventually("every proxy in step", || {
        let table = mesh.mizzen(&["proxy-status", "--format", "classic"])?;
        ensure!(table.lines().count() > 3 && !table.contains("STALE"), "{table}");
        Ok(())
    })
}

/// The gateway says what is wrong and closes, and the log tells of it.
pub fn logged(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    open_plain_port(mesh)?;
    let [plain, _] = gateway_ports(mesh)?;
    let long = format!("GET /garbage HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    for (sent, status) in [("\u{1}\u{2} no HTTP at all\r\n\r\n", "400"), (&long, "431")] {
        let answer = raw(plain, sent.as_bytes())?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status} expected: {answer}");
    }
    eventually("the lines of the gateway's log", || {
        let log =
            mesh.kubectl(&["logs", "-n", "istio-system", "deploy/istio-ingressgateway", "--tail=400"])?;
        for status in ["400", "431"] {
            ensure!(
                log.lines().any(|line| line.contains(&format!(" {status} DPE "))),
                "no {status} DPE in:\n{log}"
            );
        }
        Ok(())
    })?;
    mesh.kubectl(&["delete", "-n", NAMESPACE, "gateway.networking.istio.io/plain"])?;
    Ok(())
}

/// Clients that send half of something are cut off at every published port, and the log of who did it tells of it.
pub fn slow(mesh: &Mesh) -> anyhow::Result<()> {
    const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    prepare(mesh)?;
    // Its TLS port serves, whatever became of it before.
    super::ingress::answers(mesh)?;
    let [_, gateway] = gateway_ports(mesh)?;
    let published = |port| mesh.published("istio-system", "mizzen-dashboard", port);
    let api = mesh.api_address()?;
    let at = |port: u16| format!("127.0.0.1:{port}");
    // All at once: each is given up only after some seconds.
    let halves = [
        (at(gateway), HALF_A_HELLO),
        (api, HALF_A_HELLO),
        (at(published(20001)?), b"GET / HTTP/1.1\r\nhost: a\r\nx: "),
        (at(published(4317)?), b"PRI * HTTP/2.0\r\n"),
    ];
    let held: Vec<(String, TcpStream)> = halves
        .into_iter()
        .map(|(address, half)| {
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(crate::support::PATIENCE))?;
            stream.write_all(half)?;
            Ok((address, stream))
        })
        .collect::<anyhow::Result<_>>()?;
    for (address, mut stream) in held {
        match stream.read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
                anyhow::bail!("{address} waits for the other half: {error}");
            }
            _ => {}
        }
    }
    let log = |deployment: &str| mesh.kubectl(&["logs", "-n", "istio-system", deployment, "--tail=400"]);
    eventually("the lines of the logs", || {
        for (log, lines) in [
            (
                log("deploy/istio-ingressgateway")?,
                &["did not finish within", "nothing to decide by was sent"][..],
            ),
            (
                std::fs::read_to_string(mesh.kubeconfig().with_file_name("mizzen.log"))?,
                &["TLS handshake took longer than"],
            ),
            (log("deploy/mizzen-dashboard")?, &["no whole head of a request"]),
            (log("deploy/mizzen-dashboard")?, &["did not begin a request in time"]),
        ] {
            ensure!(lines.iter().any(|line| log.contains(line)), "none of {lines:?} in:\n{log}");
        }
        Ok(())
    })
}

/// Sends bytes and reads until the other side closes.
fn raw(port: u16, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(crate::support::PATIENCE))?;
    // It may be refused before all of it is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(text(&answer))
}
