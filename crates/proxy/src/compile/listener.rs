//! Compiling Listener resources.
