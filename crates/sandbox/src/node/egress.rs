//! The relay to the world outside: accepts what pods send there and has the portal dial it.
//!
//! The pod's connection is accepted before the far end has answered, so a refusal shows to the pod
//! as a reset right after connecting.

use std::net::SocketAddr;
use std::time::Duration;

use mizzen_net::{CopyCounters, CopyOptions, ListenOptions};
use tokio::net::{TcpListener, TcpStream};

use super::network::NODE_ADDRESS;
use super::service_table;
use crate::portal::Portal;

/// Installs the rules and serves until the node ends.
pub(super) async fn serve(portal: Portal) -> std::io::Result<()> {
    let listener = mizzen_net::listen(SocketAddr::from((NODE_ADDRESS, 0)), &ListenOptions::default())?;
    let port = listener.local_addr()?.port();
    service_table::egress(port).replace().map_err(std::io::Error::other)?;
    tokio::spawn(accept(listener, portal));
    Ok(())
}

async fn accept(listener: TcpListener, portal: Portal) {
    loop {
        match listener.accept().await {
            Ok((pod, _)) => {
                tokio::spawn(relay(pod, portal.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the relay to the outside cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn relay(pod: TcpStream, portal: Portal) {
    let Ok(destination) = mizzen_net::original_destination(&pod) else { return };
    if pod.local_addr().is_ok_and(|local| local == destination) {
        tracing::debug!(%destination, "a connection to the relay itself is refused");
        return reset(pod);
    }
    match portal.connect(destination).await {
        Ok(outside) => {
            let (options, counters) = (CopyOptions::default(), CopyCounters::default());
            if let Err(error) = mizzen_net::copy_bidirectional(&pod, &outside, &options, &counters).await {
                tracing::debug!(%destination, %error, "a relayed connection broke");
            }
        }
        Err(error) => {
            tracing::debug!(%destination, %error, "the outside refuses a pod's connection");
            reset(pod);
        }
    }
}

/// Closes so that the pod sees a failure, not an orderly end.
fn reset(pod: TcpStream) {
    // Failing means that it is closed already.
    let _ = pod.set_zero_linger();
}
