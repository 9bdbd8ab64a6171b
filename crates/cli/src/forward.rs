//! Forwarding a local port to a port of a pod, through the API server, until Ctrl-C.

use crate::access::Access;
use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// A local listener and the pod behind it.
pub struct Forward {
    listener: TcpListener,
    pods: Api<Pod>,
    pod: String,
    port: u16,
}

impl Forward {
    /// Listens on `address` at `local_port`; without one, at the pod's own port where that is free
    /// and at any other where it is not.
    pub async fn bind(
        access: &Access,
        (namespace, pod): (&str, &str),
        port: u16,
        address: &str,
        local_port: Option<u16>,
    ) -> anyhow::Result<Self> {
        let listener = match local_port {
            Some(local) => TcpListener::bind((address, local))
                .await
                .with_context(|| format!("cannot listen on {address}:{local}"))?,
            None => match TcpListener::bind((address, port)).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind((address, 0))
                    .await
                    .with_context(|| format!("cannot listen on {address}"))?,
            },
        };
        Ok(Self {
            listener,
            pods: Api::namespaced(access.client.clone(), namespace),
            pod: pod.to_owned(),
            port,
        })
    }

    /// The local address.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves connections until Ctrl-C.
    pub async fn run(self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted.context("the local listener failed")?;
                    let (pods, pod, port) = (self.pods.clone(), self.pod.clone(), self.port);
                    tokio::spawn(async move {
                        if let Err(error) = relay(stream, &pods, &pod, port).await {
                            eprintln!("a forwarded connection ended: {error:#}");
                        }
                    });
                }
                interrupted = tokio::signal::ctrl_c() => {
                    return interrupted.context("cannot wait for Ctrl-C");
                }
            }
        }
    }
}

async fn relay(mut local: TcpStream, pods: &Api<Pod>, pod: &str, port: u16) -> anyhow::Result<()> {
    let mut forwarder = pods
        .portforward(pod, &[port])
        .await
        .with_context(|| format!("cannot reach port {port} of pod {pod}"))?;
    let mut remote = forwarder.take_stream(port).context("the API server forwarded no stream")?;
    // Either side may close first; a reset is an ordinary end of a browser's connection.
    let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
    Ok(())
}
