//! The mesh on this machine, as the commands `up`, `down` and `status` see it.

pub mod apply;
pub mod demo;
pub mod folder;
pub mod machine;
pub mod report;
