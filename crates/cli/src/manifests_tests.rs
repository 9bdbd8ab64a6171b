use super::*;

#[test]
fn folders_stand_for_their_manifests() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("inner")).expect("a new folder");
    for name in ["b.yaml", "a.json", "notes.txt", "inner/c.yml"] {
        std::fs::write(path(name), "a: 1\n").expect("a new file");
    }
    let names = |recursive: bool| files(&[folder.path().to_path_buf()], recursive).expect("readable folders");
    assert_eq!(names(false), [path("a.json"), path("b.yaml")]);
    assert_eq!(names(true), [path("a.json"), path("b.yaml"), path("inner/c.yml")]);
    assert_eq!(files(&[path("notes.txt"), "-".into()], false).expect("no folder"), [PathBuf::from("-")]);
}

#[test]
fn what_is_not_yaml_is_named_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let file = folder.path().join("broken.yaml");
    std::fs::write(&file, "a: 1\na: 2\n").expect("a new file");
    let error = read(&file).expect_err("a key twice");
    let message = format!("{}:2:1: the key \"a\" is already set above", file.display());
    assert_eq!(error.to_string(), message);
    assert_eq!(error.downcast_ref::<ExitError>().map(|error| error.code), Some(BAD_DATA));
}
