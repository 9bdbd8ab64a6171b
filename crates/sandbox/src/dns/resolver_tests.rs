use super::*;
use crate::controllers::Cache;
use futures::future::BoxFuture;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::A;
use proptest::prelude::*;
use serde_json::json;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An outside where every name is 192.0.2.7, except those that begin with "no".
#[derive(Default)]
struct Internet {
    asked: AtomicUsize,
}

impl Upstream for Internet {
    fn resolve(&self, query: Vec<u8>) -> BoxFuture<'_, std::io::Result<Vec<u8>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = Message::from_vec(&query).map(|query| {
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            let name = query.queries[0].name().clone();
            if name.to_ascii().starts_with("no") {
                answer.metadata.response_code = ResponseCode::NXDomain;
            } else {
                let data = RData::A(A(Ipv4Addr::new(192, 0, 2, 7)));
                answer.add_answer(Record::from_rdata(name, 300, data));
            }
            answer.to_vec()
        });
        Box::pin(async move { answer.map_err(std::io::Error::other)?.map_err(std::io::Error::other) })
    }
}

fn resolver(upstream: Option<Arc<dyn Upstream>>) -> Resolver {
    let zone =
        Zone::new(Cache::default(), Cache::default(), Cache::default(), "cluster.local").expect("a zone");
    for (name, target) in [("outside", "www.example.com"), ("circle", "circle.default.svc.cluster.local")] {
        let service = json!({"metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": target}});
        zone.services.wrote(serde_json::from_value(service).expect("a service"));
    }
    Resolver::new(zone, upstream)
}

async fn ask(resolver: &Resolver, name: &str, record_type: RecordType) -> Message {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_str(name).expect("a name"), record_type));
    let answer = resolver.answer(&query.to_vec().expect("bytes")).await.expect("an answer");
    assert_eq!(answer.metadata.id, query.metadata.id);
    answer
}

#[tokio::test(start_paused = true)]
async fn outside_names_are_relayed_and_kept_for_a_while() {
    let internet = Arc::new(Internet::default());
    let resolver = resolver(Some(internet.clone()));
    for _ in 0..3 {
        let answer = ask(&resolver, "www.example.com.", RecordType::A).await;
        assert_eq!(answer.answers.len(), 1);
    }
    assert_eq!(internet.asked.load(Ordering::Relaxed), 1);
    tokio::time::advance(Duration::from_secs(31)).await;
    ask(&resolver, "www.example.com.", RecordType::A).await;
    assert_eq!(internet.asked.load(Ordering::Relaxed), 2);
    let missing = ask(&resolver, "no.example.com.", RecordType::A).await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn an_external_name_comes_with_the_address_behind_it() {
    let resolver = resolver(Some(Arc::new(Internet::default())));
    let answer = ask(&resolver, "outside.default.svc.cluster.local.", RecordType::A).await;
    let types: Vec<_> = answer.answers.iter().map(Record::record_type).collect();
    assert_eq!(types, [RecordType::CNAME, RecordType::A]);
}

#[tokio::test]
async fn without_an_outside_the_answer_is_a_failure_not_a_lie() {
    let answer = ask(&resolver(None), "www.example.com.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_circle_of_aliases_ends() {
    let answer = ask(&resolver(None), "circle.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn names_that_are_missing_say_who_says_so() {
    let answer = ask(&resolver(None), "nobody.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.metadata.authoritative);
    assert_eq!(answer.authorities.len(), 1);
}

#[tokio::test]
async fn answers_are_never_answered() {
    let resolver = resolver(None);
    let answer = ask(&resolver, "nobody.default.svc.cluster.local.", RecordType::A).await;
    assert!(resolver.answer(&answer.to_vec().expect("bytes")).await.is_none());
}

proptest! {
    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(resolver(None).answer(&bytes));
    }
}
