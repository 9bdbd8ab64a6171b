//! Compiling AccessLog resources.
