//! The most tokens that a request can use.
//!
//! Every rule names its source. Where none is published the rule says so and takes the side on which the cap
//! holds.

use super::super::{Edits, InputBound, Problem};
use super::Form;
use super::Request;
use crate::model::{Limits, ModelId};
use crate::tokens::{CacheWrites, Calls, Ceiling, CeilingLine, Terms};

/// Tokens around each message or item. Not published.
const MESSAGE_TOKENS: u64 = 10;
/// Tokens around a whole request. Not published.
const REQUEST_TOKENS: u64 = 64;
/// Hidden instructions that come with tools, or with a schema of the answer. Not published.
const TOOLS_TOKENS: u64 = 1_024;
/// Tokens that a note takes besides its bytes.
const NOTE_TOKENS: u64 = 32;
/// Calls of the provider's own tools in one request that names no `max_tool_calls`: it is then given this.
pub(super) const TOOL_CALLS_MAX: u64 = 10;
/// Tools whose cost an answer does not tell: containers are charged by size and time, pictures by their own
/// tokens.
const UNMETERED_TOOLS: [&str; 3] = ["code_interpreter", "image_generation", "shell"];

impl Request {
    /// Refuses what no ceiling holds for, whatever policy says.
    ///
    /// # Errors
    /// [`Problem::Denied`], with the reason.
    pub fn check_tools(&self) -> Result<(), Problem> {
        match self.found.server_tools.iter().find(|tool| UNMETERED_TOOLS.contains(&tool.as_str())) {
            Some(tool) => Err(Problem::Denied(format!(
                "the request offers `{tool}`, whose cost no answer tells; leave it out"
            ))),
            None => Ok(()),
        }
    }

    /// The most that the request can use once `edits` are made. `limits` says what a model can do at most.
    ///
    /// - **Input**: never above the window. Text counts one token a byte: a tokenizer that falls back to
    ///   single bytes makes no more of it.
    /// - **Output**: the output cap, reasoning included (Responses reference); where none is asked for, the
    ///   model's most, which the request is then given. Each of `n` answers may be as long; their input is
    ///   read once (Chat reference).
    /// - **Samplings**: one; with tools that the provider runs one more for every call it may make of them,
    ///   each of which reads the context again. Compaction is one more over the window.
    /// - **Cache writes**: models from GPT-5.6 on write by themselves, for 1.25 times the input price; a
    ///   longer lifetime where it is asked for. Models before that have no price of their own for it.
    /// - **Terms** as the request asks; where it leaves them to the project, it is given the default ones.
    #[must_use]
    pub fn ceiling(&self, edits: &Edits, limits: &dyn Fn(&ModelId) -> Limits, input: InputBound) -> Ceiling {
        let tools = !self.found.server_tools.is_empty();
        let calls = if tools { self.found.tool_calls_max.unwrap_or(TOOL_CALLS_MAX) } else { 0 };
        let samplings = calls.saturating_add(1).saturating_add(u64::from(self.found.compaction));
        let tier = self.found.asked_tier().unwrap_or_default();
        let line = |model: &ModelId, input: InputBound| {
            let limits = limits(model);
            CeilingLine {
                model: model.clone(),
                input: self.input_ceiling(edits, &limits, input),
                output: self.output_ceiling(edits, &limits),
                samplings,
                choices: self.found.choices,
                audio: self.found.content.audio,
                cache_writes: if self.long_writes() {
                    CacheWrites::TwelveHours
                } else {
                    CacheWrites::ThirtyMinutes
                },
                terms: Terms { tier: tier.clone(), ..Terms::default() },
                region_open: false,
            }
        };
        let mut lines = vec![line(edits.model.as_ref().unwrap_or(&self.model), input)];
        lines.extend(self.found.fallbacks.iter().map(|model| line(model, InputBound::Bytes)));
        let offers = |what: &str| self.found.server_tools.iter().any(|tool| tool.contains(what));
        let preview = offers("preview") || offers("web_search_options");
        Ceiling {
            lines,
            web_searches: if offers("search") && !preview { calls } else { 0 },
            calls: Calls {
                file_searches: if offers("file_search") { calls } else { 0 },
                preview_searches: if preview { calls } else { 0 },
                containers: 0,
            },
        }
    }

    /// Whether the count endpoint's answer bounds the input: it exists for Responses only, and sees what is
    /// held, but not what is fetched later or read again.
    pub(super) fn countable(&self) -> bool {
        self.form == Form::Responses
            && self.found.server_tools.is_empty()
            && !self.found.compaction
            && !self.found.content.fetched
    }

    /// Output tokens of one answer at most.
    fn output_ceiling(&self, edits: &Edits, limits: &Limits) -> u64 {
        let asked = self.output_cap().unwrap_or(limits.output);
        match edits.output_cap {
            Some(cap) if cap < asked && cap >= self.min_output_cap() => cap,
            _ => asked,
        }
    }

    /// Input tokens of one sampling at most.
    fn input_ceiling(&self, edits: &Edits, limits: &Limits, input: InputBound) -> u64 {
        let content = &self.found.content;
        let note = edits.note.as_ref().map_or(0, |note| count(note.len()) + NOTE_TOKENS);
        let again = !self.found.server_tools.is_empty() || self.found.compaction;
        let tokens = match input {
            _ if again || content.fetched => limits.window,
            // The page on counting calls its answer the exact count that the model will receive: 1 % and
            // 64 tokens, and what this run has shown.
            InputBound::Counted { tokens, extra } => {
                let margin = tokens.div_ceil(100).saturating_add(REQUEST_TOKENS).saturating_add(extra);
                tokens.saturating_add(margin).saturating_add(count(self.found.unknown_bytes))
            }
            InputBound::Bytes if content.documents || content.held => limits.window,
            InputBound::Bytes => self.text_ceiling() + content.images.saturating_mul(limits.image),
        };
        tokens.saturating_add(note).min(limits.window)
    }

    /// Tokens of everything but images.
    fn text_ceiling(&self) -> u64 {
        let content = &self.found.content;
        let tools = if self.found.tool_bytes > 0 { TOOLS_TOKENS } else { 0 };
        let schema = if self.found.schema { TOOLS_TOKENS } else { 0 };
        // Definitions are written anew for the model, in a form that is not published: twice their bytes.
        count(self.body.len() - content.image_bytes)
            + count(self.found.tool_bytes)
            + tools
            + schema
            + content.messages * MESSAGE_TOKENS
            + REQUEST_TOKENS
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
