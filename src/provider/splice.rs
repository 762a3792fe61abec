//! Changing a body in place: only the bytes that must change.

use std::ops::Range;

use bytes::Bytes;

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
