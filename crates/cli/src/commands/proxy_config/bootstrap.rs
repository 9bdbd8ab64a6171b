//! `proxy-config bootstrap`.

use serde_json::Value;

/// The versions a proxy was started with.
pub fn summary(bootstrap: &Value) -> String {
    let node = &bootstrap["node"];
    let version = &node["user_agent_build_version"]["version"];
    let part = |name| version[name].as_u64().unwrap_or_default();
    let build = &node["user_agent_build_version"]["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    format!(
        "Istio Version:       {}\nIstio Proxy Version: {}\nEnvoy Version:       {}.{}.{}\n",
        text(&node["metadata"]["ISTIO_VERSION"]),
        text(&build["revision.sha"]),
        part("major_number"),
        part("minor_number"),
        part("patch"),
    )
}
