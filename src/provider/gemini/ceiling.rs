//! The most tokens that a request can use.
//!
//! Every rule names its source. Where none is published the rule says so and takes the side on which the cap
//! holds.

use super::super::{Edits, InputBound, Problem};
use super::Request;
use super::usage::tier_named;
use crate::model::{Limits, ModelId};
use crate::tokens::{CacheWrites, Ceiling, CeilingLine, ServiceTier, Terms};

/// Tokens around each turn. Not published.
const TURN_TOKENS: u64 = 10;
/// Tokens around a whole request. Not published.
const REQUEST_TOKENS: u64 = 64;
/// Hidden instructions that come with tools, or with a schema of the answer. Not published.
const TOOLS_TOKENS: u64 = 1_024;
/// Tokens that a note takes besides its bytes.
const NOTE_TOKENS: u64 = 32;
/// Times that tools of the provider's may make the model read its context again. Not published.
const SERVER_STEPS: u64 = 10;
/// Queries that one answer may be grounded by. Not published.
const SEARCHES_MAX: u64 = 100;

/// Tools whose charges an answer tells, or that have none: the others are charged in ways that no answer
/// tells.
const METERED_TOOLS: [&str; 5] =
    ["codeExecution", "fileSearch", "googleSearch", "googleSearchRetrieval", "urlContext"];

impl Request {
    /// Refuses what no ceiling holds for, whatever policy says.
    ///
    /// # Errors
    /// [`Problem::Denied`], with the reason.
    pub fn check_tools(&self) -> Result<(), Problem> {
        match self.found.server_tools.iter().find(|tool| !METERED_TOOLS.contains(&tool.as_str())) {
            Some(tool) => Err(Problem::Denied(format!(
                "the request offers `{tool}`, whose cost no answer tells; leave it out"
            ))),
            None => Ok(()),
        }
    }

    /// The most that the request can use once `edits` are made. `limits` says what a model can do at most.
    ///
    /// - **Input**: never above the window. Text counts one token a byte: the tokenizer falls back to bytes.
    ///   What is cached explicitly may be as long as the window.
    /// - **Output**: the output cap, thoughts included (`generationConfig` reference); where none is asked
    ///   for, the model's most, which the request is then given. Each of `candidateCount` answers may be as
    ///   long.
    /// - **Samplings**: one; with tools that the provider runs the window again for every step.
    /// - **Cache writes** cost nothing extra; what an explicit cache costs by the hour is no request's.
    #[must_use]
    pub fn ceiling(&self, edits: &Edits, limits: &dyn Fn(&ModelId) -> Limits, input: InputBound) -> Ceiling {
        let model = edits.model.as_ref().unwrap_or(&self.model);
        let limits = limits(model);
        let tools = &self.found.server_tools;
        let tier = self.found.tier.as_deref().map_or(ServiceTier::Standard, tier_named);
        let line = CeilingLine {
            model: model.clone(),
            input: self.input_ceiling(edits, &limits, input),
            output: self.output_ceiling(edits, &limits),
            samplings: if tools.is_empty() { 1 } else { 1 + SERVER_STEPS },
            choices: self.found.config.choices,
            audio: self.found.media.audio,
            cache_writes: CacheWrites::None,
            terms: Terms { tier, ..Terms::default() },
            region_open: false,
        };
        let searches = tools.iter().any(|tool| tool.starts_with("googleSearch"));
        let web_searches = if searches { SEARCHES_MAX } else { 0 };
        Ceiling { lines: vec![line], web_searches, ..Ceiling::default() }
    }

    /// Whether one answer is one sampling, so that what a stream says first of its input is final.
    pub(super) fn samples_once(&self) -> bool {
        self.found.server_tools.is_empty()
    }

    /// Whether the count endpoint's answer bounds the input.
    pub(super) fn countable(&self) -> bool {
        self.found.server_tools.is_empty() && !self.found.cached
    }

    fn output_ceiling(&self, edits: &Edits, limits: &Limits) -> u64 {
        let asked = self.output_cap().unwrap_or(limits.output);
        match edits.output_cap {
            Some(cap) if cap < asked && cap >= self.min_output_cap() => cap,
            _ => asked,
        }
    }

    fn input_ceiling(&self, edits: &Edits, limits: &Limits, input: InputBound) -> u64 {
        let media = &self.found.media;
        let note = edits.note.as_ref().map_or(0, |note| count(note.len()) + NOTE_TOKENS);
        let tokens = match input {
            _ if !self.countable() => limits.window,
            InputBound::Counted { tokens, extra } => {
                let margin = tokens.div_ceil(50).saturating_add(REQUEST_TOKENS).saturating_add(extra);
                tokens.saturating_add(margin).saturating_add(count(self.found.unknown_bytes))
            }
            InputBound::Bytes if media.documents => limits.window,
            InputBound::Bytes => self.text_ceiling() + media.images.saturating_mul(limits.image),
        };
        tokens.saturating_add(note).min(limits.window)
    }

    fn text_ceiling(&self) -> u64 {
        let extra = |some: bool| if some { TOOLS_TOKENS } else { 0 };
        // Definitions are written anew for the model, in a form that is not published: twice their bytes.
        count(self.body.len() - self.found.media.image_bytes)
            + count(self.found.tool_bytes)
            + extra(self.found.tool_bytes > 0)
            + extra(self.found.config.shaped)
            + self.found.contents * TURN_TOKENS
            + REQUEST_TOKENS
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
