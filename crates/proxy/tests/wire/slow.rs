//! Clients that send half of something, or take nothing: each is cut off by the limit that is configured for it, and a
//! log tells of it.

use crate::common::*;
use mizzen_proxy::ProxyHandle;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::OnceLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing_subscriber::fmt::MakeWriter;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The beginning of a ClientHello that says it is longer.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// What this program has logged.
#[derive(Clone)]
struct Logged(watch::Sender<String>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send_modify(|text| text.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Logged {
    /// The program's one log, from now on.
    fn start() -> Self {
        static LOGGED: OnceLock<Logged> = OnceLock::new();
        let logged = LOGGED.get_or_init(|| {
            let logged = Logged(watch::channel(String::new()).0);
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(logged.clone()).finish();
            tracing::subscriber::set_global_default(subscriber).expect("the first");
            logged
        });
        logged.clone()
    }

    /// Waits for a line with all of these parts.
    async fn line(&self, parts: &[&str]) {
        let found = |text: &String| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        self.0.subscribe().wait_for(found).await.expect("log");
    }
}

/// A proxy whose every limit is short, with its access log.
struct Short {
    proxy: ProxyHandle,
    log: tempfile::NamedTempFile,
}

impl Short {
    fn start(application: SocketAddr) -> Self {
        let log = tempfile::NamedTempFile::new().expect("log");
        let manager = json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "short",
                "request_headers_timeout": "0.2s", "stream_idle_timeout": "0.2s",
                "route_config": { "virtual_hosts": [{
                    "name": "any", "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "application", "timeout": "0s" } }]
                }] },
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
                }],
                "access_log": [{
                    "name": "envoy.access_loggers.file",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                        "path": log.path().to_str(),
                        "log_format": { "text_format_source": { "inline_string":
                            "%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n" } }
                    }
                }]
            }
        });
        let listener =
            json!({ "name": "web", "address": anywhere(), "filter_chains": [{ "filters": [manager] }] });
        let bootstrap = json!({
            "node": { "id": "sidecar~10.0.0.1~a.default~default.svc.cluster.local" },
            "static_resources": { "listeners": [listener], "clusters": [cluster("application", application)] }
        });
        Self { proxy: start(&bootstrap, None), log }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.listener_addresses("web")[0]).await.expect("connect")
    }

    /// The lines of the access log, with which the proxy ends.
    fn lines(self) -> Vec<String> {
        self.proxy.shutdown();
        let text = std::fs::read_to_string(self.log.path()).expect("log");
        text.lines().map(str::to_owned).collect()
    }
}

/// All that comes until the other side closes.
async fn told(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends it as well.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Takes requests, and answers each with as much as it can get rid of. Says how often nobody wanted more.
async fn gusher() -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (ended, watched) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let ended = ended.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await?;
                while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
                ended.send_modify(|count| *count += 1);
                std::io::Result::Ok(())
            });
        }
    });
    (address, watched)
}

#[tokio::test]
async fn half_a_head_is_told_and_logged() {
    let (application, _) = gusher().await;
    let short = Short::start(application);
    let mut client = short.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await.expect("half a head");
    let answer = told(&mut client).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("\r\n\r\nrequest header timeout"),
        "{answer}"
    );
    let metrics = short.proxy.prometheus();
    let counted = "envoy_http_downstream_rq_header_timeout{envoy_http_conn_manager_prefix=\"short\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(short.lines(), ["HTTP/1.1 408 - request_header_timeout"]);
}

#[tokio::test]
async fn half_a_head_behind_a_request_is_told_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let application = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        // Open until the proxy has done with it.
        stream.read_to_end(&mut head).await
    });
    let short = Short::start(application);
    let mut client = short.connect().await;
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nx: ")
        .await
        .expect("one and a half");
    let answer = told(&mut client).await;
    assert!(answer.contains("\r\n\r\nokHTTP/1.1 408 "), "{answer}");
    assert_eq!(short.lines(), ["HTTP/1.1 200 - via_upstream", "HTTP/1.1 408 - request_header_timeout"]);
}

#[tokio::test]
async fn half_a_preface_ends_and_is_logged() {
    let (application, _) = gusher().await;
    let short = Short::start(application);
    // All but its end, and all of it with half of the frame that must follow.
    for beginning in [&PREFACE[..20], &[PREFACE, b"\0\0\0\x04"].concat()] {
        let mut client = short.connect().await;
        client.write_all(beginning).await.expect("beginning");
        told(&mut client).await;
    }
    let mut lines = short.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["HTTP/1.1 0 SI request_header_timeout", "HTTP/2 0 SI request_header_timeout"]);
}

#[tokio::test]
async fn a_quiet_http2_connection_is_no_half_request() {
    let (application, _) = gusher().await;
    let short = Short::start(application);
    let mut client = short.connect().await;
    client.write_all(&[PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat()).await.expect("beginning");
    // A ping some time later than heads are waited for: its answer shows that the connection lives.
    let mut half = short.connect().await;
    half.write_all(b"GET").await.expect("half a head");
    told(&mut half).await;
    client.write_all(b"\0\0\x08\x06\0\0\0\0\0lifetime").await.expect("ping");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\0\0\x08\x06\x01\0\0\0\0lifetime") {
        assert_ne!(client.read_buf(&mut answer).await.expect("answer"), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_told_and_logged() {
    // Takes connections, and answers nothing.
    let application = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = application.local_addr().expect("address");
    let short = Short::start(address);
    let mut client = short.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await.expect("half");
    let answer = told(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("\r\n\r\nstream timeout"), "{answer}");
    assert_eq!(short.lines(), ["HTTP/1.1 408 SI stream_idle_timeout"]);
}

#[tokio::test]
async fn who_takes_no_response_is_cut_off_and_logged() {
    let (application, mut ended) = gusher().await;
    let short = Short::start(application);
    let mut first = short.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("request");
    ended.wait_for(|count| *count == 1).await.expect("the end of the first");
    // Over HTTP/2 the socket has room; it is the stream's window that is not opened.
    let mut second = short.connect().await;
    let request = [PREFACE, b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x06\x01\x05\0\0\0\x01\x82\x84\x86\x41\x01a"];
    second.write_all(&request.concat()).await.expect("request");
    ended.wait_for(|count| *count == 2).await.expect("the end of the second");
    let mut lines = short.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["HTTP/1.1 200 SI stream_idle_timeout", "HTTP/2 200 SI stream_idle_timeout"]);
}

#[tokio::test]
async fn half_a_hello_ends_and_is_logged() {
    let logged = Logged::start();
    let authority = Authority::new();
    let (_secrets, source) = watch::channel(Some(authority.workload("spiffe://cluster.local/ns/a/sa/a")));
    let listener = |name: &str, more: Value| {
        let mut listener = json!({
            "name": name, "address": anywhere(),
            "filter_chains": [{
                "transport_socket": mutual_tls(&["h2"]), "transport_socket_connect_timeout": "0.2s",
                "filters": [tcp_proxy("application")]
            }]
        });
        for (key, value) in more.as_object().expect("object") {
            listener[key] = value.clone();
        }
        listener
    };
    let inspected = json!({
        "listener_filters": [listener_filter("tls_inspector", "TlsInspector")], "listener_filters_timeout": "0.2s"
    });
    let proxy = start(
        &json!({
            "node": { "id": "sidecar~10.0.0.1~a.default~default.svc.cluster.local" },
            "static_resources": {
                "listeners": [listener("handshake", json!({})), listener("inspection", inspected)],
                "clusters": [cluster("application", echo("application").await)]
            }
        }),
        Some(source),
    );
    proxy.ready().await;
    for (name, what) in [("handshake", "TLS was not accepted"), ("inspection", "closed before")] {
        for beginning in [HALF_A_HELLO, b""] {
            let address = proxy.listener_addresses(name)[0];
            let mut client = TcpStream::connect(address).await.expect("connect");
            client.write_all(beginning).await.expect("half a hello");
            assert_eq!(told(&mut client).await, "");
            let peer = format!("peer={}", client.local_addr().expect("address"));
            logged.line(&["WARN", what, &peer, "within 200ms"]).await;
        }
    }
}
