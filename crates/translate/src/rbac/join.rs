//! Joining matchers by "any", "all" and "none": principals and permissions are joined alike.

use crate::envoy::rbac as pb;
use pb::{Permission, Principal, permission::Rule, principal::Identifier};

/// What RBAC matches with.
pub(super) trait Matcher: Sized {
    /// Matches everything.
    fn anything() -> Self;
    /// Matches what `matcher` does not.
    fn not(matcher: Self) -> Self;
    /// Matches what any of `matchers` does.
    fn any_of(matchers: Vec<Self>) -> Self;
    /// Matches what all of `matchers` do.
    fn all_of(matchers: Vec<Self>) -> Self;
}

impl Matcher for Principal {
    fn anything() -> Self {
        principal(Identifier::Any(true))
    }

    fn not(matcher: Self) -> Self {
        principal(Identifier::NotId(Box::new(matcher)))
    }

    fn any_of(ids: Vec<Self>) -> Self {
        principal(Identifier::OrIds(pb::principal::Set { ids }))
    }

    fn all_of(ids: Vec<Self>) -> Self {
        principal(Identifier::AndIds(pb::principal::Set { ids }))
    }
}

impl Matcher for Permission {
    fn anything() -> Self {
        permission(Rule::Any(true))
    }

    fn not(matcher: Self) -> Self {
        permission(Rule::NotRule(Box::new(matcher)))
    }

    fn any_of(rules: Vec<Self>) -> Self {
        permission(Rule::OrRules(pb::permission::Set { rules }))
    }

    fn all_of(rules: Vec<Self>) -> Self {
        permission(Rule::AndRules(pb::permission::Set { rules }))
    }
}

/// Adds that any of `values` must match, and none of `not_values`. A value that means nothing matches nothing.
pub(super) fn demand<M: Matcher>(
    all: &mut Vec<M>,
    values: &[String],
    not_values: &[String],
    matcher: impl Fn(&str) -> Vec<M>,
) {
    let any = |values: &[String]| {
        let matchers: Vec<M> = values.iter().flat_map(|value| matcher(value)).collect();
        if matchers.is_empty() { M::not(M::anything()) } else { M::any_of(matchers) }
    };
    if !values.is_empty() {
        all.push(any(values));
    }
    if !not_values.is_empty() {
        all.push(M::not(any(not_values)));
    }
}

/// All of them; everything where there are none.
pub(super) fn all_of<M: Matcher>(matchers: Vec<M>) -> M {
    if matchers.is_empty() { M::anything() } else { M::all_of(matchers) }
}

pub(super) fn principal(identifier: Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

pub(super) fn permission(rule: Rule) -> Permission {
    Permission { rule: Some(rule) }
}
