//! What a request in flight and a connection take of memory: the sizes of their futures, which are
//! also what is moved when one begins. A bound that is passed is no error of the code; it is a cost
//! to be looked at before it is accepted.

use super::*;
use crate::telemetry::RequestRecord;
use std::future::Future;

fn of_two<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}

fn of_three<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn requests_and_connections_stay_small() {
    let run = |flight: &'static mut Flight<'static>, record: &'static mut RequestRecord| flight.run(record);
    for (what, size, bound) in [
        ("a request", of_two(request::answer), 5 * 1024),
        ("its way upstream", of_two(run), 2816),
        ("its record", size_of::<RequestRecord>(), 1280),
        ("its response's body", size_of::<body::ResponseBody>(), 128),
        ("an HTTP connection", of_three(server::serve), 1536),
        ("a TCP connection", of_three(crate::tcp::serve), 6 * 1024),
    ] {
        assert!(size <= bound, "{what} takes {size} bytes, more than {bound}");
    }
}
