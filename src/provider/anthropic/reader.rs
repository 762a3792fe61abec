//! Follows a response to its usage, whatever pieces it comes in.

use super::super::{Edits, Reading};
use super::Request;

/// Reads one response as its bytes pass. An event stream and a JSON body are told apart by the first byte.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// A reader for the answer to `request` as sent with `edits`.
    #[must_use]
    pub fn new(_request: &Request, _edits: &Edits) -> Self {
        unimplemented!()
    }

    /// Takes the next bytes of the body; they may be cut anywhere.
    pub fn feed(&mut self, _bytes: &[u8]) {
        unimplemented!()
    }

    /// What the body said of its usage, now that no more of it comes. `status` is the HTTP status.
    pub fn end(&mut self, _status: u16) -> Reading {
        unimplemented!()
    }

    /// Output tokens of an answer that ended as it should.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<u64> {
        unimplemented!()
    }

    /// Why the answer stopped, in the API's word (`end_turn`, `tool_use`, `max_tokens`, …).
    #[must_use]
    pub fn stop_reason(&self) -> Option<&str> {
        unimplemented!()
    }

    /// The end of the answer's text, 64 KiB at most.
    #[must_use]
    pub fn text_tail(&self) -> String {
        unimplemented!()
    }
}
