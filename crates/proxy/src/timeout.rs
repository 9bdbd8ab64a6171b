//! Timeouts of requests and streams.
