//! Which form of an answer the caller wants.

/// The forms an object or a list can be answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// `as=Table`: rows and columns, as `kubectl get` prints.
    Table,
    /// `as=PartialObjectMetadata`: only what every object has.
    Metadata,
}

/// Form and encoding of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub form: Form,
    pub yaml: bool,
}

/// The first acceptable choice of an `Accept` header; `None` if there is none. Protobuf is never offered, so clients that
/// prefer it fall through to the JSON they always list after it.
pub(crate) fn accepted(accept: &str) -> Option<Accepted> {
    if accept.trim().is_empty() {
        return Some(Accepted { form: Form::Plain, yaml: false });
    }
    choices(accept).find_map(|choice| {
        let yaml = match choice.media_type {
            "application/json" | "application/*" | "*/*" => false,
            "application/yaml" => true,
            _ => return None,
        };
        let form = match (choice.parameter("as"), choice.parameter("g"), choice.parameter("v")) {
            (None, _, _) => Form::Plain,
            (Some("Table"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) => Form::Table,
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some("v1" | "v1beta1"),
            ) => Form::Metadata,
            _ => return None,
        };
        Some(Accepted { form, yaml })
    })
}

/// The version of aggregated discovery that is asked for: `v2` or `v2beta1`.
pub(crate) fn aggregated_discovery(accept: &str) -> Option<&'static str> {
    for choice in choices(accept) {
        if choice.media_type != "application/json" {
            continue;
        }
        match (choice.parameter("as"), choice.parameter("g"), choice.parameter("v")) {
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => return Some("v2"),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                return Some("v2beta1");
            }
            (None, _, _) => return None,
            _ => {}
        }
    }
    None
}

struct Choice<'a> {
    media_type: &'a str,
    parameters: &'a str,
}

impl<'a> Choice<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .find(|(found, _)| found.trim() == name)
            .map(|(_, value)| value.trim().trim_matches('"'))
    }
}

fn choices(accept: &str) -> impl Iterator<Item = Choice<'_>> {
    accept.split(',').map(|choice| {
        let (media_type, parameters) = choice.split_once(';').unwrap_or((choice, ""));
        Choice { media_type: media_type.trim(), parameters }
    })
}

#[cfg(test)]
#[path = "negotiate_tests.rs"]
mod tests;
