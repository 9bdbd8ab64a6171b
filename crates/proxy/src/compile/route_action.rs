//! What routes do: `RouteAction`, `RedirectAction`, `DirectResponseAction` and what belongs to them.

use super::cluster::time;
use super::{CompileError, data_source};
use crate::http::matcher::{Fraction, HeaderMatcher, Substitution};
use crate::http::mutation::HeaderMutations;
use crate::http::routes::{
    ClusterChoice, DirectResponse, Forward, GrpcTimeout, HashPolicy, HashSource, HostRewrite, Mirror,
    PathRewrite, Redirect, RedirectPath, Weighted, WeightedCluster,
};
use crate::retry::RetryPolicy;
use crate::upstream::balance::EvenSequence;
use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3::{self as pb, route_action};
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn forward(
    message: &pb::RouteAction,
    inherited: Option<&Arc<RetryPolicy>>,
) -> Result<Forward, CompileError> {
    for (set, field) in [
        (message.metadata_match.is_some(), "metadata_match"),
        (message.path_rewrite_policy.is_some(), "path_rewrite_policy"),
        (!message.path_rewrite.is_empty(), "path_rewrite"),
        (message.retry_policy_typed_config.is_some(), "retry_policy_typed_config"),
        (message.priority != 0, "priority"),
        (!message.rate_limits.is_empty(), "rate_limits"),
        (message.internal_redirect_policy.is_some(), "internal_redirect_policy"),
        (message.internal_redirect_action != 0, "internal_redirect_action"),
        (message.hedge_policy.is_some(), "hedge_policy"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this part of a route's action"));
        }
    }
    let path = match (&message.prefix_rewrite, &message.regex_rewrite) {
        (prefix, None) if prefix.is_empty() => PathRewrite::Keep,
        (prefix, None) => PathRewrite::Prefix(prefix.as_str().into()),
        (_, Some(regex)) => {
            PathRewrite::Regex(Substitution::compile(regex).map_err(|error| error.at("regex_rewrite"))?)
        }
    };
    let retry = match &message.retry_policy {
        Some(policy) => retry(Some(policy))?,
        None => inherited.cloned(),
    };
    let mirrors = message.request_mirror_policies.iter().enumerate().map(|(index, policy)| {
        mirror(policy).map_err(|error| error.at(format!("request_mirror_policies[{index}]")))
    });
    let hash = message.hash_policy.iter().enumerate().map(|(index, policy)| {
        hash_policy(policy).map_err(|error| error.at(format!("hash_policy[{index}]")))
    });
    let timeout = match &message.timeout {
        None => Some(Duration::from_secs(15)),
        Some(_) => time(&message.timeout, "timeout")?.filter(|limit| !limit.is_zero()),
    };
    Ok(Forward {
        cluster: cluster_choice(message)?,
        not_found: match message.cluster_not_found_response_code {
            1 => StatusCode::NOT_FOUND,
            2 => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        },
        path,
        host: host_rewrite(message)?,
        append_forwarded_host: message.append_x_forwarded_host,
        timeout,
        idle_timeout: time(&message.idle_timeout, "idle_timeout")?,
        max_stream_duration: match &message.max_stream_duration {
            None => None,
            Some(limits) => time(&limits.max_stream_duration, "max_stream_duration")?,
        },
        grpc_timeout: grpc_timeout(message)?,
        retry,
        mirrors: mirrors.collect::<Result<_, _>>()?,
        hash: hash.collect::<Result<_, _>>()?,
        upgrades: upgrades(message)?,
    })
}

fn grpc_timeout(message: &pb::RouteAction) -> Result<GrpcTimeout, CompileError> {
    if let Some(limits) = &message.max_stream_duration
        && limits.grpc_timeout_header_max.is_some()
    {
        let longest = time(&limits.grpc_timeout_header_max, "max_stream_duration.grpc_timeout_header_max")?;
        let offset =
            time(&limits.grpc_timeout_header_offset, "max_stream_duration.grpc_timeout_header_offset")?;
        return Ok(GrpcTimeout::StreamDuration(longest, offset.unwrap_or_default()));
    }
    if message.max_grpc_timeout.is_some() {
        let longest = time(&message.max_grpc_timeout, "max_grpc_timeout")?;
        let offset = time(&message.grpc_timeout_offset, "grpc_timeout_offset")?;
        return Ok(GrpcTimeout::Timeout(longest, offset.unwrap_or_default()));
    }
    Ok(GrpcTimeout::Ignored)
}

fn upgrades(message: &pb::RouteAction) -> Result<Vec<(String, bool)>, CompileError> {
    message
        .upgrade_configs
        .iter()
        .enumerate()
        .map(|(index, upgrade)| {
            let enabled = upgrade.enabled.as_ref().is_none_or(|enabled| enabled.value);
            let kind = upgrade.upgrade_type.to_ascii_lowercase();
            if upgrade.connect_config.is_some() || (kind == "connect" && enabled) {
                return Err(CompileError::unsupported(format!("upgrade_configs[{index}]"), "CONNECT"));
            }
            Ok((kind, enabled))
        })
        .collect()
}

fn cluster_choice(message: &pb::RouteAction) -> Result<ClusterChoice, CompileError> {
    use route_action::ClusterSpecifier;
    Ok(match &message.cluster_specifier {
        None => return Err(CompileError::missing("cluster_specifier")),
        Some(ClusterSpecifier::Cluster(name)) => ClusterChoice::Named(name.as_str().into()),
        Some(ClusterSpecifier::ClusterHeader(name)) => {
            ClusterChoice::Header(header_name(name, "cluster_header")?)
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => ClusterChoice::Weighted(
            weighted_clusters(weighted).map_err(|error| error.at("weighted_clusters"))?,
        ),
        Some(
            ClusterSpecifier::ClusterSpecifierPlugin(_) | ClusterSpecifier::InlineClusterSpecifierPlugin(_),
        ) => {
            return Err(CompileError::unsupported("cluster_specifier_plugin", "a plugin"));
        }
    })
}

fn weighted_clusters(message: &pb::WeightedCluster) -> Result<Weighted, CompileError> {
    use pb::weighted_cluster::{RandomValueSpecifier, cluster_weight::HostRewriteSpecifier};
    let mut clusters = Vec::with_capacity(message.clusters.len());
    let mut up_to = 0;
    for (index, cluster) in message.clusters.iter().enumerate() {
        let at = |error: CompileError| error.at(format!("clusters[{index}]"));
        if !cluster.cluster_header.is_empty()
            || cluster.metadata_match.is_some()
            || !cluster.typed_per_filter_config.is_empty()
        {
            return Err(at(CompileError::unsupported(
                "",
                "a cluster by header, by metadata, or with filters of its own",
            )));
        }
        up_to += cluster.weight.as_ref().map_or(0, |weight| u64::from(weight.value));
        let host = match &cluster.host_rewrite_specifier {
            None => None,
            Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
                Some(header_value(host, "host_rewrite_literal").map_err(at)?)
            }
        };
        clusters.push(WeightedCluster {
            name: cluster.name.as_str().into(),
            up_to,
            request_headers: HeaderMutations::compile(
                &cluster.request_headers_to_add,
                &cluster.request_headers_to_remove,
            )
            .map_err(at)?,
            response_headers: HeaderMutations::compile(
                &cluster.response_headers_to_add,
                &cluster.response_headers_to_remove,
            )
            .map_err(at)?,
            host,
        });
    }
    if up_to == 0 {
        return Err(CompileError::invalid("clusters", "the weights add up to zero"));
    }
    let header = match &message.random_value_specifier {
        None => None,
        Some(RandomValueSpecifier::HeaderName(name)) => Some(header_name(name, "header_name")?),
        Some(_) => return Err(CompileError::unsupported("random_value_specifier", "this source of choice")),
    };
    Ok(Weighted { clusters, total: up_to, sequence: EvenSequence::new(), header })
}

fn host_rewrite(message: &pb::RouteAction) -> Result<HostRewrite, CompileError> {
    use route_action::HostRewriteSpecifier as Specifier;
    Ok(match &message.host_rewrite_specifier {
        None => HostRewrite::Keep,
        Some(Specifier::HostRewriteLiteral(host)) => {
            HostRewrite::Literal(header_value(host, "host_rewrite_literal")?)
        }
        Some(Specifier::AutoHostRewrite(auto)) if auto.value => HostRewrite::Auto,
        Some(Specifier::AutoHostRewrite(_)) => HostRewrite::Keep,
        Some(Specifier::HostRewriteHeader(name)) => {
            HostRewrite::Header(header_name(name, "host_rewrite_header")?)
        }
        Some(Specifier::HostRewritePathRegex(regex)) => HostRewrite::Path(
            Substitution::compile(regex).map_err(|error| error.at("host_rewrite_path_regex"))?,
        ),
        Some(Specifier::HostRewrite(_)) => {
            return Err(CompileError::unsupported("host_rewrite", "a host extension"));
        }
    })
}

pub(super) fn retry(message: Option<&pb::RetryPolicy>) -> Result<Option<Arc<RetryPolicy>>, CompileError> {
    let Some(message) = message else { return Ok(None) };
    let at = |error: CompileError| error.at("retry_policy");
    for (set, field) in [
        (message.retry_priority.is_some(), "retry_priority"),
        (!message.retry_options_predicates.is_empty(), "retry_options_predicates"),
        (message.rate_limited_retry_back_off.is_some(), "rate_limited_retry_back_off"),
        (message.refresh_cluster_on_retry, "refresh_cluster_on_retry"),
        (message.per_try_idle_timeout.is_some(), "per_try_idle_timeout"),
    ] {
        if set {
            return Err(at(CompileError::unsupported(field, "this part of a retry policy")));
        }
    }
    let mut policy = RetryPolicy {
        attempts: message.num_retries.as_ref().map_or(1, |count| count.value),
        per_try_timeout: time(&message.per_try_timeout, "per_try_timeout").map_err(at)?,
        host_attempts: u32::try_from(message.host_selection_retry_max_attempts.max(0))
            .unwrap_or(u32::MAX)
            .min(100),
        ..RetryPolicy::default()
    };
    policy.add_conditions(&message.retry_on).map_err(at)?;
    policy
        .status_codes
        .extend(message.retriable_status_codes.iter().filter_map(|code| u16::try_from(*code).ok()));
    for predicate in &message.retry_host_predicate {
        match predicate.name.as_str() {
            "envoy.retry_host_predicates.previous_hosts" => policy.avoid_previous_hosts = true,
            other => {
                return Err(at(CompileError::unsupported(
                    "retry_host_predicate",
                    format!("the predicate '{other}'"),
                )));
            }
        }
    }
    if policy.avoid_previous_hosts && policy.host_attempts == 0 {
        policy.host_attempts = 1;
    }
    if let Some(back_off) = &message.retry_back_off {
        policy.base_interval = time(&back_off.base_interval, "retry_back_off.base_interval").map_err(at)?;
        policy.max_interval = time(&back_off.max_interval, "retry_back_off.max_interval").map_err(at)?;
    }
    policy.headers = header_matchers(&message.retriable_headers, "retriable_headers").map_err(at)?;
    policy.request_headers =
        header_matchers(&message.retriable_request_headers, "retriable_request_headers").map_err(at)?;
    Ok(Some(Arc::new(policy)))
}

fn header_matchers(messages: &[pb::HeaderMatcher], field: &str) -> Result<Vec<HeaderMatcher>, CompileError> {
    let compiled = |(index, message)| {
        HeaderMatcher::compile(message).map_err(|error| error.at(format!("{field}[{index}]")))
    };
    messages.iter().enumerate().map(compiled).collect()
}

fn mirror(message: &route_action::RequestMirrorPolicy) -> Result<Mirror, CompileError> {
    for (set, field) in [
        (!message.cluster_header.is_empty(), "cluster_header"),
        (!message.request_headers_mutations.is_empty(), "request_headers_mutations"),
        (!message.host_rewrite_literal.is_empty(), "host_rewrite_literal"),
    ] {
        if set {
            return Err(CompileError::unsupported(field, "this part of mirroring"));
        }
    }
    Ok(Mirror {
        cluster: message.cluster.as_str().into(),
        fraction: Fraction::of_runtime(message.runtime_fraction.as_ref(), Fraction::ALWAYS),
        mark_host: !message.disable_shadow_host_suffix_append,
    })
}

fn hash_policy(message: &route_action::HashPolicy) -> Result<HashPolicy, CompileError> {
    use route_action::hash_policy::PolicySpecifier;
    let source = match &message.policy_specifier {
        None => return Err(CompileError::missing("policy_specifier")),
        Some(PolicySpecifier::Header(header)) => {
            let substitution = header.regex_rewrite.as_ref().map(Substitution::compile).transpose()?;
            HashSource::Header(header_name(&header.header_name, "header.header_name")?, substitution)
        }
        Some(PolicySpecifier::Cookie(cookie)) => {
            if !cookie.attributes.is_empty() {
                return Err(CompileError::unsupported("cookie.attributes", "attributes of a cookie"));
            }
            HashSource::Cookie {
                name: cookie.name.as_str().into(),
                ttl: time(&cookie.ttl, "cookie.ttl")?,
                path: cookie.path.as_str().into(),
            }
        }
        Some(PolicySpecifier::ConnectionProperties(properties)) if properties.source_ip => {
            HashSource::SourceIp
        }
        Some(PolicySpecifier::ConnectionProperties(_)) => {
            return Err(CompileError::missing("connection_properties.source_ip"));
        }
        Some(PolicySpecifier::QueryParameter(parameter)) => {
            HashSource::QueryParameter(parameter.name.as_str().into())
        }
        Some(PolicySpecifier::FilterState(_)) => {
            return Err(CompileError::unsupported("filter_state", "a hash of filter state"));
        }
    };
    Ok(HashPolicy { source, terminal: message.terminal })
}

pub(super) fn redirect(message: &pb::RedirectAction) -> Result<Redirect, CompileError> {
    use pb::redirect_action::{PathRewriteSpecifier, SchemeRewriteSpecifier};
    let status = match message.response_code {
        0 => StatusCode::MOVED_PERMANENTLY,
        1 => StatusCode::FOUND,
        2 => StatusCode::SEE_OTHER,
        3 => StatusCode::TEMPORARY_REDIRECT,
        4 => StatusCode::PERMANENT_REDIRECT,
        other => return Err(CompileError::invalid("response_code", format!("{other} is not a redirect"))),
    };
    let scheme = match &message.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".into()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) if !scheme.is_empty() => {
            Some(scheme.to_ascii_lowercase().into())
        }
        _ => None,
    };
    let path = match &message.path_rewrite_specifier {
        None => RedirectPath::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path)) => RedirectPath::Replace(path.as_str().into()),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => RedirectPath::Prefix(prefix.as_str().into()),
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => RedirectPath::Regex(Substitution::compile(regex)?),
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            return Err(CompileError::unsupported("path_rewrite", "a path template"));
        }
    };
    let port = match message.port_redirect {
        0 => None,
        port => Some(
            u16::try_from(port)
                .map_err(|_| CompileError::invalid("port_redirect", format!("{port} is not a port")))?,
        ),
    };
    Ok(Redirect {
        status,
        scheme,
        host: (!message.host_redirect.is_empty()).then(|| message.host_redirect.as_str().into()),
        port,
        path,
        strip_query: message.strip_query,
    })
}

pub(super) fn direct_response(message: &pb::DirectResponseAction) -> Result<DirectResponse, CompileError> {
    if message.body_format.is_some() {
        return Err(CompileError::unsupported("body_format", "a formatted body"));
    }
    let status = u16::try_from(message.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.filter(|status| status.as_u16() >= 200);
    let body = message.body.as_ref().map(|body| data_source::read(body, "body")).transpose()?;
    Ok(DirectResponse {
        status: status
            .ok_or_else(|| CompileError::invalid("status", format!("{} is not a status", message.status)))?,
        body: Bytes::from(body.unwrap_or_default()),
    })
}

fn header_name(name: &str, field: &str) -> Result<HeaderName, CompileError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| CompileError::invalid(field, format!("'{name}' is not a header name")))
}

pub(super) fn header_names(names: &[String], field: &str) -> Result<Vec<HeaderName>, CompileError> {
    names.iter().enumerate().map(|(index, name)| header_name(name, &format!("{field}[{index}]"))).collect()
}

fn header_value(value: &str, field: &str) -> Result<HeaderValue, CompileError> {
    HeaderValue::from_str(value)
        .map_err(|_| CompileError::invalid(field, format!("'{value}' cannot be a header's value")))
}
