//! Watches: what changes, as it changes.
//!
//! A watch keeps nothing but its place in the collection's history. When something happened it reads what came after; a
//! client that is too slow finds its place compacted, gets 410 and lists again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::list::{Scope, revision};
use crate::api::{Api, presented};
use crate::error::ApiError;
use crate::http::negotiate::Form;
use crate::http::query::Query;
use crate::node::ByteStream;
use crate::object;
use crate::resources::Resource;
use crate::store::{Change, Event};
use crate::table;

/// How often a quiet watch that allows bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

/// Longest watch when the client names no limit, as in Kubernetes (between 30 and 60 minutes).
const LONGEST: Duration = Duration::from_secs(45 * 60);

struct Watch {
    api: Arc<Api>,
    resource: Arc<Resource>,
    scope: Scope,
    form: Form,
    whole_objects: bool,
    bookmarks: bool,
    place: u64,
    changed: watch::Receiver<u64>,
    pending: VecDeque<Bytes>,
    ends_at: Instant,
    over: bool,
}

/// Opens a watch; the answer's body.
pub(crate) fn open(
    api: &Arc<Api>,
    resource: &Arc<Resource>,
    scope: Scope,
    form: Form,
    query: &Query,
) -> Result<ByteStream, ApiError> {
    let bookmarks = query.flag("allowWatchBookmarks")?;
    let send_initial = query.optional_flag("sendInitialEvents")?;
    let start = query.text("resourceVersion").map(revision).transpose()?.unwrap_or_default();
    match (send_initial, query.text("resourceVersionMatch")) {
        (Some(_), Some("NotOlderThan")) => {}
        (Some(_), _) => {
            return Err(ApiError::bad_request(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        (None, Some(_)) => {
            return Err(ApiError::bad_request(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        (None, None) => {}
    }
    let asked = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let mut watch = Watch {
        changed: api.store.subscribe(&resource.collection),
        api: api.clone(),
        resource: resource.clone(),
        scope,
        form,
        whole_objects: query.text("includeObject") == Some("Object"),
        bookmarks,
        place: start,
        pending: VecDeque::new(),
        ends_at: Instant::now() + asked.unwrap_or(LONGEST).min(Duration::from_secs(24 * 3600)),
        over: false,
    };
    let now = api.store.revision();
    if start > now {
        let message = format!("Too large resource version: {start}, current: {now}");
        return Err(ApiError::timeout(message));
    }
    let wants_state = send_initial.unwrap_or(start == 0);
    if wants_state {
        watch.send_state(send_initial.is_some());
    } else if start == 0 {
        watch.place = now;
    }
    Ok(stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok(chunk), watch))
    })
    .boxed())
}

impl Watch {
    /// The objects there are, as additions, and the bookmark that says that this was all.
    fn send_state(&mut self, mark_the_end: bool) {
        let (objects, at) = self.api.store.list(&self.resource.collection, self.scope.namespace.as_deref());
        for stored in objects {
            if self.scope.contains(&stored.object) {
                self.push("ADDED", &stored.object);
            }
        }
        self.place = at;
        if mark_the_end && self.bookmarks {
            self.push_bookmark(true);
        }
    }

    /// The next bytes to send; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                return Some(frame);
            }
            if self.over {
                return None;
            }
            self.changed.borrow_and_update();
            match self.api.store.events_after(&self.resource.collection, self.place) {
                Ok((events, up_to)) => {
                    self.place = up_to;
                    events.iter().for_each(|event| self.push_event(event));
                }
                Err(compacted) => {
                    tracing::info!(
                        resource = %self.resource.collection, place = self.place, oldest = compacted.oldest,
                        "a watch has fallen behind what is kept and is ended; the client lists again"
                    );
                    let message = format!("too old resource version: {} ({})", self.place, compacted.oldest);
                    self.push_frame("ERROR", &ApiError::expired(message).status());
                    self.over = true;
                }
            }
            if self.pending.is_empty() {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        let bookmark_at = Instant::now() + BOOKMARK_EVERY;
        tokio::select! {
            changed = self.changed.changed() => self.over = changed.is_err(),
            () = tokio::time::sleep_until(bookmark_at), if self.bookmarks => self.push_bookmark(false),
            () = tokio::time::sleep_until(self.ends_at) => self.over = true,
            () = self.api.stopping.cancelled() => self.over = true,
        }
    }

    /// Sends an event as it looks through the selector: an object that comes to fit is added, one that no longer fits is
    /// deleted.
    fn push_event(&mut self, event: &Event) {
        let fits = event.change != Change::Deleted && self.scope.contains(&event.object.object);
        let fitted = event.previous.as_ref().is_some_and(|previous| self.scope.contains(&previous.object));
        match (fits, fitted) {
            (true, true) => self.push("MODIFIED", &event.object.object),
            (true, false) => self.push("ADDED", &event.object.object),
            (false, true) if event.change == Change::Deleted => self.push("DELETED", &event.object.object),
            (false, true) => {
                // The last state that fitted, at the revision that ended it.
                if let Some(previous) = &event.previous {
                    let mut last = previous.object.clone();
                    object::set(&mut last, &["metadata", "resourceVersion"], event.revision.to_string());
                    self.push("DELETED", &last);
                }
            }
            (false, false) => {}
        }
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let shown = presented(&self.resource, object);
        let shown = match self.form {
            Form::Plain => shown,
            Form::Metadata => table::partial(&shown),
            Form::Table => table::of_one(&self.resource, &shown, self.whole_objects),
        };
        self.push_frame(kind, &shown);
    }

    fn push_bookmark(&mut self, ends_state: bool) {
        let mut metadata = json!({"resourceVersion": self.place.to_string(), "creationTimestamp": null});
        if ends_state {
            object::set(&mut metadata, &["annotations"], json!({"k8s.io/initial-events-end": "true"}));
        }
        let bookmark = match self.form {
            Form::Plain => json!({
                "kind": self.resource.kind,
                "apiVersion": self.resource.api_version(),
                "metadata": metadata,
            }),
            Form::Metadata => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }),
            Form::Table => json!({
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": self.place.to_string()},
                "columnDefinitions": [],
                "rows": [{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                }}],
            }),
        };
        self.push_frame("BOOKMARK", &bookmark);
    }

    fn push_frame(&mut self, kind: &str, object: &Value) {
        let mut line = json!({"type": kind, "object": object}).to_string();
        line.push('\n');
        self.pending.push_back(Bytes::from(line));
    }
}
