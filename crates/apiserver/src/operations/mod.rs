//! What is done to objects: reading, watching, and the path every change takes
//! (decode → default → mutate → validate → commit).

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod patch;
pub(crate) mod prepare;
pub(crate) mod update;
pub(crate) mod watch;
