//! End to end, black box: the binary, kubectl and curl against a mesh on this machine. The cases
//! run in order against one mesh, as a reader of the README would type them; once as root and once
//! without privileges, where the machine allows each.
//!
//! A case that needs something the machine lacks says what, and is counted as ignored.

mod support;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use support::{Mesh, Rung};

mod cases {
    pub mod access_logs;
    pub mod bad_input;
    pub mod canary;
    pub mod commands;
    pub mod fresh;
    pub mod ingress;
    pub mod kubectl;
    pub mod service_entry;
    pub mod strict;
    pub mod survival;
}

/// What a case is given and may find wrong.
type Case = fn(&Mesh) -> anyhow::Result<()>;

/// In the order of the sheet; each leaves the mesh fit for the next.
const CASES: [(&str, Case); 18] = [
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
    ("dashboards_open_the_built_in_pages", cases::commands::dashboards),
    ("every_kubectl_works", cases::kubectl::every_one_works),
    ("invalid_resources_are_refused_with_their_field", cases::bad_input::refused),
    ("traffic_goes_on_without_the_control_plane", cases::survival::without_control_plane),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One mesh, one case at a time: later cases build on earlier ones, as the sheet does.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    for rung in [Rung::Root, Rung::Rootless] {
        let missing = support::missing(rung);
        if let Some(reason) = &missing {
            println!("skipped, {}: {reason}", rung.name());
        }
        let mesh = support::Shared::new(rung);
        for (name, case) in CASES {
            let mesh = mesh.clone();
            let trial = Trial::test(format!("{}::{name}", rung.name()), move || {
                mesh.with(case).map_err(|error| format!("{error:#}").into())
            });
            trials.push(trial.with_ignored_flag(missing.is_some()));
        }
        let last = Trial::test(format!("{}::nothing_is_left_behind", rung.name()), move || {
            mesh.finish().map_err(|error| format!("{error:#}").into())
        });
        trials.push(last.with_ignored_flag(missing.is_some()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
