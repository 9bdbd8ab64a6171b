//! VirtualServices between sidecars: header, method and path choose the version.

use super::traffic::{in_client, networking, prepare};
use crate::support::{Mesh, eventually};
use anyhow::ensure;
use serde_json::json;

pub fn matches(mesh: &Mesh) -> anyhow::Result<()> {
    prepare(mesh)?;
    let subset = |name: &str| json!({"name": name, "labels": {"version": name}});
    networking(
        mesh,
        "DestinationRule",
        "server",
        &json!({"host": "server", "subsets": [subset("v1"), subset("v2")]}),
    )?;
    let route =
        |subset: &str| json!([{"destination": {"host": "server", "subset": subset, "port": {"number": 80}}}]);
    networking(
        mesh,
        "VirtualService",
        "server",
        &json!({"hosts": ["server"], "http": [
            {"match": [
                {"headers": {"x-user": {"exact": "beta"}}},
                {"method": {"exact": "PUT"}, "uri": {"prefix": "/write"}},
                {"uri": {"regex": "/next/[0-9]+"}}
             ], "route": route("v2")},
            {"route": route("v1")}
        ]}),
    )?;
    for (arguments, version) in [
        ("--header 'x-user: beta' http://server/", "v2"),
        ("--header 'x-user: other' http://server/", "v1"),
        ("--request PUT http://server/write/1", "v2"),
        ("http://server/write/1", "v1"),
        ("--request PUT http://server/read/1", "v1"),
        ("http://server/next/12", "v2"),
        ("http://server/next/no", "v1"),
    ] {
        eventually(arguments, || {
            let answer =
                in_client(mesh, &format!("curl --silent --show-error --fail --max-time 10 {arguments}"))?;
            ensure!(answer.contains(&format!("\"version\": \"{version}\"")), "not {version}: {answer}");
            Ok(())
        })?;
    }
    mesh.kubectl(&[
        "delete",
        "-n",
        super::traffic::NAMESPACE,
        "virtualservice/server",
        "destinationrule/server",
    ])?;
    Ok(())
}
