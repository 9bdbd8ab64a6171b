//! Request mirroring.
