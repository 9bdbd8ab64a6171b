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
