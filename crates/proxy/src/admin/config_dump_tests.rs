use super::*;
use serde_json::json;

#[test]
fn keys_given_in_line_are_taken_out_and_certificates_stay() {
    let secret = json!({ "tls_certificate": {
        "certificate_chain": { "inline_string": "public" },
        "private_key": { "inline_string": "secret" },
    }, "others": [{ "private_key": { "inline_bytes": "c2VjcmV0" } }, { "private_key": { "filename": "/a" } }] });
    let expected = json!({ "tls_certificate": {
        "certificate_chain": { "inline_string": "public" },
        "private_key": { "inline_string": "[redacted]" },
    }, "others": [{ "private_key": { "inline_bytes": "W3JlZGFjdGVkXQ==" } }, { "private_key": { "filename": "/a" } }] });
    assert_eq!(redacted(secret), expected);
}
