//! A request for an answer, and the few values of it that matter to a meter.

use bytes::Bytes;

use super::super::Problem;
use crate::model::ModelId;

/// A Messages request: the body as it came, and where in it the values are that matter.
#[derive(Clone, Debug)]
pub struct Request {
    body: Bytes,
}

impl Request {
    /// Reads a body strictly: RFC 8259 and UTF-8, no duplicate keys anywhere, 64 levels at most.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when it is not such JSON, or a value that bounds its cost is missing or is
    /// not what the API takes; [`Problem::Denied`] for batch and background requests.
    pub fn parse(_body: Bytes) -> Result<Self, Problem> {
        unimplemented!()
    }

    /// The model that was asked for.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        unimplemented!()
    }

    /// Whether the answer is asked for as a stream of events.
    #[must_use]
    pub fn stream(&self) -> bool {
        unimplemented!()
    }

    /// `max_tokens` as asked for; 0 warms a cache and answers nothing.
    #[must_use]
    pub fn output_cap(&self) -> u64 {
        unimplemented!()
    }

    /// The least that [`output_cap`](Self::output_cap) can be lowered to: 1, or 1,025 where a thinking
    /// budget of 1,024 at least must stay below it.
    #[must_use]
    pub fn min_output_cap(&self) -> u64 {
        unimplemented!()
    }

    /// Whether the answer must have a shape (a tool call, a JSON schema), so that it can be neither
    /// steered by a line of text nor replaced by a finished turn.
    #[must_use]
    pub fn forced_shape(&self) -> bool {
        unimplemented!()
    }

    /// Whether a note can be added at the end: the last message is the user's and takes another text block.
    #[must_use]
    pub fn can_take_note(&self) -> bool {
        unimplemented!()
    }

    /// Whether anything is marked to be cached for one hour.
    #[must_use]
    pub fn hour_writes(&self) -> bool {
        unimplemented!()
    }

    /// Top-level fields, and kinds of content, that this version does not know.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        unimplemented!()
    }

    /// Types of the tools that the provider runs itself (`web_search_20260209`, `mcp_servers`, …). A type
    /// that is not known counts as one of them.
    #[must_use]
    pub fn server_tools(&self) -> &[String] {
        unimplemented!()
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}
