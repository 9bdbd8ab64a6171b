//! What was received, as it was received: the material of `/config_dump`, and what a changed resource
//! is compared with.

use bytes::Bytes;
use mizzen_xds::TypeUrl;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// One resource.
#[derive(Clone, Debug)]
pub struct Record {
    /// The encoded message in use; empty when none ever was.
    pub body: Bytes,
    /// Its version.
    pub version: Arc<str>,
    /// When it was taken.
    pub updated: SystemTime,
    /// It comes from the bootstrap and cannot be changed.
    pub fixed: bool,
    /// Why the newest version is not in use.
    pub failure: Option<Box<Failure>>,
}

/// A version that was refused.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which field and why.
    pub reason: String,
    /// When.
    pub at: SystemTime,
    /// The refused version.
    pub version: Arc<str>,
    /// The refused message.
    pub body: Bytes,
}

/// All resources by type and name.
#[derive(Debug, Default)]
pub struct Records {
    kinds: BTreeMap<TypeUrl, BTreeMap<Arc<str>, Record>>,
    versions: BTreeMap<TypeUrl, Arc<str>>,
}

impl Records {
    /// The record of this name.
    pub fn get(&self, kind: TypeUrl, name: &str) -> Option<&Record> {
        self.kinds.get(&kind)?.get(name)
    }

    /// All records of a type, by name.
    pub fn all(&self, kind: TypeUrl) -> impl Iterator<Item = (&Arc<str>, &Record)> {
        self.kinds.get(&kind).into_iter().flatten()
    }

    /// The server's version of the whole type.
    pub fn version(&self, kind: TypeUrl) -> &str {
        self.versions.get(&kind).map_or("", |version| version)
    }

    /// Notes the server's version of the whole type.
    pub fn set_version(&mut self, kind: TypeUrl, version: &Arc<str>) {
        self.versions.insert(kind, Arc::clone(version));
    }

    /// Notes a resource that is in use now.
    pub fn accept(&mut self, kind: TypeUrl, name: &Arc<str>, body: Bytes, version: &Arc<str>, fixed: bool) {
        let record =
            Record { body, version: Arc::clone(version), updated: SystemTime::now(), fixed, failure: None };
        self.kinds.entry(kind).or_default().insert(Arc::clone(name), record);
    }

    /// Notes that a resource was refused; what was in use stays.
    pub fn refuse(&mut self, kind: TypeUrl, name: &Arc<str>, body: Bytes, version: &Arc<str>, reason: &str) {
        let at = SystemTime::now();
        let failure = Failure { reason: reason.to_owned(), at, version: Arc::clone(version), body };
        let record = self.kinds.entry(kind).or_default().entry(Arc::clone(name)).or_insert_with(|| Record {
            body: Bytes::new(),
            version: "".into(),
            updated: at,
            fixed: false,
            failure: None,
        });
        record.failure = Some(Box::new(failure));
    }

    /// Forgets a resource.
    pub fn remove(&mut self, kind: TypeUrl, name: &str) {
        if let Some(records) = self.kinds.get_mut(&kind) {
            records.remove(name);
        }
    }
}
