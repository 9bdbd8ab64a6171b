use super::*;

#[test]
fn none_is_a_dash() {
    assert_eq!(ResponseFlags::NONE.to_string(), "-");
    assert_eq!(ResponseFlags::NONE.long(), "-");
}

#[test]
fn several_are_joined_by_commas() {
    let mut flags = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
    flags.insert(ResponseFlags::RETRY_LIMIT_EXCEEDED);
    assert_eq!(flags.to_string(), "UF,URX");
    assert_eq!(flags.long(), "UpstreamConnectionFailure,UpstreamRetryLimitExceeded");
    flags.remove(ResponseFlags::RETRY_LIMIT_EXCEEDED);
    assert_eq!(flags.to_string(), "UF");
}
