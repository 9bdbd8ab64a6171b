//! The types of Istio's resources and of the mesh's own configuration: their fields, their defaults,
//! what makes them valid, and the custom resource definitions made from them. No input or output.
//!
//! An object goes through [`parse()`], which knows the types of fields, and [`validate()`], which knows
//! what they mean. Both say of every problem which field has it.

pub mod annotations;
pub mod common;
pub mod config;
mod crd;
pub mod duration;
pub mod extensions;
mod field;
pub mod kind;
pub mod mesh;
pub mod meta;
pub mod networking;
mod parse;
mod schema;
pub mod security;
mod shape;
pub mod source;
pub mod spelling;
pub mod support;
pub mod telemetry;
mod validate;
pub mod violation;

pub use config::{Config, Spec};
pub use crd::custom_resource_definitions;
pub use duration::Duration;
pub use kind::Kind;
pub use meta::Meta;
pub use parse::parse;
pub use validate::validate;
pub use violation::{Severity, Violation};
