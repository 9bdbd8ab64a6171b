use super::*;
use k8s_openapi::api::core::v1::Pod;
use mizzen_apiserver::PodRef;
use mizzen_net::process::Placement;
use serde_json::{Value, json};

/// A shell as a container's main process, and its log's folder.
fn shell(script: &str, mut fields: Value) -> (tempfile::TempDir, Started) {
    fields["name"] = json!("c");
    fields["image"] = json!("host/sh");
    let container: Container = serde_json::from_value(fields).expect("container");
    let args = ["-c".to_owned(), script.to_owned()];
    let launch = super::super::image::launch(&Pod::default(), &container, &[], &args, &Default::default());
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::create(folder.path(), 0).expect("log");
    let place = Place { placement: Placement::default(), environment: process::base_environment("c") };
    let started = start(place, &launch, &container, &log).expect("started");
    (folder, started)
}

fn request(stdin: bool, tty: bool) -> AttachRequest {
    let pod = PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
    AttachRequest { pod, container: "c".to_owned(), stdin, stdout: true, stderr: !tty, tty }
}

async fn all(stream: Option<ByteStream>) -> String {
    let mut stream = stream.expect("stream");
    let mut text = Vec::new();
    while let Some(piece) = stream.next().await {
        text.extend(piece.expect("piece"));
    }
    String::from_utf8(text).expect("text")
}

/// Waits for the end of the process, as the kubelet does.
async fn finish(mut started: Started) {
    started.child.wait().await.expect("end");
    for copy in started.copies {
        copy.await.expect("copied");
    }
    started.main.log.close();
}

#[tokio::test]
async fn a_client_talks_to_the_process_and_hears_both_outputs() {
    let (_folder, started) =
        shell("read a; echo got $a; echo oops >&2; cat", json!({"stdin": true, "stdinOnce": true}));
    let mut session = started.main.attach(&request(true, false)).expect("attached");
    let mut stdin = session.stdin.take().expect("stdin");
    stdin.write_all(b"word\nrest").await.expect("written");
    // Input ends with the client, because of stdinOnce: `cat` ends by it.
    stdin.shutdown().await.expect("closed");
    let ((), stdout, stderr, exit) =
        tokio::join!(finish(started), all(session.stdout), all(session.stderr), session.exit);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("got word\nrest", "oops\n"));
    assert_eq!(exit.ok(), Some(0));
}

#[tokio::test]
async fn a_container_with_a_terminal_has_one() {
    let (_folder, started) = shell("read a; tty", json!({"stdin": true, "tty": true}));
    let mut session = started.main.attach(&request(true, true)).expect("attached");
    assert!(session.resize.is_some());
    session.stdin.as_mut().expect("stdin").write_all(b"go\n").await.expect("written");
    let ((), stdout) = tokio::join!(finish(started), all(session.stdout));
    assert!(stdout.contains("/dev/pts/"), "{stdout}");
}

#[tokio::test]
async fn what_a_container_lacks_is_refused_by_name() {
    let (_folder, started) = shell("true", json!({}));
    let refused =
        |request| started.main.attach(&request).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused(request(true, false)).contains("was not started with stdin: true"));
    assert!(refused(request(false, true)).contains("was not started with tty: true"));
    let main = started.main.clone();
    finish(started).await;
    let late = main.attach(&request(false, false)).err().map(|error| error.to_string());
    assert!(late.unwrap_or_default().contains("not running"));
}
