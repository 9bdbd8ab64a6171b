use super::*;

fn parsed(words: &[&str]) -> anyhow::Result<InterceptionRules> {
    match Action::try_parse_from(["mizzen intercept", "install"].iter().chain(words))? {
        Action::Install(flags) => rules(&flags),
        Action::Remove => bail!("asked to install"),
    }
}

#[test]
fn istios_init_arguments_give_istios_rules() {
    let words = [
        "-p",
        "15001",
        "-z",
        "15006",
        "-u",
        "1337",
        "-i",
        "*",
        "-x",
        "",
        "-b",
        "*",
        "-d",
        "15090,15021,15020",
        "-q",
        "",
        "-o",
        "",
        "-c",
        "",
    ];
    let expected = InterceptionRules {
        proxy_users: vec![1337],
        proxy_groups: vec![1337],
        ..InterceptionRules::default()
    };
    assert_eq!(parsed(&words).expect("rules"), expected);
    assert_eq!(parsed(&[]).expect("rules"), expected);
}

#[test]
fn lists_narrow_what_is_captured() {
    let words =
        ["-i", "10.0.0.0/8,192.168.0.0/16", "-b", "80, 8080", "-o", "3306", "-c", "eth1", "--redirect-dns"];
    let rules = parsed(&words).expect("rules");
    assert_eq!(rules.include_inbound_ports, Ports::Only(vec![80, 8080]));
    assert!(matches!(rules.include_outbound_networks, Networks::Only(networks) if networks.len() == 2));
    assert_eq!((rules.exclude_outbound_ports, rules.dns_port), (vec![3306], Some(15053)));
    assert_eq!(rules.exclude_interfaces, ["eth1"]);
}

#[test]
fn wrong_values_are_named() {
    let error = parsed(&["-o", "http"]).expect_err("no port").to_string();
    assert_eq!(error, "-o: 'http' is not what it should be");
    let error = parsed(&["-m", "TPROXY"]).expect_err("not honoured").to_string();
    assert!(error.contains("TPROXY is not honoured"), "{error}");
}
