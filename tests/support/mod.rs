//! Meshes under test, and what the cases share.

mod commands;
mod envoy;
pub mod kubectl;
mod manifests;
mod mesh;
mod place;

use anyhow::bail;
use std::sync::{Arc, Mutex, PoisonError};

pub use commands::{
    PATIENCE, binary, checked, eventually, eventually_within, is_alive, text, wait_for, with_input,
};
pub use envoy::{envoy, missing_envoy};
pub use manifests::{certificate, echo, https_server, tls_secret};
pub use mesh::Mesh;
pub use place::{Place, Rung, missing, missing_program, own_rung};

/// The mesh of a rung, started by the first case that needs it.
#[derive(Clone)]
pub struct Shared {
    rung: Rung,
    mesh: Arc<Mutex<State>>,
}

enum State {
    Unstarted,
    Running(Mesh),
    Failed(String),
}

impl Shared {
    pub fn new(rung: Rung) -> Self {
        Self { rung, mesh: Arc::new(Mutex::new(State::Unstarted)) }
    }

    /// Runs `case` with the mesh.
    pub fn with(&self, case: impl FnOnce(&Mesh) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut state = self.mesh.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Unstarted = *state {
            *state = match Mesh::start(self.rung) {
                Ok(mesh) => State::Running(mesh),
                Err(error) => State::Failed(format!("{error:#}")),
            };
        }
        match &*state {
            State::Running(mesh) => case(mesh).map_err(|error| match mesh.evidence() {
                Some(evidence) => error.context(evidence),
                None => error,
            }),
            State::Failed(reason) => bail!("the mesh did not start: {reason}"),
            State::Unstarted => bail!("the mesh was not started"),
        }
    }

    /// Takes the mesh down and looks for what it may have left.
    pub fn finish(&self) -> anyhow::Result<()> {
        let mut state = self.mesh.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Unstarted) {
            State::Running(mesh) => mesh.down(),
            State::Failed(_) | State::Unstarted => Ok(()),
        }
    }
}
