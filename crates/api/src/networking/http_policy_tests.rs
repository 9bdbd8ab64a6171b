use super::*;

#[test]
fn a_grpc_status_has_a_name_or_a_number() {
    assert_eq!(grpc_status("OK"), Some(0));
    assert_eq!(grpc_status("UNAVAILABLE"), Some(14));
    assert_eq!(grpc_status("14"), Some(14));
    for text in ["unavailable", "17", "-1", ""] {
        assert_eq!(grpc_status(text), None, "{text:?}");
    }
}
