//! The file that points kubectl at this server.

use base64::Engine as _;

/// A kubeconfig with one cluster, user and context. The values need no YAML quoting beyond the double quotes: a URL, base64
/// and a token of base64url or hex characters.
pub(crate) fn render(server_url: &str, authority_pem: &str, token: &str) -> String {
    let authority = base64::engine::general_purpose::STANDARD.encode(authority_pem);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: mizzen\n  cluster:\n    server: \"{server_url}\"\n    \
         certificate-authority-data: \"{authority}\"\nusers:\n- name: mizzen\n  user:\n    token: \"{token}\"\ncontexts:\n\
         - name: mizzen\n  context:\n    cluster: mizzen\n    user: mizzen\ncurrent-context: mizzen\n"
    )
}
