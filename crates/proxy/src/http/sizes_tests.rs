use super::*;
use std::future::Future;

fn of_one<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}
fn of_two<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}
fn of_three<A, B, C, F: Future>(_: impl FnOnce(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn sizes() {
    eprintln!("answer {}", of_two(request::answer));
    eprintln!(
        "run {}",
        of_two(|a: forward::Flight<'static>, b: &'static mut crate::telemetry::RequestRecord| a.run(b))
    );
    eprintln!("serve {}", of_three(server::serve));
    eprintln!(
        "record {} exchange {} flight {} admitted {} body {}",
        size_of::<crate::telemetry::RequestRecord>(),
        size_of::<body::Exchange>(),
        size_of::<forward::Flight<'static>>(),
        size_of::<admit::Admitted>(),
        size_of::<body::ResponseBody>()
    );
    eprintln!(
        "arrived {} failure {} request {} response {}",
        size_of::<forward::Arrived>(),
        size_of::<error_response::Failure>(),
        size_of::<http_::Request<hyper::body::Incoming>>(),
        size_of::<http_::Response<body::ResponseBody>>()
    );
    eprintln!(
        "senderror {} lease {}",
        size_of::<crate::upstream::SendError>(),
        size_of::<crate::upstream::Lease>()
    );
}
use ::http as http_;
