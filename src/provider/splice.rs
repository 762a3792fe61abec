//! Changing a body in place: only the bytes that must change.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;

/// What stands in the place of a range of the body.
pub(super) type Cut = (Range<usize>, String);

/// The text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The body with every cut made; the same bytes where there are none. Cuts do not overlap; those at the
/// same place keep their order.
pub(super) fn splice(body: &Bytes, mut cuts: Vec<Cut>) -> Bytes {
    if cuts.is_empty() {
        return body.clone();
    }
    cuts.sort_by_key(|(at, _text)| at.start);
    let added: usize = cuts.iter().map(|(_at, text)| text.len()).sum();
    let mut out = Vec::with_capacity(body.len() + added);
    let mut done = 0;
    for (at, text) in cuts {
        out.extend_from_slice(&body[done..at.start]);
        out.extend_from_slice(text.as_bytes());
        done = at.end;
    }
    out.extend_from_slice(&body[done..]);
    out.into()
}

/// An object of a model's name and fields of a body as they stand in it: what a count endpoint takes.
pub(super) fn object_of(model: &str, fields: &[(&str, Range<usize>)], body: &Bytes) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    out.extend_from_slice(format!("{{\"model\":{}", quoted(model)).as_bytes());
    for (key, at) in fields {
        out.extend_from_slice(format!(",\"{key}\":").as_bytes());
        out.extend_from_slice(&body[at.clone()]);
    }
    out.push(b'}');
    out
}

/// Reads the answer of a count endpoint that calls them `input_tokens`. Every request has some: none is no
/// answer.
#[must_use]
pub fn parse_count(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Count {
        input_tokens: u64,
    }
    let count = serde_json::from_slice::<Count>(body).ok()?;
    Some(count.input_tokens).filter(|tokens| *tokens > 0)
}
