use proptest::prelude::*;
use serde_json::json;

use super::*;

fn bytes_field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    field.extend_from_slice(bytes);
    field
}

fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let type_meta = [bytes_field(1, api_version.as_bytes()), bytes_field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes_field(1, &type_meta), bytes_field(2, object)].concat()
}

#[test]
fn a_config_map_reads_as_its_json() {
    let entry =
        |key: &str, value: &str| [bytes_field(1, key.as_bytes()), bytes_field(2, value.as_bytes())].concat();
    // Go writes empty texts and times too.
    let metadata = [bytes_field(1, b"settings"), bytes_field(2, b""), bytes_field(8, b"")].concat();
    let object =
        [bytes_field(1, &metadata), bytes_field(2, &entry("a", "1")), bytes_field(2, &entry("b", ""))]
            .concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &object)).unwrap(),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1", "b": ""}})
    );
}

#[test]
fn ports_numbers_and_inlined_fields_are_where_json_has_them() {
    // 80 as IntOrString: kind 0, number 80.
    let target = [8, 0, 16, 80];
    let port = [bytes_field(1, b"http"), vec![3 << 3, 80], bytes_field(4, &target), vec![5 << 3, 0]].concat();
    let spec = bytes_field(1, &port);
    assert_eq!(
        decode(&body("v1", "Service", &bytes_field(2, &spec))).unwrap()["spec"],
        json!({"ports": [{"name": "http", "port": 80, "targetPort": 80}]})
    );
    let source = bytes_field(6, &bytes_field(1, b"s"));
    let volume = [bytes_field(1, b"v"), bytes_field(2, &source)].concat();
    let pod = decode(&body("v1", "Pod", &bytes_field(2, &bytes_field(1, &volume)))).unwrap();
    assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "secret": {"secretName": "s"}}]));
}

#[test]
fn what_is_not_such_a_body_is_refused() {
    assert_eq!(decode(b"{}"), Err(DecodeError::NoMagic));
    assert!(matches!(decode(&body("v1", "Thing", b"")), Err(DecodeError::UnknownKind { .. })));
    assert_eq!(decode(&body("v1", "ConfigMap", &[10, 200])), Err(DecodeError::CutOff));
}

proptest! {
    #[test]
    fn no_bytes_panic(object in prop::collection::vec(any::<u8>(), 0..100)) {
        for kind in ["Pod", "Service", "ConfigMap"] {
            let _ = decode(&body("v1", kind, &object));
        }
        let _ = decode(&[MAGIC, &object].concat());
    }
}
