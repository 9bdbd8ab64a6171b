use super::*;
use crate::server::serve;
use futures::{SinkExt, StreamExt};
use http_body_util::{Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mizzen_base::drain::{self, DrainTrigger};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

async fn echo(server_first: bool) -> (SocketAddr, DrainTrigger) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let (trigger, watcher) = drain::channel();
    let identity = Identity { pod: "payments-1".into(), namespace: "shop".into(), version: "v2".into() };
    tokio::spawn(serve(listener, Arc::new(Echo { identity, server_first }), watcher));
    (address, trigger)
}

async fn http1_answer(address: SocketAddr, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await.expect("a response").into_parts();
    Response::from_parts(parts, body.collect().await.expect("a body").to_bytes())
}

async fn http2_sender(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connected");
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "payments.shop").body(Full::default()).expect("a request")
}

#[tokio::test]
async fn it_tells_who_it_is_and_what_it_got() {
    let (address, _trigger) = echo(false).await;
    let request = Request::post("/pay?x=1")
        .header("host", "payments.shop")
        .header("x-forwarded-client-cert", "By=spiffe://a;URI=spiffe://b")
        .body(Full::from("12345"))
        .expect("a request");
    let answer = http1_answer(address, request).await;
    let told: Value = serde_json::from_slice(answer.body()).expect("json");
    assert_eq!(
        (&told["pod"], &told["version"], &told["namespace"]),
        (&"payments-1".into(), &"v2".into(), &"shop".into())
    );
    assert_eq!(
        (&told["method"], &told["path"], &told["query"]),
        (&"POST".into(), &"/pay".into(), &"x=1".into())
    );
    assert_eq!(told["authority"], "payments.shop");
    assert_eq!(told["protocol"], "HTTP/1.1");
    assert_eq!(told["received_bytes"], 5);
    assert_eq!(told["client_certificate"], "By=spiffe://a;URI=spiffe://b");
    assert_eq!(told["headers"]["host"], "payments.shop");
}

#[tokio::test]
async fn one_port_speaks_http2_too() {
    let (address, _trigger) = echo(false).await;
    let mut sender = http2_sender(address).await;
    let request =
        Request::get(format!("http://{address}/?format=text")).body(Full::default()).expect("a request");
    let answer = sender.send_request(request).await.expect("a response");
    let text = answer.into_body().collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("protocol=HTTP/2\n") && text.contains("version=v2\n"), "{text}");
}

#[tokio::test]
async fn callers_control_the_answer() {
    let (address, _trigger) = echo(false).await;
    let answer = http1_answer(address, get("/?status=418&header=x-a:b")).await;
    assert_eq!(answer.status(), 418);
    assert_eq!(answer.headers()["x-a"], "b");
    assert_eq!(http1_answer(address, get("/?fail=100%25")).await.status(), 503);
    assert_eq!(http1_answer(address, get("/?bytes=40000")).await.body().len(), 40_000);
    let lines = http1_answer(address, get("/?stream=3&interval=1ms")).await;
    assert_eq!(String::from_utf8_lossy(lines.body()).lines().count(), 3);
    assert_eq!(http1_answer(address, get("/?close")).await.headers()["connection"], "close");
    let refused = http1_answer(address, get("/?delay=soon")).await;
    assert_eq!(refused.status(), 400);
    assert!(String::from_utf8_lossy(refused.body()).contains("delay=soon"));
}

#[tokio::test]
async fn bodies_sent_to_echo_come_back() {
    let (address, _trigger) = echo(false).await;
    let request = Request::post("/echo")
        .header("host", "a")
        .header("content-type", "text/csv")
        .body(Full::from("a,b"))
        .expect("a request");
    let answer = http1_answer(address, request).await;
    assert_eq!(answer.body().as_ref(), b"a,b");
    assert_eq!(answer.headers()["content-type"], "text/csv");
}

#[tokio::test]
async fn connect_and_unknown_upgrades_are_refused() {
    let (address, _trigger) = echo(false).await;
    let connect = Request::connect("example.com:443").body(Full::default()).expect("a request");
    assert_eq!(http1_answer(address, connect).await.status(), 405);
    let mut upgrade = get("/");
    upgrade.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
    upgrade.headers_mut().insert("upgrade", HeaderValue::from_static("foo"));
    assert_eq!(http1_answer(address, upgrade).await.status(), 501);
}

async fn call(
    address: SocketAddr,
    path: &str,
    message: &'static [u8],
    status: Option<&str>,
) -> (Bytes, String) {
    let mut request =
        Request::post(format!("http://{address}{path}")).header("content-type", "application/grpc");
    if let Some(status) = status {
        request = request.header("x-echo-status", status);
    }
    let request = request.body(Full::from(message)).expect("a request");
    let response = http2_sender(address).await.send_request(request).await.expect("a response");
    let head = response.headers().get("grpc-status").cloned();
    let body = response.into_body().collect().await.expect("a body");
    let status = head.or_else(|| body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned()));
    let status = status.expect("a grpc-status").to_str().expect("text").to_owned();
    (body.to_bytes(), status)
}

#[tokio::test]
async fn grpc_methods_give_their_messages_back() {
    let (address, _trigger) = echo(false).await;
    let framed = b"\0\0\0\0\x02hi\0\0\0\0\x01!";
    assert_eq!(
        call(address, "/any.Service/Method", framed, None).await,
        (Bytes::from_static(framed), "0".into())
    );
    assert_eq!(call(address, "/any.Service/Method", framed, Some("7")).await.1, "7");
    let health = call(address, "/grpc.health.v1.Health/Check", b"\0\0\0\0\0", None).await;
    assert_eq!(health, (Bytes::from_static(b"\0\0\0\0\x02\x08\x01"), "0".into()));
    let (described, _) = call(address, "/mizzen.echo.v1.Echo/Describe", b"\0\0\0\0\0", None).await;
    assert!(String::from_utf8_lossy(&described).contains("payments-1"));
}

#[tokio::test]
async fn websocket_messages_come_back_until_the_drain() {
    let (address, trigger) = echo(false).await;
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut socket, _) =
        tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await.expect("a WebSocket");
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(socket.next().await.expect("a message").expect("sound"), Message::text("hello"));
    trigger.start();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(Some(_))))));
}

#[tokio::test]
async fn bytes_that_are_not_http_come_back() {
    let (address, _trigger) = echo(false).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(b"hello\n").await.expect("sent");
    stream.shutdown().await.expect("half closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert_eq!(answer, "hello\n");
}

#[tokio::test]
async fn a_server_first_port_greets() {
    let (address, _trigger) = echo(true).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let mut greeting = [0_u8; 22];
    stream.read_exact(&mut greeting).await.expect("a greeting");
    assert_eq!(&greeting, b"220 payments-1 ready\r\n");
}

#[tokio::test]
async fn requests_under_way_are_finished_at_the_end() {
    let (address, trigger) = echo(false).await;
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let request = Request::get("/?stream=2&interval=50ms").header("host", "a").body(Empty::<Bytes>::new());
    let response = sender.send_request(request.expect("a request")).await.expect("a response");
    trigger.start();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(String::from_utf8_lossy(&body).lines().count(), 2);
    assert!(trigger.drain(Duration::from_secs(5)).await);
}
