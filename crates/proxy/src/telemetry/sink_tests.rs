use super::*;

#[test]
fn every_line_of_every_worker_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let sink = LogSink::open(path.to_str().unwrap(), 2, Shared::default()).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let sink = &sink;
            scope.spawn(move || {
                for number in 0..1000 {
                    sink.write(worker, |out| out.push_str(&format!("{worker}:{number}\n")));
                }
            });
        }
    });
    drop(sink);
    let text = std::fs::read_to_string(path).unwrap();
    let of = |worker: &str| -> Vec<usize> {
        text.lines().filter_map(|line| line.strip_prefix(worker)?.strip_prefix(':')?.parse().ok()).collect()
    };
    assert_eq!(of("0"), (0..1000).collect::<Vec<_>>());
    assert_eq!(of("1"), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_full_buffer_drops_and_counts() {
    let dropped = Shared::default();
    let inner = Inner {
        path: String::new(),
        shards: Box::new([Mutex::new("x".repeat(BUFFER_LIMIT))]),
        pending: AtomicBool::new(true),
        reopen: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        dropped: dropped.clone(),
    };
    let sink = LogSink { inner: Arc::new(inner), writer: std::thread::current(), thread: Mutex::new(None) };
    sink.write(0, |out| out.push('y'));
    assert_eq!(dropped.get(), 1);
}
