use super::*;
use clap::CommandFactory as _;

#[test]
fn every_command_and_flag_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_sheets_commands_are_understood() {
    for words in [
        "istioctl proxy-status",
        "istioctl proxy-config routes payments-v1-5c7f9d-x2x4z",
        "istioctl authn tls-check payments-v1-5c7f9d-x2x4z.default",
        "istioctl analyze",
        "istioctl dashboard kiali",
        "istioctl dashboard jaeger",
        "istioctl dashboard prometheus",
        "mizzen completion bash",
        "mizzen up --demo",
        "mizzen proxy -c envoy.yaml --concurrency 2 -l info",
        "mizzen proxy sidecar --domain default.svc.cluster.local",
        "mizzen -n default proxy-status -c file",
    ] {
        if let Err(error) = Cli::try_parse_from(words.split(' ')) {
            panic!("{words}: {error}");
        }
    }
}

#[test]
fn every_command_that_help_shows_has_an_example() {
    let mut missing = Vec::new();
    let mut commands = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = commands.pop() {
        let shows = command.get_after_help().is_some_and(|text| text.to_string().starts_with("Examples:\n"));
        let path = format!("{path} {}", command.get_name());
        if !shows {
            missing.push(path.clone());
        }
        // The built-in applications are run by images; the command above them says how.
        if command.get_name() != "workload" {
            let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
            commands.extend(visible.map(|command| (path.clone(), command.clone())));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
