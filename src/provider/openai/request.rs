//! A request for an answer, and the few values of it that matter to a meter.

use std::ops::Range;

use bytes::Bytes;

use super::super::Problem;
use super::super::scan::Marks;
use super::Form;
use super::fields::{self, Found};
use crate::model::ModelId;

/// The least output cap that Responses takes.
const OUTPUT_CAP_MIN: u64 = 16;

/// A Responses or Chat Completions request: the body as it came, and where in it the values are that
/// matter.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) body: Bytes,
    pub(super) form: Form,
    pub(super) model: ModelId,
    /// Where the body names the model; `None` where only the path does.
    pub(super) model_at: Option<Range<usize>>,
    pub(super) found: Found,
    pub(super) marks: Marks,
}

impl Request {
    /// Reads a body strictly: RFC 8259 and UTF-8, no duplicate keys anywhere, 64 levels at most.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when it is not such JSON, or a value that bounds its cost is missing or is
    /// not what the API takes; [`Problem::Denied`] for what is not metered.
    pub fn parse(form: Form, path: &str, body: Bytes) -> Result<Self, Problem> {
        let (mut found, marks) = fields::read(form, &body)?;
        let missing = |what: &str| Problem::Invalid(format!("the request does not say {what}"));
        // A path that names a deployment decides what is served, whatever the body says.
        let (model, model_at) = match (super::deployment(path), found.model.take()) {
            (Some(deployment), named) => (ModelId::new(deployment), named.map(|(_, at)| at)),
            (None, Some((model, at))) => (model, Some(at)),
            (None, None) => return Err(missing("model, a string such as \"gpt-6.1-sol\"")),
        };
        if !found.has_input {
            return Err(missing(match form {
                Form::Responses => "input, a text or an array of items",
                Form::Chat => "messages, an array with a message at least",
            }));
        }
        let kinds = std::mem::take(&mut found.content.unknown_kinds);
        found.unknown.extend(kinds.into_iter().map(|kind| format!("content type {kind:?}")));
        Ok(Self { body, form, model, model_at, found, marks })
    }

    /// Which of the two APIs it is for.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
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

    /// The output cap that was asked for; the largest where there are two.
    #[must_use]
    pub fn output_cap(&self) -> Option<u64> {
        self.found.caps.iter().filter_map(|cap| cap.tokens).max()
    }

    /// The least that the output cap can be lowered to.
    #[must_use]
    pub fn min_output_cap(&self) -> u64 {
        OUTPUT_CAP_MIN
    }

    /// Whether the answer must have a shape (a tool call, a JSON schema).
    #[must_use]
    pub fn forced_shape(&self) -> bool {
        self.found.forced || self.found.schema
    }

    /// Whether it offers the model any tools.
    #[must_use]
    pub fn offers_tools(&self) -> bool {
        self.found.tool_bytes > 0
    }

    /// Whether a note can be added at the end: the last turn is the user's, or a tool's result.
    #[must_use]
    pub fn can_take_note(&self) -> bool {
        self.found.note_at.is_some()
    }

    /// Whether cache writes may live longer than they usually do.
    pub(super) fn long_writes(&self) -> bool {
        self.found.long_writes || self.marks.hour
    }

    /// Whether the model is one of OpenAI's own, which know fields that compatible servers may refuse.
    pub(super) fn is_openai(model: &ModelId) -> bool {
        let name = model.as_str().trim_start_matches("openai/");
        ["gpt-", "o1", "o3", "o4", "chatgpt-", "codex-"].iter().any(|start| name.starts_with(start))
    }

    /// Whether the request leaves its tier to settings that are not in it. A model of OpenAI's own is given
    /// the default one; others need not know the field.
    #[must_use]
    pub fn leaves_tier_open(&self) -> bool {
        self.found.asked_tier().is_none() && !Request::is_openai(&self.model)
    }

    /// Top-level fields, and kinds of content, that this version does not know.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        &self.found.unknown
    }

    /// Types of the tools that the provider runs itself. A type that is not known counts as one of them.
    #[must_use]
    pub fn server_tools(&self) -> &[String] {
        &self.found.server_tools
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}
