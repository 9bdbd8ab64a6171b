//! What the portal and the node say to each other: one JSON object a packet.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// From the node to the portal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromNode {
    /// Something to be done; the answer carries the same number.
    Request {
        /// Chosen by the node, unique while the request is open.
        number: u64,
        /// What is to be done.
        request: Request,
    },
    /// A line for whoever watches the start.
    Progress(String),
    /// The mesh is up; what to tell, as the command line defines it.
    Ready(serde_json::Value),
    /// The node cannot go on; it ends after this.
    Failed(String),
}

/// Something only the portal can do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Listen on exactly this address of the machine.
    Listen(SocketAddr),
    /// Connect to an address as seen from the machine.
    Connect(SocketAddr),
    /// Ask the machine's resolver; a DNS message in base64.
    Resolve(String),
}

/// From the portal to the node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToNode {
    /// The answer to a request. Sockets come along as the packet's descriptor.
    Answer {
        /// The request's number.
        number: u64,
        /// How it went.
        outcome: Outcome,
    },
    /// End everything in order.
    Stop,
}

/// How a request went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The socket is the packet's descriptor.
    Socket,
    /// A DNS message in base64.
    Resolved(String),
    /// It failed.
    Error {
        /// The operating system's error number, if it is one.
        number: Option<i32>,
        /// The reason in words.
        message: String,
    },
}
