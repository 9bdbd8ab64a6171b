//! From a DNS message to its answer: the cluster's own names first, then the outside through a
//! small cache.

use super::zone::{Lookup, TTL, Zone};
use crate::controllers::Upstream;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Questions asked outside at the same time; more are answered SERVFAIL.
const MOST_OUTSIDE: usize = 256;
/// How long the outside may take: resolvers in pods give up after 5 seconds.
const OUTSIDE_TIMEOUT: Duration = Duration::from_millis(4500);
/// Outside answers kept at most.
const CACHE_SIZE: usize = 1024;
/// Seconds an outside answer is kept at most (CoreDNS' `cache 30`).
const CACHE_TTL: u32 = 30;
/// Names followed through aliases.
const MOST_ALIASES: usize = 8;
/// The largest UDP message we say we take (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// Answers DNS messages.
pub struct Resolver {
    zone: Zone,
    upstream: Option<Arc<dyn Upstream>>,
    outside: Semaphore,
    cache: Mutex<HashMap<(Name, RecordType), Kept>>,
}

struct Kept {
    answer: Outside,
    until: Instant,
}

/// What the outside said.
#[derive(Clone)]
struct Outside {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl Outside {
    fn failure() -> Self {
        Self { code: ResponseCode::ServFail, answers: Vec::new(), authorities: Vec::new() }
    }
}

impl Resolver {
    pub fn new(zone: Zone, upstream: Option<Arc<dyn Upstream>>) -> Self {
        Self { zone, upstream, outside: Semaphore::new(MOST_OUTSIDE), cache: Mutex::default() }
    }

    /// The answer to one message in wire form; `None` when it is not a question at all, which gets
    /// no answer so that two servers can never talk to each other for ever.
    pub async fn answer(&self, bytes: &[u8]) -> Option<Message> {
        let request = match Message::from_vec(bytes) {
            Ok(request) => request,
            Err(_) => return malformed(bytes),
        };
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        response.add_queries(request.queries.iter().cloned());
        if request.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD);
            response.set_edns(edns);
        }
        if request.metadata.op_code != OpCode::Query {
            response.metadata.response_code = ResponseCode::NotImp;
            return Some(response);
        }
        let [question] = request.queries.as_slice() else {
            response.metadata.response_code = ResponseCode::FormErr;
            return Some(response);
        };
        if question.query_class() != DNSClass::IN {
            response.metadata.response_code = ResponseCode::Refused;
            return Some(response);
        }
        self.resolve(question, &mut response).await;
        Some(response)
    }

    async fn resolve(&self, question: &Query, response: &mut Message) {
        let record_type = question.query_type();
        let mut name = question.name().clone();
        for hop in 0..MOST_ALIASES {
            match self.zone.lookup(&name, record_type) {
                Lookup::Found { answers, additionals } => {
                    response.metadata.authoritative = true;
                    if answers.is_empty() {
                        response.add_authority(self.zone.authority());
                    }
                    response.add_answers(answers);
                    response.add_additionals(additionals);
                    return;
                }
                Lookup::Missing => {
                    response.metadata.authoritative = true;
                    response.metadata.response_code = ResponseCode::NXDomain;
                    response.add_authority(self.zone.authority());
                    return;
                }
                Lookup::Alias { record, target } => {
                    response.add_answer(*record);
                    if record_type == RecordType::CNAME {
                        return;
                    }
                    name = target;
                }
                Lookup::Outside => {
                    let answer = self.ask_outside(&name, record_type).await;
                    // The alias itself was found, whatever became of its target.
                    response.metadata.authoritative = hop > 0;
                    response.metadata.response_code = answer.code;
                    response.add_answers(answer.answers);
                    response.add_authorities(answer.authorities);
                    return;
                }
            }
        }
        tracing::warn!(name = %question.name(), "ExternalName Services lead in a circle");
        response.metadata.response_code = ResponseCode::ServFail;
    }

    async fn ask_outside(&self, name: &Name, record_type: RecordType) -> Outside {
        let key = (name.to_lowercase(), record_type);
        let now = Instant::now();
        if let Some(kept) = self.cache.lock().get(&key)
            && kept.until > now
        {
            return kept.answer.clone();
        }
        let Some(upstream) = &self.upstream else {
            tracing::warn!(%name, "this name is outside the cluster and no outside resolver is available");
            return Outside::failure();
        };
        let Ok(_place) = self.outside.try_acquire() else {
            tracing::warn!(%name, "too many questions wait for the outside resolver");
            return Outside::failure();
        };
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name.clone(), record_type));
        let id = query.metadata.id;
        let Ok(bytes) = query.to_vec() else { return Outside::failure() };
        let answer = match timeout(OUTSIDE_TIMEOUT, upstream.resolve(bytes)).await {
            Ok(Ok(bytes)) => Message::from_vec(&bytes).ok().filter(|answer| answer.metadata.id == id),
            Ok(Err(error)) => {
                tracing::warn!(%name, %error, "the outside resolver failed");
                None
            }
            Err(_) => {
                tracing::warn!(%name, "the outside resolver did not answer in time");
                None
            }
        };
        let Some(answer) = answer else { return Outside::failure() };
        let outside = Outside {
            code: answer.metadata.response_code,
            answers: answer.answers,
            authorities: answer.authorities,
        };
        self.keep(key, &outside, now);
        outside
    }

    fn keep(&self, key: (Name, RecordType), answer: &Outside, now: Instant) {
        let seconds = match answer.code {
            ResponseCode::NoError | ResponseCode::NXDomain => {
                answer.answers.iter().map(|record| record.ttl).min().unwrap_or(TTL).min(CACHE_TTL)
            }
            _ => return,
        };
        let mut cache = self.cache.lock();
        if cache.len() >= CACHE_SIZE {
            cache.retain(|_, kept| kept.until > now);
        }
        if cache.len() >= CACHE_SIZE {
            cache.clear();
        }
        let until = now + Duration::from_secs(u64::from(seconds));
        cache.insert(key, Kept { answer: answer.clone(), until });
    }
}

/// FORMERR for a question that does not parse but has an id and is not an answer.
fn malformed(bytes: &[u8]) -> Option<Message> {
    let [high, low, flags, ..] = bytes else { return None };
    let is_answer = flags & 0x80 != 0;
    (!is_answer && bytes.len() >= 12)
        .then(|| Message::error_msg(u16::from_be_bytes([*high, *low]), OpCode::Query, ResponseCode::FormErr))
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
