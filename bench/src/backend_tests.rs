use super::*;

#[test]
fn requests_say_what_they_want_and_bring() {
    assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n"), (None, 0));
    assert_eq!(parse(b"GET /bytes/70000 HTTP/1.1\r\n\r\n"), (Some(70000), 0));
    assert_eq!(parse(b"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n"), (None, 12));
    assert_eq!(parse(b"\r\n\r\n"), (None, 0));
}
