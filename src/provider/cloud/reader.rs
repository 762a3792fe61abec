//! Follows a cloud's answer to its usage.

use super::super::{Edits, Reading, anthropic, ended};
use super::frames::{Frame, Frames};
use super::{Cloud, Request};
use crate::tokens::Region;

/// How much of an answer is kept to tell an error by, in bytes.
const START_BYTES_MAX: usize = 64 * 1024;

/// Reads one response as its bytes pass. Frames and everything else are told apart by the first byte: a frame
/// begins with a length, whose first byte is nothing.
#[derive(Debug)]
pub struct Reader {
    inner: anthropic::Reader,
    cloud: Cloud,
    region: Region,
    /// The beginning of what is no frame.
    start: Vec<u8>,
    frames: Option<Frames>,
    damaged: bool,
}

impl Reader {
    /// A reader for the answer to `request` as sent with `edits`, served in `region`.
    #[must_use]
    pub fn new(request: &Request, edits: &Edits, region: Region) -> Self {
        let inner = anthropic::Reader::new(request.messages(), edits);
        Self { inner, cloud: request.cloud, region, start: Vec::new(), frames: None, damaged: false }
    }

    /// Takes the next bytes of the body; they may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let first = self.start.is_empty() && self.frames.is_none();
        if first && self.cloud == Cloud::Bedrock && bytes.first() == Some(&0) {
            self.frames = Some(Frames::default());
        }
        let Some(frames) = &mut self.frames else {
            let room = START_BYTES_MAX.saturating_sub(self.start.len());
            self.start.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return self.inner.feed(bytes);
        };
        let Ok(found) = frames.feed(bytes) else {
            self.damaged = true;
            return;
        };
        for frame in found {
            match frame {
                Frame::Event(data) => self.event(&data),
                Frame::Error(kind) => self.event(error(&kind).as_bytes()),
                Frame::Other => {}
            }
        }
    }

    /// Hands an event on in the form in which the first party sends it.
    fn event(&mut self, data: &[u8]) {
        self.inner.feed(b"data: ");
        self.inner.feed(data);
        self.inner.feed(b"\n\n");
    }

    /// What the body said of its usage, now that no more of it comes. `status` is the HTTP status.
    pub fn end(&mut self, status: u16) -> Reading {
        if !(200..=299).contains(&status) {
            return self.refused(status);
        }
        let reading = self.inner.end(status);
        let whole = !self.damaged && self.frames.as_ref().is_none_or(Frames::is_whole);
        match reading {
            Reading::Exact(_) if !whole => Reading::Broken { input_side: None },
            Reading::Exact(mut usage) => {
                self.place(&mut usage);
                Reading::Exact(usage)
            }
            Reading::Broken { input_side: Some(mut usage) } => {
                self.place(&mut usage);
                Reading::Broken { input_side: Some(usage) }
            }
            other => other,
        }
    }

    /// Usage says nothing of where it was served: the path did.
    fn place(&self, usage: &mut crate::tokens::Usage) {
        for line in &mut usage.lines {
            line.terms.region = self.region.clone();
        }
    }

    /// What becomes of a status that is no success. Bedrock's `ModelTimeoutException` is a 408: work had begun.
    fn refused(&self, status: u16) -> Reading {
        let broken = Reading::Broken { input_side: None };
        match (self.cloud, status) {
            (Cloud::Bedrock, 408) => broken,
            (Cloud::Bedrock, 500..) if status != 504 => {
                let body: serde_json::Value = serde_json::from_slice(&self.start).unwrap_or_default();
                if body["message"].is_string() { Reading::NotBilled } else { broken }
            }
            _ => ended(status, &self.start),
        }
    }

    /// Output tokens of an answer that ended as it should.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<u64> {
        self.inner.answer_tokens()
    }

    /// The end of the answer's text, 64 KiB at most.
    #[must_use]
    pub fn text_tail(&self) -> String {
        self.inner.text_tail()
    }
}

/// An exception of Bedrock's as the error event that it would be with the first party. Only those say that
/// nothing was generated which refuse a request before it begins (Bedrock's API reference).
fn error(kind: &str) -> String {
    let kind = match kind {
        "throttlingException" | "ThrottlingException" => "rate_limit_error",
        "validationException" | "ValidationException" => "invalid_request_error",
        "serviceUnavailableException" | "ServiceUnavailableException" => "overloaded_error",
        _ => "api_error",
    };
    serde_json::json!({ "type": "error", "error": { "type": kind } }).to_string()
}
