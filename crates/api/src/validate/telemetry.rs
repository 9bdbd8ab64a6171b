//! What makes a Telemetry valid.

use super::{check_attachment, findings::Findings};
use crate::telemetry::{TagOperation, Telemetry};

pub(super) fn check(spec: &Telemetry, findings: &mut Findings) {
    check_attachment(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, findings);
    if spec.tracing.len() > 1 {
        findings.warning("spec.tracing", "only the first entry of each side is used");
    }
    for (index, tracing) in spec.tracing.iter().enumerate() {
        let path = format!("spec.tracing[{index}]");
        if tracing.providers.len() > 1 {
            findings.error(format!("{path}.providers"), "spans go to one provider; name only one");
        }
        for (name, tag) in &tracing.custom_tags {
            let sources = [
                tag.literal.is_some(),
                tag.environment.is_some(),
                tag.header.is_some(),
                tag.formatter.is_some(),
            ];
            if name.is_empty() {
                findings.error(format!("{path}.customTags"), "a tag has a name");
            }
            if !sources.contains(&true) {
                let message = "has no value; set literal, environment, header or formatter";
                findings.error(format!("{path}.customTags[{name}]"), message);
            }
        }
    }
    for (index, metrics) in spec.metrics.iter().enumerate() {
        for (position, change) in metrics.overrides.iter().enumerate() {
            for (tag, change) in &change.tag_overrides {
                let path = format!("spec.metrics[{index}].overrides[{position}].tagOverrides[{tag}]");
                match change.operation.unwrap_or_default() {
                    TagOperation::Upsert if change.value.is_none() => {
                        findings.error(format!("{path}.value"), "is required by UPSERT");
                    }
                    TagOperation::Remove if change.value.is_some() => {
                        findings.error(format!("{path}.value"), "is not used by REMOVE; take it out");
                    }
                    TagOperation::Upsert | TagOperation::Remove => {}
                }
            }
        }
    }
    for (index, logging) in spec.access_logging.iter().enumerate() {
        if logging.filter.as_ref().is_some_and(|filter| filter.expression.is_none()) {
            findings.error(
                format!("spec.accessLogging[{index}].filter.expression"),
                "is required; or take filter out",
            );
        }
    }
}
