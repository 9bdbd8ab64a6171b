//! Rules (IST0130) and matches (IST0131) that earlier rules leave nothing for, as the first that matches is used.

use mizzen_api::{
    Config, Spec,
    common::StringMatch,
    networking::{HttpMatch, TcpMatch, TlsMatch},
};

use crate::{
    code,
    registry::Registry,
    report::Report,
    world::{Item, World},
};

pub(super) fn analyze(world: &World, _: &Registry<'_>, report: &mut Report) {
    for item in world.configs() {
        let Spec::VirtualService(service) = &item.value.spec else { continue };
        let http: Vec<_> = service.http.iter().map(|rule| rule.matches.as_slice()).collect();
        check(item, "spec.http", &http, report);
        let tls: Vec<_> = service.tls.iter().map(|rule| rule.matches.as_slice()).collect();
        check(item, "spec.tls", &tls, report);
        let tcp: Vec<_> = service.tcp.iter().map(|rule| rule.matches.as_slice()).collect();
        check(item, "spec.tcp", &tcp, report);
    }
}

/// Conditions of which one may leave nothing for another.
trait Covers {
    /// Whether everything that `other` matches is matched by this.
    fn covers(&self, other: &Self) -> bool;
}

fn check<M: Covers>(item: &Item<Config>, path: &str, rules: &[&[M]], report: &mut Report) {
    for (index, matches) in rules.iter().enumerate() {
        let earlier = rules.get(..index).unwrap_or_default();
        let rule_path = format!("{path}[{index}]");
        if let Some(catch_all) = earlier.iter().position(|matches| matches.is_empty()) {
            let message =
                format!("rule {index} is never used: rule {catch_all} has no match, so it takes everything");
            let help = format!("put {path}[{catch_all}] last");
            report.add(&item.source, code::UNREACHABLE_RULE, &rule_path, message, Some(help));
            continue;
        }
        let coverers: Vec<_> = matches
            .iter()
            .map(|wanted| {
                earlier.iter().position(|rule| rule.iter().any(|condition| condition.covers(wanted)))
            })
            .collect();
        if !coverers.is_empty() && coverers.iter().all(Option::is_some) {
            let mut by: Vec<_> = coverers.iter().flatten().map(usize::to_string).collect();
            by.dedup();
            let message = format!(
                "rule {index} is never used: all it matches is taken by rule {} above",
                by.join(", ")
            );
            let help = "put the more specific rule first".to_owned();
            report.add(&item.source, code::UNREACHABLE_RULE, &rule_path, message, Some(help));
            continue;
        }
        for (position, coverer) in coverers.iter().enumerate() {
            let Some(coverer) = coverer else { continue };
            let message = format!(
                "match {position} of rule {index} is never used: rule {coverer} above takes all of it"
            );
            let path = format!("{rule_path}.match[{position}]");
            report.add(&item.source, code::INEFFECTIVE_MATCH, &path, message, None);
        }
    }
}

impl Covers for HttpMatch {
    fn covers(&self, other: &Self) -> bool {
        let uri = match (&self.uri, &other.uri) {
            (None, _) => true,
            (Some(_), None) => self.uri.as_ref().is_some_and(takes_everything),
            (Some(_), Some(_)) if other.ignore_uri_case && !self.ignore_uri_case => false,
            (Some(mine), Some(theirs)) if self.ignore_uri_case => {
                text_covers(&lowercase(mine), &lowercase(theirs))
            }
            (Some(mine), Some(theirs)) => text_covers(mine, theirs),
        };
        let texts = [
            (&self.scheme, &other.scheme),
            (&self.method, &other.method),
            (&self.authority, &other.authority),
        ];
        let texts = texts.into_iter().all(|(mine, theirs)| match (mine, theirs) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => text_covers(mine, theirs),
        });
        let maps = [(&self.headers, &other.headers), (&self.query_params, &other.query_params)];
        let maps = maps.into_iter().all(|(mine, theirs)| {
            mine.iter().all(|(name, value)| theirs.get(name).is_some_and(|other| text_covers(value, other)))
        });
        let without =
            self.without_headers.iter().all(|(name, value)| other.without_headers.get(name) == Some(value));
        uri && texts
            && maps
            && without
            && is_wider(self.port.as_ref(), other.port.as_ref())
            && is_wider(self.source_namespace.as_ref(), other.source_namespace.as_ref())
            && labels_cover(&self.source_labels, &other.source_labels)
            && gateways_cover(&self.gateways, &other.gateways)
    }
}

impl Covers for TlsMatch {
    fn covers(&self, other: &Self) -> bool {
        other.sni_hosts.iter().all(|name| {
            let name = mizzen_model::Host::new(name);
            self.sni_hosts.iter().any(|mine| mizzen_model::Host::new(mine).covers(&name))
        }) && (self.destination_subnets.is_empty() || self.destination_subnets == other.destination_subnets)
            && is_wider(self.port.as_ref(), other.port.as_ref())
            && is_wider(self.source_namespace.as_ref(), other.source_namespace.as_ref())
            && labels_cover(&self.source_labels, &other.source_labels)
            && gateways_cover(&self.gateways, &other.gateways)
    }
}

impl Covers for TcpMatch {
    fn covers(&self, other: &Self) -> bool {
        (self.destination_subnets.is_empty() || self.destination_subnets == other.destination_subnets)
            && is_wider(self.port.as_ref(), other.port.as_ref())
            && is_wider(self.source_subnet.as_ref(), other.source_subnet.as_ref())
            && is_wider(self.source_namespace.as_ref(), other.source_namespace.as_ref())
            && labels_cover(&self.source_labels, &other.source_labels)
            && gateways_cover(&self.gateways, &other.gateways)
    }
}

fn is_wider<T: PartialEq>(mine: Option<&T>, theirs: Option<&T>) -> bool {
    mine.is_none() || mine == theirs
}

fn labels_cover(mine: &crate::world::Texts, theirs: &crate::world::Texts) -> bool {
    mine.iter().all(|(key, value)| theirs.get(key) == Some(value))
}

fn gateways_cover(mine: &[String], theirs: &[String]) -> bool {
    mine.is_empty() || (!theirs.is_empty() && theirs.iter().all(|name| mine.contains(name)))
}

fn lowercase(value: &StringMatch) -> StringMatch {
    match value {
        StringMatch::Exact(text) => StringMatch::Exact(text.to_lowercase()),
        StringMatch::Prefix(text) => StringMatch::Prefix(text.to_lowercase()),
        other => other.clone(),
    }
}

fn takes_everything(uri: &StringMatch) -> bool {
    match uri {
        StringMatch::Present => true,
        StringMatch::Prefix(prefix) => prefix == "/",
        StringMatch::Regex(pattern) => pattern == ".*",
        StringMatch::Exact(_) => false,
    }
}

/// Whether every text that the second matches is matched by the first.
fn text_covers(first: &StringMatch, second: &StringMatch) -> bool {
    match (first, second) {
        (StringMatch::Present, _) => true,
        (StringMatch::Exact(first), StringMatch::Exact(second)) => first == second,
        (StringMatch::Prefix(prefix), StringMatch::Exact(text) | StringMatch::Prefix(text)) => {
            text.starts_with(prefix)
        }
        (StringMatch::Regex(first), StringMatch::Regex(second)) => first == second || first == ".*",
        (StringMatch::Regex(first), _) => first == ".*",
        _ => false,
    }
}
