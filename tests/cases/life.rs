//! How a mesh begins and ends, and what it leaves.

use crate::support::{Mesh, Place, Rung, checked, echo, eventually, is_alive, text, wait_for, with_input};
use anyhow::ensure;
use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

/// `up --detach` with everything it takes, `status`, `down`, and up again.
pub fn detached(rung: Rung) -> anyhow::Result<()> {
    let place = Arc::new(Place::new(rung)?);
    let folder = place.folder().join("manifests");
    std::fs::create_dir(&folder)?;
    let mut hello: serde_json::Value = serde_json::from_str(&echo("default", "hello", "hello", "v1", 1))?;
    let container = &mut hello["spec"]["template"]["spec"]["containers"][0];
    container["image"] = "registry.example.com/team/hello:v1".into();
    container["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    std::fs::write(folder.join("1-hello.json"), hello.to_string())?;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "hello"}, "ports": [{"port": 9090, "targetPort": 8080}]}});
    std::fs::write(folder.join("2-service.json"), service.to_string())?;
    let (port, folder) = (free_port()?.to_string(), folder.display().to_string());
    let publish = format!("{port}:9090");
    let options =
        ["--publish", &publish, "--image", "registry.example.com/team/hello=python3 -m http.server 8080"];

    let mut up = place.mizzen();
    up.args(["up", "--detach", "--state"]).arg(place.state()).args(options).args(["-f", &folder, "-f", "-"]);
    let printed = with_input(up, &config_map("piped"))?;
    ensure!(printed.contains("The mesh is up") && printed.contains("mizzen down"), "{printed}");
    let mesh = Mesh::at(place.clone());
    mesh.kubectl(&["get", "configmap", "piped"])?;
    serves_python(&port)?;
    let status = mesh.mizzen(&["status", "--state", &place.state().display().to_string()])?;
    for expected in ["Sandbox:", "istio-system", "default/hello", &format!("127.0.0.1:{port}")] {
        ensure!(status.contains(expected), "no {expected} in:\n{status}");
    }
    // What is said to the API, not only to `up`, is kept as well.
    mesh.apply(&config_map("applied"))?;
    mesh.down()?;
    let state = place.state().display().to_string();
    let stopped = place.mizzen().args(["status", "--state", &state]).output()?;
    ensure!(!stopped.status.success() && text(&stopped.stderr).contains("no mesh is running"), "{stopped:?}");

    checked(place.mizzen().args(["up", "--detach", "--state", &state]).args(options))?;
    let mesh = Mesh::at(place.clone());
    mesh.kubectl(&["get", "configmap", "piped", "applied"])?;
    serves_python(&port)?;
    mesh.down()
}

/// A port of this machine that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn config_map(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
        .to_string()
}

fn serves_python(port: &str) -> anyhow::Result<()> {
    eventually("the program that stands for the image", || {
        let url = format!("http://127.0.0.1:{port}/");
        let answer = checked(Command::new("curl").args([
            "--silent",
            "--fail",
            "--include",
            "--max-time",
            "10",
            &url,
        ]))?;
        ensure!(answer.contains("SimpleHTTP"), "{answer}");
        Ok(())
    })
}

/// Two meshes know nothing of each other.
pub fn side_by_side(rung: Rung) -> anyhow::Result<()> {
    let (one, other) = (Mesh::start(rung)?, Mesh::start(rung)?);
    one.apply(&config_map("only-here"))?;
    one.kubectl(&["get", "configmap", "only-here"])?;
    other.kubectl_fails(&["get", "configmap", "only-here"])?;
    let gateway = |mesh: &Mesh| mesh.published("istio-system", "istio-ingressgateway", 80);
    ensure!(gateway(&one)? != gateway(&other)?, "both gateways are published at one port");
    one.down()?;
    other.kubectl(&["get", "pods", "-A"])?;
    other.down()
}

/// `kill -9` of `mizzen up`.
pub fn killed(rung: Rung) -> anyhow::Result<()> {
    let place = Arc::new(Place::new(rung)?);
    let before = links()?;
    let mesh = with_an_application(Mesh::start_in(place.clone(), &[])?)?;
    let processes = mesh.processes()?;
    mesh.end_by(Signal::SIGKILL)?;
    nothing_is_left(&place, processes)?;
    ensure!(links()? == before, "network links were left behind: {:?}", links()?);

    let mesh = Mesh::start_in(place, &[])?;
    mesh.kubectl(&["rollout", "status", "deployment/kept", "--timeout=60s"])?;
    let call =
        ["exec", "deploy/kept", "-c", "app", "--", "curl", "--silent", "--fail", "http://127.0.0.1:8080/"];
    let answer = eventually("the application", || mesh.kubectl(&call))?;
    ensure!(answer.contains("\"pod\": \"kept-"), "{answer}");
    mesh.down()
}

/// Ctrl-C.
pub fn interrupted(rung: Rung) -> anyhow::Result<()> {
    let place = Arc::new(Place::new(rung)?);
    let before = links()?;
    let mesh = with_an_application(Mesh::start_in(place.clone(), &[])?)?;
    let processes = mesh.processes()?;
    let gateway = mesh.published("istio-system", "istio-ingressgateway", 80)?;
    mesh.end_by(Signal::SIGINT)?;
    nothing_is_left(&place, processes)?;
    ensure!(links()? == before, "network links were left behind: {:?}", links()?);
    ensure!(std::net::TcpStream::connect(("127.0.0.1", gateway)).is_err(), "port {gateway} is still open");
    ensure!(!place.kubeconfig().exists(), "a kubeconfig of no mesh was left behind");
    Ok(())
}

fn with_an_application(mesh: Mesh) -> anyhow::Result<Mesh> {
    mesh.apply(&echo("default", "kept", "kept", "v1", 1))?;
    mesh.kubectl(&["rollout", "status", "deployment/kept", "--timeout=60s"])?;
    Ok(mesh)
}

fn nothing_is_left(place: &Place, processes: BTreeSet<String>) -> anyhow::Result<()> {
    ensure!(processes.len() > 5, "a mesh has more processes than {processes:?}");
    let mut alive = Vec::new();
    let gone = wait_for("every process to end", || {
        alive = processes.iter().filter(|process| is_alive(process)).collect();
        Ok(alive.is_empty().then_some(()))
    });
    gone.map_err(|error| error.context(format!("processes were left behind: {alive:?}")))?;
    place.is_clean()
}

/// Network links of this machine.
fn links() -> anyhow::Result<BTreeSet<String>> {
    let names = std::fs::read_dir("/sys/class/net")?.map(|link| Ok(link?.file_name().display().to_string()));
    names.collect()
}
