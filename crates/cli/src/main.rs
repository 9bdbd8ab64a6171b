//! The `mizzen` binary.
fn main() {}
