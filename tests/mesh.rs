//! End to end, black box: the binary, kubectl and curl against a mesh on this machine. The cases
//! run in order against one mesh, as a reader of the README would type them; once as root and once
//! without privileges, where the machine allows each. Some have meshes of their own,
//! and so have the cases of `traffic`, which are shown on two data planes.
//!
//! A case that needs something the machine lacks says what, and is counted as ignored.

mod support;
mod traffic;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use support::{Mesh, Rung};

mod cases {
    pub mod access_logs;
    pub mod bad_input;
    pub mod canary;
    pub mod commands;
    pub mod dashboards;
    pub mod fresh;
    pub mod garbage;
    pub mod ingress;
    pub mod kubectl;
    pub mod life;
    pub mod protocols;
    pub mod quarantine;
    pub mod resilience;
    pub mod rotation;
    pub mod routing;
    pub mod service_entry;
    pub mod stock_envoy;
    pub mod strict;
    pub mod survival;
    pub mod tracing;
    pub mod traffic;
    pub mod walkthrough;
}

/// What a case is given and may find wrong.
type Case = fn(&Mesh) -> anyhow::Result<()>;

/// In the order of the sheet; each leaves the mesh fit for the next.
const CASES: [(&str, Case); 36] = [
    ("a_fresh_mesh_has_its_ingress_gateway", cases::fresh::has_its_ingress_gateway),
    ("a_namespace_label_decides_about_sidecars", cases::fresh::label_decides_about_sidecars),
    ("ingress_over_tls_reaches_the_service_over_mtls", cases::ingress::reaches_the_service),
    ("a_renewed_secret_is_served_without_a_failed_request", cases::ingress::renewed_secret),
    ("a_broken_secret_fails_only_its_own_host", cases::ingress::broken_secret),
    ("a_canary_of_one_percent_gets_one_percent", cases::canary::one_percent),
    ("a_changed_weight_takes_effect_without_a_failed_request", cases::canary::changed_weight),
    ("an_outside_host_is_reached_by_its_name", cases::service_entry::reached_by_name),
    ("strict_mtls_refuses_plaintext_and_nothing_else", cases::strict::refuses_plaintext),
    ("authorization_policies_allow_and_deny", cases::strict::authorization),
    ("access_logs_have_istios_format", cases::access_logs::istios_format),
    ("standard_metrics_are_exposed_and_merged", cases::access_logs::standard_metrics),
    ("proxy_status_and_proxy_config_show_the_mesh", cases::commands::proxies),
    ("tls_check_and_analyze_explain_it", cases::commands::explain),
    ("every_kubectl_works", cases::kubectl::every_one_works),
    ("dashboards_open_the_built_in_pages", cases::dashboards::open),
    ("header_method_and_uri_choose_the_version", cases::routing::matches),
    ("a_request_that_takes_too_long_is_ended", cases::resilience::timeout),
    ("retries_hide_a_flaky_service", cases::resilience::retries),
    ("a_full_connection_pool_turns_requests_away", cases::resilience::circuit_breaking),
    ("an_endpoint_that_keeps_failing_is_ejected", cases::resilience::outlier_ejection),
    ("grpc_passes_the_mesh", cases::protocols::grpc),
    ("websocket_passes_gateway_and_sidecar", cases::protocols::websocket),
    ("plain_tcp_passes_over_mtls", cases::protocols::tcp),
    ("the_gateway_passes_tls_through", cases::protocols::tls_passthrough),
    ("a_sampled_request_is_one_trace", cases::tracing::one_trace),
    ("dashboards_show_the_traffic", cases::dashboards::show_the_traffic),
    ("dashboards_are_drawn_in_a_browser", cases::dashboards::drawn),
    ("stock_envoy_is_a_sidecar_like_ours", cases::stock_envoy::is_a_sidecar),
    ("certificates_rotate_under_load", cases::rotation::under_load),
    ("invalid_resources_are_refused_with_their_field", cases::bad_input::refused),
    ("a_resource_that_slipped_in_is_quarantined", cases::quarantine::quarantined),
    ("garbage_half_open_and_slow_clients_are_bounded", cases::garbage::bounded),
    ("garbage_is_logged", cases::garbage::logged),
    ("half_of_anything_is_cut_off_and_logged", cases::garbage::slow),
    ("traffic_goes_on_without_the_control_plane", cases::survival::without_control_plane),
];

/// Says why a case cannot run here.
type Missing = fn() -> Option<String>;

/// Cases that need a program which the others do not.
const NEEDS: [(&str, Missing); 2] = [
    ("dashboards_are_drawn_in_a_browser", || support::missing_program("chromium")),
    ("stock_envoy_is_a_sidecar_like_ours", support::missing_envoy),
];

/// What a case with meshes of its own is given.
type OwnCase = fn(Rung) -> anyhow::Result<()>;

/// How a mesh begins and ends differs between the rungs.
const LIVES: [(&str, OwnCase); 4] = [
    ("up_detached_takes_manifests_ports_and_images_and_keeps_what_it_was_told", cases::life::detached),
    ("two_meshes_run_side_by_side", cases::life::side_by_side),
    ("up_again_after_a_kill_cleans_up_and_goes_on", cases::life::killed),
    ("an_interrupted_mesh_leaves_nothing", cases::life::interrupted),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One mesh, one case at a time: later cases build on earlier ones, as the sheet does.
    arguments.test_threads = Some(1);
    let mut trials = vec![walkthrough()];
    for rung in [Rung::Root, Rung::Rootless] {
        let missing = support::missing(rung);
        if let Some(reason) = &missing {
            println!("skipped, {}: {reason}", rung.name());
        }
        let named = |name: &str, run: Box<dyn FnOnce() -> anyhow::Result<()> + Send>| {
            let run = move || run().map_err(|error| format!("{error:#}").into());
            Trial::test(format!("{}::{name}", rung.name()), run).with_ignored_flag(missing.is_some())
        };
        let mesh = support::Shared::new(rung);
        for (name, case) in CASES {
            let mesh = mesh.clone();
            let lacks = NEEDS.iter().find(|(case, _)| *case == name).and_then(|(_, missing)| missing());
            let trial = named(name, Box::new(move || mesh.with(case)));
            trials.push(if lacks.is_some() { trial.with_ignored_flag(true) } else { trial });
        }
        // Beside the shared mesh, which they must not disturb.
        for (name, case) in LIVES {
            trials.push(named(name, Box::new(move || case(rung))));
        }
        trials.push(named("nothing_is_left_behind", Box::new(move || mesh.finish())));
    }
    let rung = support::own_rung();
    trials.extend(traffic::trials(rung, support::missing(rung).is_none()));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The README, once: it tells of one user, the one who runs the tests.
fn walkthrough() -> Trial {
    let rung = support::own_rung();
    let missing = support::missing(rung).or_else(|| support::missing_program("openssl"));
    if let Some(reason) = &missing {
        println!("skipped, the README: {reason}");
    }
    let run = || cases::walkthrough::readme().map_err(|error| format!("{error:#}").into());
    Trial::test("the_readme_is_true", run).with_ignored_flag(missing.is_some())
}
