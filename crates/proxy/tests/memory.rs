//! What the data plane holds and allocates, counted by the allocator: no clock, no other process, no kernel has a say.
//!
//! A bound that is passed is no error of the code; it is a cost to be looked at before it is accepted. What the TLS
//! library keeps on C's heap (keys and ciphers of a session) is not seen here; the benchmarks read it from the kernel.

// The wire tests use the rest.
#[allow(dead_code)]
#[path = "wire/common/mod.rs"]
mod common;

use common::{Authority, anywhere, cluster, mutual_tls};
use mizzen_proxy::{Proxy, ProxyConfig, ProxyHandle, WorkloadSecrets};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};
use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SERVER: &str = "spiffe://cluster.local/ns/default/sa/server";
const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/client";
/// Connections among which what one holds is divided.
const CROWD: usize = 200;
/// Requests among which what one allocates is divided.
const REQUESTS: usize = 500;
const REQUEST: &[u8] =
    b"GET /cart?item=1 HTTP/1.1\r\nhost: shop.example\r\nuser-agent: memory\r\naccept: */*\r\n\r\n";

/// How long connections may take to become quiet.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the process holds beside its connections: configuration, metrics, runtimes. It was 155 KB.
const AT_REST: isize = 200 << 10;
/// It was 17, of which hyper's and tokio's are more than half.
const ALLOCATIONS: isize = 20;
/// It was 2.6 KB, nearly all of it the task; 8 KB is what may never be passed.
const PLAIN: isize = 3 << 10;
/// It was 10.7 KB, most of it rustls's session with a buffer of 4 KB; 20 KB is what may never be passed, with about
/// 1.2 KB that are on C's heap.
const TLS: isize = 12 << 10;

/// Where the crowd, which is this program a second time, finds what to do.
const ADDRESS: &str = "MIZZEN_MEMORY_ADDRESS";
/// What it says when all have an answer.
const ANSWERED: &str = "everybody is answered";
/// Certificate, key and root of a crowd over TLS, one after the other; without it, it is plain.
const CREDENTIALS: &str = "MIZZEN_MEMORY_CREDENTIALS";

/// Bytes that are allocated now.
fn held() -> isize {
    let Stats { bytes_allocated, bytes_deallocated, .. } = COUNTING.stats();
    bytes_allocated as isize - bytes_deallocated as isize
}

/// An answer of the given end is read whole, without allocating.
fn read_answer(stream: &mut impl Read, end: &[u8]) {
    let mut buffer = [0; 4096];
    let mut filled = 0;
    while !buffer[..filled].ends_with(end) {
        let count = stream.read(&mut buffer[filled..]).expect("answer");
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&buffer[..filled]));
        filled += count;
    }
}

/// An application that allocates nothing for a request.
fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                loop {
                    let mut buffer = [0; 4096];
                    let mut filled = 0;
                    while !buffer[..filled].ends_with(b"\r\n\r\n") {
                        match stream.read(&mut buffer[filled..]) {
                            Ok(0) | Err(_) => return,
                            Ok(count) => filled += count,
                        }
                    }
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A proxy as a sidecar's is: Istio's metrics, an access log, a listener in plain text and one with mutual TLS.
/// One worker, so that a request waits for what others have left it to do.
fn proxy(
    authority: &Authority,
    clusters: usize,
) -> (ProxyHandle, watch::Sender<Option<Arc<WorkloadSecrets>>>) {
    let application = application();
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "memory",
            "route_config": { "virtual_hosts": [{
                "name": "any", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "application-0" } }]
            }] },
            "http_filters": [
                { "name": "istio.stats", "typed_config": { "@type": "type.googleapis.com/stats.PluginConfig" } },
                { "name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }
            ],
            "access_log": [{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": "/dev/null"
                }
            }]
        }
    });
    let listener = |name: &str, transport_socket: Option<Value>| {
        let mut chain = json!({ "filters": [manager] });
        if let Some(socket) = transport_socket {
            chain["transport_socket"] = socket;
        }
        json!({ "name": name, "address": anywhere(), "filter_chains": [chain] })
    };
    let (secrets, source) = watch::channel(Some(authority.workload(SERVER)));
    let clusters: Vec<Value> =
        (0..clusters).map(|index| cluster(&format!("application-{index}"), application)).collect();
    let bootstrap = json!({
        "node": { "id": "sidecar~10.0.0.1~server.default~default.svc.cluster.local" },
        "static_resources": {
            "listeners": [listener("plain", None), listener("tls", Some(mutual_tls(&["http/1.1"])))],
            "clusters": clusters
        }
    });
    let bootstrap = mizzen_proxy::read_bootstrap(&bootstrap.to_string()).expect("bootstrap");
    let config = ProxyConfig { bootstrap, concurrency: 1, secrets: Some(source), ..ProxyConfig::default() };
    (Proxy::start(config).expect("proxy"), secrets)
}

/// Clients in a process of their own, whose memory is not counted: each has made a request and is idle.
struct Crowd {
    child: Child,
    /// Open until it has ended, since it still writes.
    output: BufReader<ChildStdout>,
}

impl Crowd {
    fn gather(address: SocketAddr, credentials: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "the_crowd", "--nocapture"]).env(ADDRESS, address.to_string());
        if let Some(credentials) = credentials {
            command.env(CREDENTIALS, credentials);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the crowd");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut crowd = Self { child, output };
        crowd.is_answered();
        crowd
    }

    fn is_answered(&mut self) {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(ANSWERED)), "the crowd did not get what it asked for");
    }

    /// All ask once more on their connections.
    fn asks_again(&mut self) {
        self.child.stdin.as_mut().expect("its input").write_all(b"!").expect("word");
        self.is_answered();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for S {}

async fn join(address: SocketAddr) -> Box<dyn Wire> {
    let Ok(credentials) = std::env::var(CREDENTIALS) else {
        return Box::new(tokio::net::TcpStream::connect(address).await.expect("connect"));
    };
    let parts: Vec<&str> = credentials.split('|').collect();
    let [chain, key, root] = parts.as_slice() else { panic!("{credentials}") };
    let own = Some(((*chain).to_owned(), (*key).to_owned()));
    Box::new(common::tls(address, "server", root, own, &["http/1.1"]).await.expect("handshake"))
}

/// Not a test: what the other process does.
#[test]
#[ignore = "run by the others"]
fn the_crowd() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let address = address.parse().expect("address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let mut members = Vec::new();
        for _ in 0..CROWD {
            members.push(join(address).await);
        }
        loop {
            for member in &mut members {
                member.write_all(REQUEST).await.expect("request");
                let mut answer = Vec::new();
                while !answer.ends_with(b"hello") {
                    assert_ne!(member.read_buf(&mut answer).await.expect("answer"), 0);
                }
            }
            println!("{ANSWERED}");
            if !matches!(std::io::stdin().read(&mut [0]), Ok(1)) {
                return;
            }
        }
    });
}

/// Everything in one test, one after the other: the allocator counts for all threads.
#[test]
fn what_is_held_and_allocated_is_bounded() {
    let authority = Authority::new();
    mizzen_identity::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");

    let before = held();
    let (proxy, _secrets) = proxy(&authority, 10);
    runtime.block_on(proxy.ready());
    let (plain, tls) = (proxy.listener_addresses("plain")[0], proxy.listener_addresses("tls")[0]);
    let at_rest = held() - before;

    // Once over, so that what is made once is there: pools, series of metrics, buffers.
    let mut client = TcpStream::connect(plain).expect("connect");
    let ask = |client: &mut TcpStream| {
        client.write_all(REQUEST).expect("request");
        read_answer(client, b"hello");
    };
    (0..REQUESTS).for_each(|_| ask(&mut client));
    let counted = COUNTING.stats();
    (0..REQUESTS).for_each(|_| ask(&mut client));
    let counted = COUNTING.stats() - counted;
    let allocations = (counted.allocations + counted.reallocations) / REQUESTS;

    let (chain, key) = authority.issue(CLIENT);
    let credentials = [chain, key, authority.root.clone()].join("|");
    let mut idle = |address, credentials, bound: isize| {
        // The first crowd leaves behind what is made once.
        drop(Crowd::gather(address, credentials));
        let before = settled(&mut client, None);
        let mut crowd = Crowd::gather(address, credentials);
        let held = settled(&mut client, Some(before + bound * CROWD as isize)) - before;
        // Whoever rests is served again.
        crowd.asks_again();
        held / CROWD as isize
    };
    let idle_plain = idle(plain, None, PLAIN);
    let idle_tls = idle(tls, Some(credentials.as_str()), TLS);

    for (what, found, bound) in [
        ("bytes held by a proxy at rest with ten clusters", at_rest, AT_REST),
        ("allocations for a request on an open connection", allocations as isize, ALLOCATIONS),
        ("bytes held for an idle connection", idle_plain, PLAIN),
        ("bytes held for an idle connection with TLS", idle_tls, TLS),
    ] {
        println!("{what}: {found} of {bound}");
        assert!(found <= bound, "{what}: {found}, more than {bound}");
    }
}

/// What is held once everything that was begun has ended: the least of some looks, each after a request, which the
/// worker takes in turn with what it has still to do. Looks until it is no more than expected, or patience ends: a
/// connection gives its buffers back only when it has been quiet for some seconds.
fn settled(client: &mut TcpStream, expected: Option<isize>) -> isize {
    let begun = Instant::now();
    let mut least = isize::MAX;
    loop {
        for _ in 0..50 {
            client.write_all(REQUEST).expect("request");
            read_answer(client, b"hello");
            least = least.min(held());
        }
        if expected.is_none_or(|expected| least <= expected) || begun.elapsed() > PATIENCE {
            return least;
        }
    }
}
