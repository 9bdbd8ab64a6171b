use super::*;

#[test]
fn sides_that_do_not_understand_each_other_are_in_conflict() {
    use ClientTlsMode::{Disable, IstioMutual, Simple};
    for (server, client, expected) in [
        (Some(ServerTls::Strict), Some(IstioMutual), "OK"),
        (Some(ServerTls::Strict), Some(Disable), "CONFLICT"),
        (Some(ServerTls::Strict), None, "CONFLICT"),
        (Some(ServerTls::Permissive), Some(IstioMutual), "OK"),
        (Some(ServerTls::Permissive), Some(Disable), "OK"),
        (Some(ServerTls::Permissive), Some(Simple), "CONFLICT"),
        (Some(ServerTls::Disable), Some(Disable), "OK"),
        (Some(ServerTls::Disable), Some(IstioMutual), "CONFLICT"),
        (None, None, "OK"),
        (None, Some(Simple), "OK"),
        (None, Some(IstioMutual), "CONFLICT"),
    ] {
        assert_eq!(verdict(server, client, false), expected, "{server:?} {client:?}");
    }
    assert_eq!(verdict(Some(ServerTls::Strict), None, true), "AUTO");
}
