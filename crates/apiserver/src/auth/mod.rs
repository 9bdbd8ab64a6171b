//! Who is asking: tokens, the authority behind the serving certificate, and kubeconfigs.

pub(crate) mod kubeconfig;
