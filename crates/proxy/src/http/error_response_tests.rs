use super::*;

#[test]
fn failures_speak_envoys_words() {
    let connect = Failure::Connect("delayed connect error: Connection refused (111)".into()).reply();
    assert_eq!(connect.status, 503);
    assert_eq!(
        connect.body,
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
         transport failure reason: delayed connect error: Connection refused (111)"
    );
    assert_eq!(
        connect.details,
        "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused_(111)}"
    );
    assert_eq!(connect.flags.to_string(), "UF");
    let none = Failure::NoHealthyHost.reply();
    assert_eq!(
        (none.status.as_u16(), &none.body[..], none.flags.to_string()),
        (503, &b"no healthy upstream"[..], "UH".into())
    );
    let timeout = Failure::Timeout.reply();
    assert_eq!((timeout.status.as_u16(), timeout.flags.to_string()), (504, "UT".into()));
    assert!(Failure::Overflow.reply().overloaded);
}

#[test]
fn grpc_clients_get_grpc_answers() {
    let reply = Failure::Denied("x".into()).reply();
    let (status, headers, body) = message(reply.status, reply.body, true, None);
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["grpc-status"], "7");
    assert_eq!(headers["grpc-message"], "RBAC: access denied");
}
