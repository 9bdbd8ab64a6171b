use super::*;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn timing(failures: i32, successes: i32) -> Timing {
    let probe = json!({"periodSeconds": 1, "failureThreshold": failures, "successThreshold": successes});
    Timing::of(&serde_json::from_value(probe).expect("probe"))
}

/// Leaves the eager phase behind, with failures only.
fn patient(timing: Timing) -> Counter {
    let mut counter = Counter::new(timing);
    while counter.pause() < timing.period {
        assert_eq!(counter.count(false), Turn::Same);
    }
    counter
}

#[test]
fn defaults_are_kubernetes() {
    let timing = Timing::of(&Probe::default());
    assert_eq!(
        (timing.period, timing.timeout, timing.initial_delay),
        (Duration::from_secs(10), Duration::from_secs(1), Duration::ZERO)
    );
    assert_eq!((timing.failure_threshold, timing.success_threshold), (3, 1));
}

#[test]
fn thresholds_are_counted_in_a_row() {
    let mut counter = patient(timing(2, 2));
    assert_eq!(counter.count(true), Turn::Same);
    assert_eq!(counter.count(true), Turn::Passes);
    assert_eq!(counter.count(true), Turn::Same);
    assert_eq!(counter.count(false), Turn::Same);
    assert_eq!(counter.count(true), Turn::Same);
    assert_eq!(counter.count(false), Turn::Same);
    assert_eq!(counter.count(false), Turn::Fails);
}

#[test]
fn attempts_are_quick_until_the_first_success_and_failures_then_do_not_count() {
    let mut counter = Counter::new(timing(1, 1));
    let pauses: Vec<u128> = (0..7).map(|_| counter.pause().as_millis()).collect();
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    let mut counter = Counter::new(timing(1, 1));
    assert_eq!(counter.count(false), Turn::Same);
    assert_eq!(counter.count(true), Turn::Passes);
    assert_eq!(counter.pause(), Duration::from_secs(1));
    assert_eq!(counter.count(false), Turn::Fails);
}

fn target(port: u16) -> Target {
    let container = json!({"name": "c", "ports": [{"name": "http", "containerPort": port}]});
    Target {
        network: NetworkNamespace::current().expect("namespace"),
        address: Ipv4Addr::LOCALHOST,
        container: serde_json::from_value(container).expect("container"),
    }
}

/// A server that reads a request and gives one answer; `None` (said aloud) where tests may not enter
/// even their own network namespace.
async fn attempt(answer: &'static str, action: serde_json::Value) -> Option<Result<(), String>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let target = target(listener.local_addr().expect("address").port());
    if let Err(error) = target.network.run(|| ()) {
        println!("skipped: may not enter a network namespace ({error})");
        return None;
    }
    let action: HTTPGetAction = serde_json::from_value(action).expect("action");
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut buffer = vec![0; 4096];
        let length = stream.read(&mut buffer).await.expect("request");
        stream.write_all(answer.as_bytes()).await.expect("answer");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let (outcome, request) = tokio::join!(http(&target, &action), serve);
    assert!(request.starts_with("GET /healthz HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("x-probe: yes\r\n") && request.contains("host: app.example\r\n"), "{request}");
    Some(outcome)
}

#[tokio::test]
async fn http_statuses_decide() {
    let action = json!({"path": "healthz", "port": "http", "httpHeaders": [
        {"name": "X-Probe", "value": "yes"}, {"name": "Host", "value": "app.example"}]});
    let good = "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";
    let Some(outcome) = attempt(good, action.clone()).await else { return };
    assert_eq!(outcome, Ok(()));
    let bad = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nno db";
    let outcome = attempt(bad, action).await.expect("entered before");
    assert_eq!(outcome, Err("HTTP probe failed with statuscode: 503 no db".to_owned()));
}

#[test]
fn a_port_must_exist() {
    let target = target(80);
    assert_eq!(target.port(&IntOrString::String("http".to_owned())), Ok(80));
    assert_eq!(target.port(&IntOrString::String("8080".to_owned())), Ok(8080));
    assert!(target.port(&IntOrString::String("grpc".to_owned())).is_err());
    assert!(target.port(&IntOrString::Int(70_000)).is_err());
}

#[test]
fn health_messages() {
    assert_eq!(health_request("").as_ref(), [0, 0, 0, 0, 0]);
    assert_eq!(health_request("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    assert_eq!(health_status(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
    assert_eq!(health_status(&[0, 0, 0, 0, 0]), Some(0));
    assert_eq!(health_status(&[]), None);
}
