//! Changing a request: only the bytes that must change.

use bytes::Bytes;

use super::super::Edits;
use super::Request;

impl Request {
    /// The body with `edits` made; the same bytes where there are none.
    ///
    /// A lower output cap also lowers a thinking budget that would reach it. A cap below
    /// [`min_output_cap`](Self::min_output_cap) or a note that
    /// [cannot be taken](Self::can_take_note) is left out.
    #[must_use]
    pub fn rewrite(&self, _edits: &Edits) -> Bytes {
        unimplemented!()
    }

    /// The body for `POST /v1/messages/count_tokens`, for the model in `edits` if there is one; `None`
    /// where its answer would not bound the request (tools the provider runs, content it holds).
    #[must_use]
    pub fn count_body(&self, _edits: &Edits) -> Option<Bytes> {
        unimplemented!()
    }
}

/// Reads the count endpoint's answer, in tokens.
#[must_use]
pub fn parse_count(_body: &[u8]) -> Option<u64> {
    unimplemented!()
}
