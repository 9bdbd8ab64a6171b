use super::*;
use mizzen_apiserver::PodRef;

fn request() -> LogRequest {
    LogRequest {
        pod: PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() },
        container: "c".to_owned(),
        follow: false,
        previous: false,
        tail_lines: None,
        since: None,
        timestamps: false,
        limit_bytes: None,
    }
}

async fn text(mut stream: ByteStream) -> String {
    let mut all = Vec::new();
    while let Some(part) = stream.next().await {
        all.extend(part.expect("part"));
    }
    String::from_utf8(all).expect("text")
}

fn log() -> (tempfile::TempDir, Arc<Log>) {
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::create(folder.path(), 0).expect("log");
    (folder, log)
}

#[tokio::test]
async fn lines_come_back_as_they_were_written() {
    let (_folder, log) = log();
    log.clone().copy("stdout", "one\ntwo  spaced\n\nlast without end".as_bytes()).await;
    assert_eq!(text(log.read(&request()).expect("read")).await, "one\ntwo  spaced\n\nlast without end\n");
    let tail = LogRequest { tail_lines: Some(2), ..request() };
    assert_eq!(text(log.read(&tail).expect("read")).await, "\nlast without end\n");
    let stamped = LogRequest { tail_lines: Some(1), timestamps: true, ..request() };
    let stamped = text(log.read(&stamped).expect("read")).await;
    let (time, rest) = stamped.split_once(' ').expect("stamp");
    assert!(
        time.parse::<Timestamp>().is_ok() && time.len() == "2026-01-01T00:00:00.000000000Z".len(),
        "{time}"
    );
    assert_eq!(rest, "last without end\n");
    let later = LogRequest { since: Some(Timestamp::MAX), ..request() };
    assert_eq!(text(log.read(&later).expect("read")).await, "");
}

#[tokio::test]
async fn a_very_long_line_is_whole_again() {
    let (_folder, log) = log();
    let long = "x".repeat(50_000);
    log.clone().copy("stderr", format!("{long}\nshort\n").as_bytes()).await;
    assert_eq!(text(log.read(&request()).expect("read")).await, format!("{long}\nshort\n"));
}

#[tokio::test]
async fn following_shows_what_is_written_until_the_run_ends() {
    let (_folder, log) = log();
    log.clone().copy("stdout", "before\n".as_bytes()).await;
    let mut stream = log.read(&LogRequest { follow: true, ..request() }).expect("read");
    assert_eq!(stream.next().await.expect("open").expect("history"), "before\n");
    log.clone().copy("stdout", "after\n".as_bytes()).await;
    assert_eq!(stream.next().await.expect("open").expect("line"), "after\n");
    log.close();
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn rotation_loses_no_line_for_those_who_follow() {
    let (_folder, log) = log();
    let line = "y".repeat(10_000);
    let mut stream = log.read(&LogRequest { follow: true, ..request() }).expect("read");
    assert_eq!(stream.next().await.expect("open").expect("history"), "");
    let mut seen = 0;
    for _ in 0..11 {
        log.clone().copy("stdout", format!("{line}\n").repeat(100).as_bytes()).await;
        seen += stream.next().await.expect("open").expect("lines").len();
    }
    assert_eq!(seen, 1100 * 10_001);
    assert!(log.set_aside().exists());
}
