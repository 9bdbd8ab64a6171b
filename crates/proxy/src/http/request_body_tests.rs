use super::*;

#[test]
fn grpc_messages_are_counted_however_they_are_cut() {
    let mut wire = Vec::new();
    for length in [0u32, 3, 300] {
        wire.push(0);
        wire.extend_from_slice(&length.to_be_bytes());
        wire.resize(wire.len() + length as usize, 7);
    }
    for size in [1, 2, 5, 7, 1000] {
        let mut frames = GrpcFrames::default();
        let total: u64 = wire.chunks(size).map(|chunk| frames.count(chunk)).sum();
        assert_eq!(total, 3, "cut into {size}");
    }
}
