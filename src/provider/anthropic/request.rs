//! A request for an answer, and the few values of it that matter to a meter.

use std::ops::Range;

use bytes::Bytes;

use super::super::Problem;
use super::content::NotePlace;
use super::fields::{self, Found};
use super::scan::{Flaw, Marks};
use crate::model::ModelId;

/// The least thinking budget that the API takes, so that the output cap above it is at least one more.
pub(super) const THINKING_BUDGET_MIN: u64 = 1_024;

/// A Messages request: the body as it came, and where in it the values are that matter.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) body: Bytes,
    pub(super) model: ModelId,
    pub(super) model_at: Range<usize>,
    pub(super) output_cap: u64,
    pub(super) output_cap_at: Range<usize>,
    pub(super) marks: Marks,
    pub(super) found: Found,
    unknown: Vec<String>,
    server_tools: Vec<String>,
}

impl Request {
    /// Reads a body strictly: RFC 8259 and UTF-8, no duplicate keys anywhere, 64 levels at most.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when it is not such JSON, or a value that bounds its cost is missing or is
    /// not what the API takes; [`Problem::Denied`] for batch and background requests.
    pub fn parse(body: Bytes) -> Result<Self, Problem> {
        let (mut found, marks) = fields::read(&body)?;
        let (model, model_at) =
            found.model.take().ok_or_else(|| missing("model, a string such as \"claude-sonnet-5-5\""))?;
        let (output_cap, output_cap_at) =
            found.output_cap.take().ok_or_else(|| missing("max_tokens, a whole number of tokens"))?;
        if found.content.messages == 0 {
            return Err(missing("messages, an array with a message at least"));
        }
        let kinds = std::mem::take(&mut found.content.unknown_kinds);
        let mut unknown = std::mem::take(&mut found.unknown);
        unknown.extend(kinds.into_iter().map(|kind| format!("content type {kind:?}")));
        let server_tools = found.tools.server.iter().map(|tool| tool.kind.clone()).collect();
        Ok(Self { body, model, model_at, output_cap, output_cap_at, marks, found, unknown, server_tools })
    }

    /// The model that was asked for.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// Whether the answer is asked for as a stream of events.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.found.stream
    }

    /// `max_tokens` as asked for; 0 warms a cache and answers nothing.
    #[must_use]
    pub fn output_cap(&self) -> u64 {
        self.output_cap
    }

    /// The least that [`output_cap`](Self::output_cap) can be lowered to: 1, or 1,025 where a thinking
    /// budget of 1,024 at least must stay below it.
    #[must_use]
    pub fn min_output_cap(&self) -> u64 {
        if self.found.thinking_budget.is_some() { THINKING_BUDGET_MIN + 1 } else { 1 }
    }

    /// Whether the answer must have a shape (a tool call, a JSON schema), so that it can be neither
    /// steered by a line of text nor replaced by a finished turn.
    #[must_use]
    pub fn forced_shape(&self) -> bool {
        self.found.tool_forced || self.found.schema
    }

    /// Whether it offers the model any tools.
    #[must_use]
    pub fn offers_tools(&self) -> bool {
        self.found.tools.bytes > "[]".len()
    }

    /// Whether a note can be added at the end: the last message, those of role `system` left
    /// aside, is the user's and takes another text block.
    #[must_use]
    pub fn can_take_note(&self) -> bool {
        self.found.note_at.is_some()
    }

    pub(super) fn note_at(&self) -> Option<&NotePlace> {
        self.found.note_at.as_ref()
    }

    /// Whether anything is marked to be cached for one hour.
    #[must_use]
    pub fn hour_writes(&self) -> bool {
        self.marks.hour
    }

    /// Top-level fields, and kinds of content, that this version does not know.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        &self.unknown
    }

    /// Betas that the body names and this version does not know.
    #[must_use]
    pub fn unknown_betas(&self) -> &[String] {
        &self.found.unknown_betas
    }

    /// Types of the tools that the provider runs itself (`web_search_20260209`, `mcp_servers`, …). A type
    /// that is not known counts as one of them.
    #[must_use]
    pub fn server_tools(&self) -> &[String] {
        &self.server_tools
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

fn missing(what: &str) -> Problem {
    Problem::Invalid(format!("the request does not say {what}"))
}

impl From<Flaw> for Problem {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Refused(rule) => Problem::Denied(rule),
            other => Problem::Invalid(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
