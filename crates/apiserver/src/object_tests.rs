use serde_json::json;

use super::*;

#[test]
fn ages_read_like_kubectl_prints_them() {
    for (seconds, printed) in [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (135, "2m15s"),
        (660, "11m"),
        (10_860, "3h1m"),
        (90_000, "25h"),
        (180_000, "2d2h"),
        (900_000, "10d"),
    ] {
        assert_eq!(human_duration(seconds), printed, "{seconds} seconds");
    }
}

#[test]
fn setting_a_path_makes_the_maps_on_the_way() {
    let mut object = json!({"metadata": "not a map"});
    set(&mut object, &["metadata", "labels", "app"], "shop");
    assert_eq!(label(&object, "app"), Some("shop"));
}

#[test]
fn the_last_finalizer_takes_the_list_with_it() {
    let mut object = json!({});
    add_finalizer(&mut object, "a");
    add_finalizer(&mut object, "a");
    add_finalizer(&mut object, "b");
    assert_eq!(finalizers(&object).collect::<Vec<_>>(), ["a", "b"]);
    remove_finalizer(&mut object, "a");
    remove_finalizer(&mut object, "b");
    assert_eq!(object, json!({"metadata": {}}));
}
