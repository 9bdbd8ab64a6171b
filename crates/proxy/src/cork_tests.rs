use super::*;
use std::future::poll_fn;
use std::pin::pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Counts how often it is written to.
struct Counting {
    stream: tokio::io::DuplexStream,
    writes: Rc<std::cell::Cell<usize>>,
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if polled.is_ready() {
            self.writes.set(self.writes.get() + 1);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tokio::test]
async fn what_is_written_in_one_turn_leaves_as_one() {
    let (here, mut there) = tokio::io::duplex(64 * 1024);
    let writes = Rc::default();
    let (mut corked, cork) = cork(Counting { stream: here, writes: Rc::clone(&writes) });
    let user = async {
        for _ in 0..10 {
            corked.write_all(b"frame").await.expect("gathered");
            corked.flush().await.expect("nothing to wait for");
        }
    };
    let mut user = pin!(user);
    poll_fn(|context| cork.turn(user.as_mut(), context)).await;
    assert_eq!(writes.get(), 1);
    let mut read = vec![0; 50];
    there.read_exact(&mut read).await.expect("written");
    assert_eq!(read, b"frame".repeat(10));
}

#[tokio::test]
async fn all_of_it_arrives_in_order_through_a_narrow_stream() {
    let (here, mut there) = tokio::io::duplex(100);
    let (mut corked, cork) = cork(here);
    let sent: Vec<u8> = (0..200_000u32).map(|number| number.to_le_bytes()[0]).collect();
    let pieces = sent.clone();
    let user = async move {
        let mut rest = pieces.as_slice();
        // Small ones are gathered, large ones pass; their order stays.
        for size in [1, 3_000, 20_000, 7, 9_000].into_iter().cycle() {
            let (piece, more) = rest.split_at(rest.len().min(size));
            corked.write_all(piece).await.expect("written");
            corked.flush().await.expect("flushed");
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        corked.shutdown().await.expect("shut down");
    };
    let mut user = pin!(user);
    let mut received = Vec::new();
    let (_, read) =
        tokio::join!(poll_fn(|context| cork.turn(user.as_mut(), context)), there.read_to_end(&mut received));
    read.expect("read to the end");
    assert!(received == sent);
}

#[tokio::test]
async fn a_broken_stream_fails_the_next_write() {
    let (here, there) = tokio::io::duplex(100);
    drop(there);
    let (mut corked, cork) = cork(here);
    let user = async {
        corked.write_all(b"lost").await.expect("gathered");
        tokio::task::yield_now().await;
        corked.write_all(b"refused").await.err()
    };
    let mut user = pin!(user);
    let failure = poll_fn(|context| cork.turn(user.as_mut(), context)).await;
    assert_eq!(failure.expect("an error").kind(), io::ErrorKind::BrokenPipe);
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_broken_stream_wakes_a_user_that_only_waits_once() {
    let (here, there) = tokio::io::duplex(100);
    drop(there);
    let (mut corked, cork) = cork(here);
    let user = async {
        corked.write_all(b"lost").await.expect("gathered");
        std::future::pending::<()>().await;
    };
    let mut user = pin!(user);
    let wakes = std::sync::Arc::<Wakes>::default();
    let waker = std::task::Waker::from(std::sync::Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    for _ in 0..5 {
        assert!(cork.turn(user.as_mut(), &mut context).is_pending());
    }
    assert_eq!(wakes.0.load(std::sync::atomic::Ordering::Relaxed), 1);
}
