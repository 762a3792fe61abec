//! The end of an answer's text, kept while it passes.
//!
//! Text is kept as it comes, with its escapes, and only read when somebody asks for it.

use memchr::memchr2;
use serde::Deserialize;

use super::scan::unescape;

/// The most text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The end of a text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Pieces in JSON escapes, each followed by a line feed, which no JSON string holds as it is.
    raw: Vec<u8>,
}

impl Tail {
    /// Begins a text block; the text before it ends with an empty line.
    pub(super) fn block(&mut self) {
        if !self.raw.is_empty() {
            self.push_raw(br"\n\n");
        }
    }

    /// Adds a piece of plain text.
    pub(super) fn push(&mut self, text: &str) {
        let mut cut = text.len().saturating_sub(TEXT_BYTES_MAX);
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        let quoted = serde_json::Value::from(&text[cut..]).to_string();
        self.keep(&quoted.as_bytes()[1..quoted.len() - 1]);
    }

    /// Adds a piece with JSON's escapes.
    fn push_raw(&mut self, escaped: &[u8]) {
        if escaped.len() > TEXT_BYTES_MAX {
            self.push(&unescape(&String::from_utf8_lossy(escaped)));
        } else {
            self.keep(escaped);
        }
    }

    fn keep(&mut self, escaped: &[u8]) {
        self.raw.extend_from_slice(escaped);
        self.raw.push(b'\n');
        // Rarely, so that what is kept is not moved for every piece.
        if self.raw.len() > 2 * TEXT_BYTES_MAX {
            let cut = self.raw.len() - TEXT_BYTES_MAX;
            let piece_end = memchr::memchr(b'\n', &self.raw[cut - 1..]).map_or(self.raw.len(), |at| cut + at);
            // The last piece stays, however long: it alone may hold all that is wanted.
            if piece_end < self.raw.len() {
                self.raw.drain(..piece_end);
            }
        }
    }

    /// Adds the text of a `content_block_delta` event, if it is one of text. `data` is its JSON.
    pub(super) fn push_delta(&mut self, data: &[u8]) {
        match delta_text(data) {
            DeltaText::Raw(escaped) => self.push_raw(escaped),
            DeltaText::None => {}
            DeltaText::Unclear => {
                if let Ok(event) = serde_json::from_slice::<DeltaEvent>(data)
                    && event.delta.kind == "text_delta"
                {
                    self.push(&event.delta.text);
                }
            }
        }
    }

    /// The text's end, 64 KiB at most.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for piece in self.raw.split(|&byte| byte == b'\n') {
            text.push_str(&unescape(&String::from_utf8_lossy(piece)));
        }
        let mut cut = text.len().saturating_sub(TEXT_BYTES_MAX);
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        text.split_off(cut)
    }
}

#[derive(Deserialize)]
struct DeltaEvent {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
}

enum DeltaText<'a> {
    /// The text between its quotes.
    Raw(&'a [u8]),
    /// A delta of something else.
    None,
    /// Not written the usual way: only a parser can tell.
    Unclear,
}

/// Finds the text of a delta written the way the provider writes it, without parsing.
fn delta_text(data: &[u8]) -> DeltaText<'_> {
    let usual = || {
        let rest = data.strip_prefix(br#"{"type":"content_block_delta","index":"#)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest[digits..].strip_prefix(br#","delta":{"type":""#)
    };
    let Some(rest) = usual() else { return DeltaText::Unclear };
    if !rest.starts_with(br#"text_delta""#) {
        return DeltaText::None;
    }
    let Some(text) = rest.strip_prefix(br#"text_delta","text":""#) else { return DeltaText::Unclear };
    let mut at = 0;
    while let Some(offset) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += offset;
        if text[at] == b'"' {
            return DeltaText::Raw(&text[..at]);
        }
        at += 2;
    }
    DeltaText::None
}
