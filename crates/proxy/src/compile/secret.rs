//! Compiling Secret resources.
