//! Compiling Bootstrap resources.
