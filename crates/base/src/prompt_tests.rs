use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

fn pair() -> (DuplexStream, Prompt<DuplexStream>) {
    let (client, server) = duplex(64);
    (client, Prompt::new(server, Ends::default(), Patience::default()))
}

/// What reading gives after the client has sent `beginning` and then nothing more.
async fn after(beginning: &[u8]) -> io::Result<Vec<u8>> {
    let (mut client, mut server) = pair();
    client.write_all(beginning).await.expect("beginning");
    let mut seen = Vec::new();
    let reading = async {
        while server.read_buf(&mut seen).await? > 0 {}
        io::Result::Ok(())
    };
    // An hour is more than any limit, and the paused clock jumps over it.
    match tokio::time::timeout(Duration::from_secs(3600), reading).await {
        Ok(ended) => ended.map(|()| seen),
        Err(_) => Ok(seen),
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_begin_is_cut_off() {
    for beginning in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM"] {
        let error = after(beginning).await.expect_err("waited for ever");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{beginning:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_begun_may_be_quiet() {
    for beginning in [PREFACE, b"G", b"POST / HTTP/1.1\r\n", b"PUT /"] {
        assert_eq!(after(beginning).await.expect("cut off"), beginning);
    }
}

#[tokio::test(start_paused = true)]
async fn drops_of_a_beginning_do_not_put_off_its_end() {
    let (mut client, mut server) = pair();
    tokio::spawn(async move {
        for byte in PREFACE {
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.write_all(&[*byte]).await?;
        }
        io::Result::Ok(())
    });
    let mut seen = Vec::new();
    let error = server.read_to_end(&mut seen).await.expect_err("waited for all of it");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(seen, PREFACE[..3]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_cut_off() {
    let (client, mut server) = pair();
    let error = server.write_all(&[0; 65]).await.expect_err("waited for ever");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn who_takes_slowly_gets_all() {
    let (mut client, mut server) = pair();
    let taking = tokio::spawn(async move {
        let mut taken = 0;
        let mut piece = [0; 16];
        loop {
            tokio::time::sleep(Duration::from_secs(50)).await;
            match client.read(&mut piece).await {
                Ok(0) | Err(_) => return taken,
                Ok(count) => taken += count,
            }
        }
    });
    server.write_all(&[0; 1024]).await.expect("cut off");
    drop(server);
    assert_eq!(taking.await.expect("client"), 1024);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_written_answers() {
    let (mut client, mut server) = pair();
    let unanswered = server.unanswered();
    assert!(!unanswered.get());
    client.write_all(b"GET /").await.expect("half a head");
    server.read_exact(&mut [0; 5]).await.expect("half a head");
    server.flush().await.expect("nothing");
    assert!(unanswered.get());
    server.write_all(b"HTTP/1.1 200 OK").await.expect("answer");
    assert!(!unanswered.get());
}
