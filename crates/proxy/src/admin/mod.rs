//! The admin port: configuration, statistics and commands in the shapes of Envoy.
