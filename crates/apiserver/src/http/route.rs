//! What a path asks for.

/// The thing at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/healthz`, `/livez`, `/readyz` and what is below them.
    Health,
    Version,
    /// `/api`: the versions of the core group.
    CoreVersions,
    /// `/apis`: all groups.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`.
    GroupVersion {
        group: String,
        version: String,
    },
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`.
    OpenApi {
        group: String,
        version: String,
    },
    /// `/.well-known/openid-configuration`.
    TokenIssuer,
    /// `/openid/v1/jwks`.
    TokenKeys,
    /// Objects.
    Resource(ResourcePath),
    /// Nothing.
    Unknown,
}

/// A path to objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    /// Empty across namespaces and for cluster-scoped resources.
    pub namespace: String,
    pub plural: String,
    /// Empty for the collection.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
}

/// Reads a path. Segments are percent-decoded.
pub(crate) fn parse(path: &str) -> Target {
    let decoded: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Target::Health,
        ["version"] => Target::Version,
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["api", version] => Target::GroupVersion { group: String::new(), version: (*version).to_owned() },
        ["apis", group, version] => {
            Target::GroupVersion { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        ["openapi", "v3"] => Target::OpenApiIndex,
        ["openapi", "v3", "api", version] => {
            Target::OpenApi { group: String::new(), version: (*version).to_owned() }
        }
        ["openapi", "v3", "apis", group, version] => {
            Target::OpenApi { group: (*group).to_owned(), version: (*version).to_owned() }
        }
        [".well-known", "openid-configuration"] => Target::TokenIssuer,
        ["openid", "v1", "jwks"] => Target::TokenKeys,
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Target::Unknown,
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Target {
    let (namespace, plural, name, subresource) = match rest {
        // A Namespace and its subresources look like the start of a path into it.
        ["namespaces", name] => ("", "namespaces", *name, ""),
        ["namespaces", name, subresource @ ("status" | "finalize")] => {
            ("", "namespaces", *name, *subresource)
        }
        ["namespaces", namespace, plural] => (*namespace, *plural, "", ""),
        ["namespaces", namespace, plural, name] => (*namespace, *plural, *name, ""),
        ["namespaces", namespace, plural, name, subresource] => (*namespace, *plural, *name, *subresource),
        [plural] => ("", *plural, "", ""),
        [plural, name] => ("", *plural, *name, ""),
        [plural, name, subresource] => ("", *plural, *name, *subresource),
        _ => return Target::Unknown,
    };
    Target::Resource(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        plural: plural.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    })
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
