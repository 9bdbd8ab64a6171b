use super::*;

#[test]
fn a_folder_has_one_mesh_and_is_free_again_after_it() {
    let root = tempfile::tempdir().expect("folder");
    let folder = StateFolder::at(root.path().join("state"));
    assert_eq!(folder.running(), None);
    let running = folder.take().expect("free");
    assert_eq!(folder.running(), i32::try_from(std::process::id()).ok());
    let error = folder.take().expect_err("taken").to_string();
    assert!(error.contains("already running") && error.contains("mizzen down"), "{error}");
    drop(running);
    assert_eq!(folder.running(), None);
    folder.take().expect("free again");
}

#[test]
fn what_a_killed_mesh_left_behind_does_not_count() {
    let root = tempfile::tempdir().expect("folder");
    let folder = StateFolder::at(root.path().to_owned());
    for name in ["lock", "summary.json"] {
        fs::write(root.path().join(name), "").expect("left behind");
    }
    fs::write(root.path().join("process"), "1").expect("left behind");
    assert_eq!(folder.running(), None);
    let _running = folder.take().expect("free");
    assert!(!root.path().join("summary.json").exists());
}
