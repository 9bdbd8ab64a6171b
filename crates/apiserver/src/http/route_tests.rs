use super::*;

fn path(group: &str, namespace: &str, plural: &str, name: &str, subresource: &str) -> Target {
    Target::Resource(ResourcePath {
        group: group.to_owned(),
        version: "v1".to_owned(),
        namespace: namespace.to_owned(),
        plural: plural.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    })
}

#[test]
fn paths_lead_to_objects_and_documents() {
    for (text, target) in [
        ("/api", Target::CoreVersions),
        ("/apis/", Target::Groups),
        ("/api/v1/pods", path("", "", "pods", "", "")),
        ("/api/v1/namespaces", path("", "", "namespaces", "", "")),
        ("/api/v1/namespaces/shop", path("", "", "namespaces", "shop", "")),
        ("/api/v1/namespaces/shop/finalize", path("", "", "namespaces", "shop", "finalize")),
        ("/api/v1/namespaces/shop/pods/a/log", path("", "shop", "pods", "a", "log")),
        ("/apis/apps/v1/namespaces/shop/deployments", path("apps", "shop", "deployments", "", "")),
        ("/api/v1/nodes/a%2Eb/status", path("", "", "nodes", "a.b", "status")),
        ("/openapi/v3/apis/apps/v1", Target::OpenApi { group: "apps".to_owned(), version: "v1".to_owned() }),
        ("/openapi/v2", Target::Unknown),
        ("/api/v1/namespaces/a/b/c/d/e", Target::Unknown),
    ] {
        assert_eq!(parse(text), target, "{text}");
    }
}
