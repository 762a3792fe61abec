//! Follows a response to its usage, whatever pieces it comes in.
//!
//! Every chunk of a stream repeats the counts so far, and the last one counts; a chunk with a finish reason
//! for each candidate, or with the reason why a prompt was blocked, is the last.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::super::{Edits, Reading, ended};
use super::Request;
use super::events::Events;
use super::tail::Tail;
use super::usage::Merge;
use crate::tokens::Region;

/// The longest JSON body that is read, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Candidates that a request can ask for.
const CANDIDATES_MAX: usize = 8;

/// Reads one response as its bytes pass. Events, an array and one object are told apart by the first byte.
#[derive(Debug)]
pub struct Reader {
    merge: Merge,
    samples_once: bool,
    choices: u64,
    kind: Kind,
    events: Events,
    held: Vec<u8>,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unknown,
    Events,
    Array,
    Json,
}

#[derive(Debug, Default)]
struct Seen {
    finished: BTreeSet<u64>,
    blocked: bool,
    usage: bool,
    /// The usage came with the finish reason, or after it.
    final_usage: bool,
    unreadable: bool,
    refused: bool,
    queries: u64,
    stop_reason: Option<String>,
    answer_tokens: Option<u64>,
    tail: Tail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    #[serde(default)]
    candidates: Vec<Candidate>,
    #[serde(default)]
    usage_metadata: Option<Value>,
    #[serde(default)]
    model_version: Option<String>,
    #[serde(default)]
    prompt_feedback: Option<Feedback>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    #[serde(default)]
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    index: u64,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    grounding_metadata: Option<Grounding>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thought: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grounding {
    #[serde(default)]
    web_search_queries: Vec<Value>,
}

impl Reader {
    /// A reader for the answer to `request` as sent with `edits`; `region` says where the endpoint keeps it.
    #[must_use]
    pub fn new(request: &Request, edits: &Edits, region: Region) -> Self {
        let mut merge = Merge::new(edits.model.as_ref().unwrap_or(&request.model));
        merge.region(region);
        if let Some(asked) = &request.found.tier {
            merge.tier(asked);
        }
        Self {
            merge,
            samples_once: request.samples_once(),
            choices: request.found.config.choices,
            kind: Kind::Unknown,
            events: Events::default(),
            held: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// The tier that the response's headers name, for models whose usage does not.
    pub fn served_tier(&mut self, tier: &str) {
        self.merge.tier(tier);
    }

    /// Takes the next bytes of the body; they may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.kind == Kind::Unknown {
            bytes = bytes.trim_ascii_start();
            self.kind = match bytes.first() {
                None => return,
                Some(b'{') => Kind::Json,
                Some(b'[') => Kind::Array,
                Some(_) => Kind::Events,
            };
        }
        if self.kind != Kind::Events {
            if self.held.len() + bytes.len() > BODY_BYTES_MAX {
                self.seen.unreadable = true;
                self.held = Vec::new();
            } else if !self.seen.unreadable {
                self.held.extend_from_slice(bytes);
            }
            return;
        }
        let (merge, seen) = (&mut self.merge, &mut self.seen);
        self.events.feed(bytes, |data| seen.data(merge, data));
    }

    /// What the body said of its usage, now that no more of it comes. `status` is the HTTP status.
    pub fn end(&mut self, status: u16) -> Reading {
        let held = std::mem::take(&mut self.held);
        if !(200..=299).contains(&status) {
            return ended(status, &held);
        }
        let (merge, seen) = (&mut self.merge, &mut self.seen);
        match self.kind {
            Kind::Json => seen.data(merge, &held),
            Kind::Array => each_element(&held, |element| seen.data(merge, element)),
            Kind::Events | Kind::Unknown => self.events.end(|data| seen.data(merge, data)),
        }
        if self.seen.refused && !self.seen.usage {
            return Reading::NotBilled;
        }
        self.merge.grounded(self.seen.queries);
        let readable = !self.seen.unreadable && !self.events.too_long;
        let all = u64::try_from(self.seen.finished.len()).unwrap_or(u64::MAX) >= self.choices;
        let over = self.seen.final_usage && (all || self.seen.blocked);
        match self.merge.finish() {
            // Every prompt has tokens: a count of none is no count.
            Ok(usage) if over && readable && usage.counts().prompt() > 0 => {
                self.seen.answer_tokens = Some(usage.counts().output);
                Reading::Exact(usage)
            }
            _ => {
                let known = self.samples_once && readable && self.seen.usage;
                Reading::Broken { input_side: if known { self.merge.input_side() } else { None } }
            }
        }
    }

    /// Output tokens of an answer that ended as it should.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<u64> {
        self.seen.answer_tokens
    }

    /// Why the answer stopped, in the API's word (`STOP`, `MAX_TOKENS`, …).
    #[must_use]
    pub fn stop_reason(&self) -> Option<&str> {
        self.seen.stop_reason.as_deref()
    }

    /// The end of the answer's text, 64 KiB at most.
    #[must_use]
    pub fn text_tail(&self) -> String {
        self.seen.tail.text()
    }
}

impl Seen {
    fn data(&mut self, merge: &mut Merge, data: &[u8]) {
        match serde_json::from_slice::<Chunk>(data) {
            Ok(chunk) => self.chunk(merge, chunk),
            Err(_) => self.unreadable = true,
        }
    }

    fn chunk(&mut self, merge: &mut Merge, chunk: Chunk) {
        if chunk.error.is_some() {
            self.refused = !self.usage;
            self.unreadable |= self.usage;
            return;
        }
        if let Some(model) = &chunk.model_version {
            merge.model(model);
        }
        self.blocked |= chunk.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
        for candidate in chunk.candidates {
            self.candidate(candidate);
        }
        if let Some(usage) = chunk.usage_metadata.filter(|usage| !usage.is_null()) {
            match merge.take(&usage) {
                Ok(()) => self.usage = true,
                Err(_) => self.unreadable = true,
            }
            self.final_usage = !self.finished.is_empty() || self.blocked;
        }
    }

    fn candidate(&mut self, candidate: Candidate) {
        let parts = candidate.content.map(|content| content.parts).unwrap_or_default();
        for part in parts.iter().filter(|part| !part.thought && candidate.index == 0) {
            if let Some(text) = &part.text {
                self.tail.push(text);
            }
        }
        if let Some(grounding) = candidate.grounding_metadata {
            let queries = u64::try_from(grounding.web_search_queries.len()).unwrap_or(u64::MAX);
            self.queries = self.queries.max(queries);
        }
        if candidate.finish_reason.is_some() {
            self.stop_reason = candidate.finish_reason;
            if self.finished.len() < CANDIDATES_MAX {
                self.finished.insert(candidate.index);
            }
        }
    }
}

/// Hands every whole object of an array to `each`, as far as the array came.
fn each_element(array: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = array.get(1..).unwrap_or_default();
    loop {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        if !rest.starts_with(b"{") {
            return;
        }
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<serde::de::IgnoredAny>();
        let Some(Ok(_)) = values.next() else { return };
        let end = values.byte_offset();
        each(&rest[..end]);
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests;
