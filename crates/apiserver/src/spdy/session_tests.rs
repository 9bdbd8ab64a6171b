use super::*;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};

/// A client that speaks frames.
struct Client {
    frames: FramedRead<ReadHalf<DuplexStream>, FrameReader>,
    sink: FramedWrite<WriteHalf<DuplexStream>, FrameWriter>,
    served: tokio::task::JoinHandle<Result<(), SessionError>>,
}

impl Client {
    /// A session whose streams send back what they get, and say so once the client has finished.
    fn of_echoes() -> Self {
        let (near, far) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(far);
        let served = tokio::spawn(serve(reader, writer, |mut stream: Stream| {
            if stream.headers.get("refuse").is_some() {
                return Err("as it asked".to_owned());
            }
            tokio::spawn(async move {
                while let Some(arrival) = stream.input.next().await {
                    match arrival {
                        Arrival::Data(data) => _ = stream.output.send(data).await,
                        Arrival::End => {
                            stream.output.send(Bytes::from_static(b"heard")).await;
                            return stream.output.finish().await;
                        }
                    }
                }
            });
            Ok(())
        }));
        let (reader, writer) = tokio::io::split(near);
        let sink = FramedWrite::new(writer, FrameWriter::new().unwrap());
        Self { frames: FramedRead::new(reader, FrameReader::new()), sink, served }
    }

    async fn send(&mut self, frame: Frame) {
        self.sink.send(frame).await.unwrap();
    }

    async fn open(&mut self, stream: u32) {
        self.send(opening(stream, [])).await;
        let reply = Frame::SynReply { stream, finished: false, headers: Headers::default() };
        assert_eq!(self.next().await, reply);
    }

    async fn next(&mut self) -> Frame {
        self.frames.next().await.unwrap().unwrap()
    }
}

fn opening<const N: usize>(stream: u32, headers: [(&str, &str); N]) -> Frame {
    Frame::SynStream { stream, finished: false, unidirectional: false, headers: headers.into() }
}

fn data(stream: u32, finished: bool, bytes: &'static [u8]) -> Frame {
    Frame::Data { stream, finished, data: Bytes::from_static(bytes) }
}

#[tokio::test]
async fn streams_are_answered_and_half_closed() {
    let mut client = Client::of_echoes();
    client.open(1).await;
    client.send(data(1, false, b"one")).await;
    assert_eq!(client.next().await, Frame::WindowUpdate { stream: 1, delta: 3 });
    assert_eq!(client.next().await, Frame::WindowUpdate { stream: 0, delta: 3 });
    assert_eq!(client.next().await, data(1, false, b"one"));
    client.send(data(1, true, b"")).await;
    assert_eq!(client.next().await, data(1, false, b"heard"));
    assert_eq!(client.next().await, data(1, true, b""));
    client.send(Frame::Ping { id: 5 }).await;
    assert_eq!(client.next().await, Frame::Ping { id: 5 });
    client.sink.close().await.unwrap();
    drop(client.frames);
    client.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn refused_and_unknown_streams_are_reset_alone() {
    let mut client = Client::of_echoes();
    client.send(opening(1, [("refuse", "me")])).await;
    assert!(matches!(client.next().await, Frame::SynReply { stream: 1, .. }));
    assert_eq!(client.next().await, Frame::RstStream { stream: 1, status: reset::PROTOCOL_ERROR });
    client.send(data(9, false, b"?")).await;
    assert_eq!(client.next().await, Frame::RstStream { stream: 9, status: reset::INVALID_STREAM });
    client.open(3).await;
}

#[tokio::test]
async fn no_more_streams_are_taken_than_are_bearable() {
    let mut client = Client::of_echoes();
    for stream in 0..u32::try_from(MOST_STREAMS).unwrap() {
        client.open(stream * 2 + 1).await;
    }
    client.send(opening(2001, [])).await;
    assert_eq!(client.next().await, Frame::RstStream { stream: 2001, status: reset::REFUSED_STREAM });
    // One that is over makes room.
    client.send(Frame::RstStream { stream: 1, status: 5 }).await;
    client.open(2003).await;
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_told_and_left() {
    let mut client = Client::of_echoes();
    client.open(3).await;
    client.send(opening(1, [])).await;
    assert_eq!(client.next().await, Frame::GoAway { last_stream: 3, status: reset::PROTOCOL_ERROR });
    assert!(client.frames.next().await.is_none());
    assert!(matches!(client.served.await.unwrap(), Err(SessionError::Order(1))));
}

#[tokio::test]
async fn a_closed_window_holds_data_back() {
    let mut client = Client::of_echoes();
    client.send(Frame::Settings { entries: vec![(INITIAL_WINDOW_SIZE, 2)] }).await;
    client.open(1).await;
    client.send(data(1, false, b"abc")).await;
    assert!(matches!(client.next().await, Frame::WindowUpdate { stream: 1, .. }));
    assert!(matches!(client.next().await, Frame::WindowUpdate { stream: 0, .. }));
    assert_eq!(client.next().await, data(1, false, b"ab"));
    client.send(Frame::WindowUpdate { stream: 1, delta: 1 }).await;
    assert_eq!(client.next().await, data(1, false, b"c"));
}
