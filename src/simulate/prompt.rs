//! How the simulated provider counts a prompt, and what of it its cache holds.
//!
//! A text counts a quarter of its bytes, rounded up, so never more than a byte bound allows; a picture
//! or a file counts one token.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use crate::tokens::Counts;

/// Prefixes that are cached, by model and content.
#[derive(Debug, Default)]
pub(super) struct Cache(HashSet<u64>);

/// A piece of a prompt that a mark may end.
struct Segment {
    tokens: u64,
    /// Of everything up to its end, marks left out.
    prefix: u64,
    mark: Option<Mark>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    FiveMinutes,
    OneHour,
}

/// The tokens of a prompt.
pub(super) fn count(body: &Value) -> u64 {
    segments(body).iter().map(|segment| segment.tokens).sum()
}

impl Cache {
    /// Counts a prompt by what becomes of it: read up to the longest prefix that is cached, written up
    /// to the last mark, plain from there. What is written is cached, unless caches are `cold`.
    pub(super) fn take(&mut self, body: &Value, cold: bool) -> Counts {
        let segments = segments(body);
        let cached = segments.iter().rposition(|segment| self.0.contains(&segment.prefix));
        // A prompt that marks nothing does not look into the cache.
        let marked = segments.iter().any(|segment| segment.mark.is_some());
        let fresh = cached.filter(|_| marked).map_or(0, |last| last + 1);
        let last = |mark| segments.iter().rposition(|segment| segment.mark == mark).map_or(0, |i| i + 1);
        let hour_end = last(Some(Mark::OneHour));
        let written_end = hour_end.max(last(Some(Mark::FiveMinutes)));
        let mut counts = Counts::default();
        for (index, segment) in segments.iter().enumerate() {
            let kind = match index {
                _ if index < fresh => &mut counts.cache_read,
                _ if index < hour_end => &mut counts.cache_write_1h,
                _ if index < written_end => &mut counts.cache_write_5m,
                _ => &mut counts.input,
            };
            *kind += segment.tokens;
            if segment.mark.is_some() && !cold {
                self.0.insert(segment.prefix);
            }
        }
        counts
    }
}

/// The pieces of a prompt in the order in which they are cached: tools, system, messages. A mark at the
/// top level of the request stands for one at the very end.
fn segments(body: &Value) -> Vec<Segment> {
    let mut hasher = DefaultHasher::new();
    body["model"].as_str().hash(&mut hasher);
    let mut segments = Vec::new();
    let mut push = |role: &str, block: &Value| {
        let mut bare = block.clone();
        let mark = bare.as_object_mut().and_then(|fields| fields.remove("cache_control"));
        role.hash(&mut hasher);
        // A text alone and a block of the same text are the same prompt.
        match bare["text"].as_str().or(bare.as_str()) {
            Some(text) => text.hash(&mut hasher),
            None => bare.to_string().hash(&mut hasher),
        }
        let mark = mark.as_ref().and_then(mark_of);
        segments.push(Segment { tokens: tokens(&bare), prefix: hasher.finish(), mark });
    };
    for tool in body["tools"].as_array().into_iter().flatten() {
        push("tool", tool);
    }
    for block in blocks(&body["system"]) {
        push("system", block);
    }
    for message in body["messages"].as_array().into_iter().flatten() {
        let role = message["role"].as_str().unwrap_or_default();
        for block in blocks(&message["content"]) {
            push(role, block);
        }
    }
    if let (Some(last), Some(mark)) = (segments.last_mut(), mark_of(&body["cache_control"])) {
        last.mark = Some(mark);
    }
    segments
}

fn mark_of(control: &Value) -> Option<Mark> {
    match control["ttl"].as_str() {
        Some("1h") => Some(Mark::OneHour),
        _ if control.is_object() => Some(Mark::FiveMinutes),
        _ => None,
    }
}

/// The blocks of some content: a text alone is one.
pub(super) fn blocks(content: &Value) -> &[Value] {
    match content {
        Value::Array(blocks) => blocks,
        Value::Null => &[],
        single => std::slice::from_ref(single),
    }
}

fn tokens(value: &Value) -> u64 {
    match value {
        Value::String(text) => (text.len() as u64).div_ceil(4),
        Value::Array(values) => values.iter().map(tokens).sum(),
        Value::Object(fields) => match fields.get("type").and_then(Value::as_str) {
            Some("image" | "document") => 1,
            _ => fields.iter().filter(|(name, _)| *name != "type").map(|(_, value)| tokens(value)).sum(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
