//! What cannot be right is refused where it is applied, with the field that is wrong.

use crate::support::Mesh;
use anyhow::ensure;

pub fn refused(mesh: &Mesh) -> anyhow::Result<()> {
    for (spec, field) in [
        (
            r#"{"hosts":["payments"],"http":[{"route":[{"destination":{"host":"payments"},"weight":-1}]}]}"#,
            "weight",
        ),
        (
            r#"{"hosts":["payments"],"http":[{"match":[{"uri":{"regex":"("}}],"route":[{"destination":{"host":"payments"}}]}]}"#,
            "regex",
        ),
        (r#"{"hosts":["payments"],"http":[{"rout":[{"destination":{"host":"payments"}}]}]}"#, "rout"),
    ] {
        let object = format!(
            r#"{{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{{"name":"wrong","namespace":"default"}},"spec":{spec}}}"#
        );
        let refusal = mesh.apply_fails(&object)?;
        ensure!(refusal.contains(field), "the refusal does not name {field}: {refusal}");
        mesh.kubectl_fails(&["get", "virtualservice", "wrong"])?;
    }
    // What Istio has and this mesh does not do yet is refused by name, not taken and ignored.
    let refusal = mesh.apply_fails(
        r#"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"wrong","namespace":"default"},
            "spec":{"action":"CUSTOM","provider":{"name":"ext"},"rules":[{}]}}"#,
    )?;
    ensure!(refusal.contains("CUSTOM") || refusal.contains("action"), "{refusal}");
    Ok(())
}
