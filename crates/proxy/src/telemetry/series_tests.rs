use super::*;

fn key(peer: u32, response_code: u16) -> SeriesKey {
    SeriesKey {
        reporter: Reporter::Source,
        protocol: Protocol::Http,
        security: Security::Unknown,
        grpc_status: None,
        response_code,
        flags: ResponseFlags::NONE,
        peer: Id(peer),
        peer_principal: Id::UNKNOWN,
        local_principal: Id::UNKNOWN,
        service: Id(1),
        shape: Id::UNKNOWN,
    }
}

#[test]
fn workers_are_summed() {
    let shards = [Arc::<Shard>::default(), Arc::<Shard>::default()];
    for shard in &shards {
        let series = Series::new(10, Arc::clone(shard));
        for _ in 0..3 {
            series.record(
                key(1, 200),
                &Measured { duration_micros: 700, request_bytes: 10, ..Measured::default() },
            );
        }
    }
    let read = read_http(shards.iter());
    assert_eq!(read.len(), 1);
    let reading = &read[&key(1, 200)];
    assert_eq!((reading.requests, reading.duration.buckets[1], reading.request_bytes.sum), (6, 6, 60_000));
}

#[test]
fn what_exceeds_the_budget_is_counted_under_unknown() {
    let shard = Arc::<Shard>::default();
    let series = Series::new(2, Arc::clone(&shard));
    for peer in 1..=100 {
        series.record(key(peer, 503), &Measured::default());
    }
    let read = read_http(std::iter::once(&shard));
    assert!(read.len() <= 3, "{}", read.len());
    assert_eq!(read.values().map(|reading| reading.requests).sum::<u64>(), 100);
    assert!(read.keys().any(|key| key.peer == Id::UNKNOWN && key.response_code == 500));
}
