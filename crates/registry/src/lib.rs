//! Where the mesh's objects come from: watches on the Kubernetes API, turned into batches of the
//! model's changes. The only user of watches; what is made of the objects is the model's business.
//!
//! ```text
//! watch of each kind (list, watch, back-off) → changes → batch of a quiet millisecond → model::Store
//! ```

mod batch;
mod kinds;
mod settings;
mod watch;

pub use batch::{Batch, Pace};
pub use kinds::{Registry, RegistryOptions};
pub use settings::InjectionSettings;
pub use watch::{Observed, watch};
