//! sandbox
pub mod controllers;
