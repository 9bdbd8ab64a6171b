//! What a person does to running pods, with every kubectl that is installed.

use crate::support::kubectl::{self, Kubectl};
use crate::support::{Mesh, checked, eventually, with_input};
use anyhow::{Context as _, ensure};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

pub fn every_one_works(mesh: &Mesh) -> anyhow::Result<()> {
    for kubectl in kubectl::every_one() {
        let hands = Hands { mesh, kubectl: &kubectl, namespace: "poking" };
        hands.poke_around().with_context(|| format!("with {}", kubectl.name))?;
    }
    Ok(())
}

/// One kubectl at work in a namespace of its own.
struct Hands<'m> {
    mesh: &'m Mesh,
    kubectl: &'m Kubectl,
    namespace: &'m str,
}

impl Hands<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl.program);
        command
            .env("KUBECONFIG", self.mesh.kubeconfig())
            .args(["--namespace", self.namespace])
            .args(arguments);
        command
    }

    fn says(&self, arguments: &[&str], expected: &str) -> anyhow::Result<()> {
        let said = checked(&mut self.command(arguments))?;
        ensure!(said.contains(expected), "kubectl {arguments:?} does not say {expected:?}:\n{said}");
        Ok(())
    }

    fn poke_around(&self) -> anyhow::Result<()> {
        self.says(&["create", "namespace", self.namespace], "created")?;
        self.says(&["create", "deployment", "web", "--image=mizzen/echo", "--port=8080"], "created")?;
        self.says(&["expose", "deployment", "web", "--port=80", "--target-port=8080"], "exposed")?;
        self.says(&["rollout", "status", "deployment/web", "--timeout=60s"], "successfully rolled out")?;
        self.says(
            &["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"],
            "condition met",
        )?;
        self.says(&["get", "pods", "-o", "wide"], "Running")?;
        self.says(&["describe", "pods", "-l", "app=web"], "Started container echo")?;
        self.says(&["exec", "deploy/web", "--", "curl", "--silent", "http://web/"], "web-")?;
        self.says(&["logs", "deploy/web"], "listens on")?;
        for target in ["deployment/web", "service/web"] {
            let port = if target.starts_with("service") { "80" } else { "8080" };
            self.forward(target, port).with_context(|| format!("port-forward {target}"))?;
        }
        self.talk_to_a_shell()?;
        self.read_what_has_no_effect()?;
        self.says(&["scale", "deployment/web", "--replicas=0"], "scaled")?;
        self.says(&["delete", "namespace", self.namespace, "--timeout=60s"], "deleted")
    }

    /// A request to a pod, through a port of this machine.
    fn forward(&self, target: &str, port: &str) -> anyhow::Result<()> {
        let mut command = self.command(&["port-forward", "--address=127.0.0.1", target, &format!(":{port}")]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no standard output")?;
        // Held until the end: a closed pipe would end the command with its next line.
        let mut lines = BufReader::new(output).lines();
        let answered = (|| {
            // `Forwarding from 127.0.0.1:40001 -> 8080`
            let line = lines.next().context("no port was opened")??;
            let address =
                line.split(' ').find(|word| word.starts_with("127.0.0.1:")).context(line.clone())?;
            for _ in 0..2 {
                let url = format!("http://{address}/");
                let answer =
                    checked(Command::new("curl").args(["--silent", "--fail", "--max-time", "20", &url]))?;
                ensure!(answer.contains("web-"), "{answer}");
            }
            Ok(())
        })();
        child.kill()?;
        child.wait()?;
        answered
    }

    /// `run -i` attaches to the container's main process.
    fn talk_to_a_shell(&self) -> anyhow::Result<()> {
        let run =
            ["run", "shell", "-i", "--rm", "--quiet", "--restart=Never", "--image=mizzen/echo", "--", "sh"];
        let said = with_input(self.command(&run), "echo it is $((40 + 2))\n")?;
        ensure!(said.contains("it is 42"), "{said}");
        Ok(())
    }

    /// An Event names the fields that this node does not honour.
    fn read_what_has_no_effect(&self) -> anyhow::Result<()> {
        let overrides = r#"{"spec":{"securityContext":{"runAsUser":1},"containers":[{"name":"limited",
            "image":"mizzen/echo","resources":{"limits":{"cpu":"1"}}}]}}"#;
        self.says(&["run", "limited", "--image=mizzen/echo", "--overrides", overrides], "created")?;
        eventually("the Event about fields", || {
            let fields = "spec.containers[0].resources.limits, spec.securityContext.runAsUser";
            self.says(&["get", "events", "--field-selector=reason=FieldNotHonoured"], fields)
        })
    }
}
