//! Label and field selectors: which objects a list, a watch or a webhook is about.

pub(crate) mod field;
pub(crate) mod label;

pub(crate) use field::FieldSelector;
pub(crate) use label::LabelSelector;
