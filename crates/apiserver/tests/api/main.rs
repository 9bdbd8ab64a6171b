//! The API server as its clients see it: one program, so that what the tests share is built and used once.

mod every_kubectl;
mod kube_client;
mod kubectl;
mod support;
mod webhooks;
