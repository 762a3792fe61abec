//! The most tokens that a request can use.
//!
//! Every rule names its source. Where none is published the rule says so and takes the side on which
//! the cap holds.

use super::super::{Edits, InputBound, Problem};
use super::Request;
use super::fields::Compaction;
use super::scan::Marks;
use crate::model::{Limits, ModelId};
use crate::tokens::{CacheWrites, Ceiling, CeilingLine};

/// Tokens around each message. Not published; the page on token counting calls its counts an estimate that
/// may hold some that the system adds.
const MESSAGE_TOKENS: u64 = 10;
/// Tokens around a whole request. Not published.
const REQUEST_TOKENS: u64 = 64;
/// The hidden instructions that come with tools: Anthropic's pricing page lists 264 to 804 by model.
const TOOLS_TOKENS: u64 = 1_024;
/// The hidden instructions that come with a schema of the answer. Not published; counted like those of
/// tools.
const SCHEMA_TOKENS: u64 = 1_024;
/// Tokens that a note takes besides its bytes.
const NOTE_TOKENS: u64 = 16;
/// Anthropic's page on server tools: after ten steps the provider hands the turn back (`pause_turn`).
const SERVER_STEPS: u64 = 10;
/// The shortest context that is compacted: the page on compaction takes no lower trigger.
const COMPACTION_TRIGGER_MIN: u64 = 50_000;
/// The provider's own prompt for a summary. Not published.
const COMPACTION_TOKENS: u64 = 2_048;
/// Searches in one request that names no `max_uses`. A step may hold several; no limit is published.
const SEARCHES_UNBOUNDED: u64 = 100;

/// From these editions on, code that is run beside a web tool is free of charge (pricing page).
const FREE_CODE_SINCE: &str = "20260209";

impl Request {
    /// Refuses what no ceiling holds for, whatever policy says: code that the provider runs is charged by the
    /// hour, which no answer tells, unless it is run beside a web tool of these days.
    ///
    /// # Errors
    /// [`Problem::Denied`], with the reason.
    pub fn check_tools(&self) -> Result<(), Problem> {
        let tools = &self.found.tools.server;
        let free = tools.iter().any(|tool| {
            let edition =
                ["web_search_", "web_fetch_"].iter().find_map(|start| tool.kind.strip_prefix(start));
            edition.is_some_and(|date| date.len() == FREE_CODE_SINCE.len() && date >= FREE_CODE_SINCE)
        });
        match tools.iter().find(|tool| tool.kind.contains("code_execution")) {
            Some(tool) if !free => Err(Problem::Denied(format!(
                "the request offers `{}`, whose cost no answer tells; leave it out, or offer it beside \
                 web_search_{FREE_CODE_SINCE}, where it is free",
                tool.kind
            ))),
            _ => Ok(()),
        }
    }

    /// The most that the request can use once `edits` are made. `limits` says what a model can do at
    /// most; it is asked for the request's model (or the one in `edits`), every fallback and the advisor.
    ///
    /// - **Input**: see [`InputBound`], never above the window.
    /// - **Output**: the output cap, which holds thinking too and is hard (Messages API reference). It is
    ///   taken at its word where it is above the model's own: the API refuses that, unless a beta lifts it.
    /// - **Samplings**: one; with tools that the provider runs one more for every use it may make of
    ///   them, ten at most, each of which reads the context again, grown by what the tools brought: hence
    ///   the window. Whether the output cap holds for each or for all is not published: for each.
    /// - **Compaction** is a sampling of its own, billed like one (`usage.iterations`). Whether the output
    ///   cap holds for the summary is not published: the model's own.
    /// - **Fallbacks** are billed hop by hop, each at its model's price, an **advisor** call as a sampling of
    ///   its own model over the whole transcript (pages on both). What was counted for one model does not
    ///   bound another, whose tokenizer may be another: theirs is the bound by size.
    /// - **Cache writes** at the longest lifetime that anything in the request is marked with. A model need
    ///   not write what it may.
    /// - **Terms** as the request asks. `service_tier: auto` may be served from committed capacity, which
    ///   has no public price and counts as the list price.
    #[must_use]
    pub fn ceiling(&self, edits: &Edits, limits: &dyn Fn(&ModelId) -> Limits, input: InputBound) -> Ceiling {
        let tools = &self.found.tools.server;
        let advisors = || tools.iter().filter(|tool| tool.kind.starts_with("advisor"));
        let mut uses = 0_u64;
        let mut web_searches = 0_u64;
        for tool in tools {
            uses = uses.saturating_add(tool.uses_max.unwrap_or(SERVER_STEPS));
            if tool.kind.starts_with("web_search") {
                web_searches = web_searches.saturating_add(tool.uses_max.unwrap_or(SEARCHES_UNBOUNDED));
            }
        }
        let samplings = 1 + uses.min(SERVER_STEPS);
        let line = |model: &ModelId, input: InputBound, output: Option<u64>, samplings: u64| {
            let limits = limits(model);
            CeilingLine {
                model: model.clone(),
                input: self.input_ceiling(edits, &limits, input),
                output: output.unwrap_or(limits.output),
                samplings,
                choices: 1,
                audio: false,
                cache_writes: cache_writes(self.marks),
                terms: self.found.terms.clone(),
                region_open: !self.found.region_named,
            }
        };
        let output = self.output_cap_with(edits);
        let model = edits.model.as_ref().unwrap_or(&self.model);
        let mut lines = vec![line(model, input, Some(output), samplings)];
        for fallback in &self.found.fallbacks {
            let cap = fallback.output_cap.unwrap_or(0).max(output);
            let mut hop = line(&fallback.model, InputBound::Bytes, Some(cap), samplings);
            if let Some(speed) = &fallback.speed {
                hop.terms.speed = speed.clone();
            }
            lines.push(hop);
        }
        for tool in advisors() {
            // One that names no model asks the dearest that could be meant: none is published, so its own.
            let model = tool.model.as_ref().unwrap_or(&self.model);
            let uses = tool.uses_max.unwrap_or(SERVER_STEPS);
            lines.push(line(model, InputBound::Bytes, tool.output_cap, uses));
        }
        if self.compacts(lines[0].input) {
            lines.push(line(model, input, None, 1));
        }
        Ceiling { lines, web_searches, ..Ceiling::default() }
    }

    /// Whether a context of at most so many tokens may be summarised on the way.
    fn compacts(&self, input: u64) -> bool {
        match self.found.compaction {
            Compaction::None => false,
            Compaction::WhenLong => input >= COMPACTION_TRIGGER_MIN,
            Compaction::Any => true,
        }
    }

    /// The output cap once `edits` are made.
    pub(super) fn output_cap_with(&self, edits: &Edits) -> u64 {
        match edits.output_cap {
            Some(cap) if cap < self.output_cap && cap >= self.min_output_cap() => cap,
            _ => self.output_cap,
        }
    }

    /// Whether the count endpoint's answer bounds the input: nothing is held or fetched by the provider,
    /// and it reads the context once.
    pub(super) fn countable(&self) -> bool {
        self.found.tools.server.is_empty() && !self.found.content.opaque
    }

    /// Input tokens of one sampling at most.
    fn input_ceiling(&self, edits: &Edits, limits: &Limits, input: InputBound) -> u64 {
        let content = &self.found.content;
        let note = edits.note.as_ref().map_or(0, |note| count(note.len()) + NOTE_TOKENS);
        let compaction = if self.found.compaction == Compaction::None { 0 } else { COMPACTION_TOKENS };
        // What an address holds can change between counting and serving.
        let remote_images = content.remote_images.saturating_mul(limits.image);
        let tokens = match input {
            _ if !self.countable() => limits.window,
            // The page on token counting calls its answer an estimate that may differ by a small amount:
            // 2 % and 64 tokens, and what this run has shown.
            InputBound::Counted { tokens, extra } => {
                let margin = tokens.div_ceil(50).saturating_add(REQUEST_TOKENS).saturating_add(extra);
                let unseen = count(self.found.unknown_bytes).saturating_add(remote_images);
                tokens.saturating_add(margin).saturating_add(unseen)
            }
            // Pages are billed as text and image both (page on PDF support); how many there are, only the
            // provider sees.
            InputBound::Bytes if content.documents => limits.window,
            InputBound::Bytes => self.text_ceiling() + self.image_ceiling(limits) + remote_images,
        };
        tokens.saturating_add(note).saturating_add(compaction).min(limits.window)
    }

    /// Tokens of everything but images. A tokenizer that falls back to single bytes makes no more tokens
    /// than there are bytes; the JSON around a text is more bytes than what a model sees around it.
    fn text_ceiling(&self) -> u64 {
        let (content, tools) = (&self.found.content, &self.found.tools);
        let image_bytes: usize = content.images.iter().map(|image| image.bytes).sum();
        // Definitions are written anew for the model, in a form that is not published: twice their bytes.
        // A tool that is deferred is written out where it is referred to.
        let rewritten = count(tools.bytes) + content.tool_references * 2 * count(tools.largest_bytes);
        let instructions = if tools.bytes > 0 { TOOLS_TOKENS } else { 0 };
        let schema = if self.found.schema { SCHEMA_TOKENS } else { 0 };
        count(self.body.len() - image_bytes)
            + rewritten
            + instructions
            + schema
            + tools.hidden_tokens
            + content.messages * MESSAGE_TOKENS
            + REQUEST_TOKENS
    }

    /// Tokens of the images in base64: by their size where it can be read, else the model's most (page on
    /// vision).
    fn image_ceiling(&self, limits: &Limits) -> u64 {
        let tokens = |size: Option<super::image::Size>| size.map_or(limits.image, |s| s.tokens(limits.image));
        self.found.content.images.iter().map(|image| tokens(image.size)).sum()
    }

    /// Whether one answer is one sampling, so that its first event says all of its input side.
    pub(super) fn samples_once(&self) -> bool {
        self.found.tools.server.is_empty()
            && self.found.compaction == Compaction::None
            && self.found.fallbacks.is_empty()
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn cache_writes(marks: Marks) -> CacheWrites {
    match marks {
        Marks { hour: true, .. } => CacheWrites::OneHour,
        Marks { any: true, .. } => CacheWrites::FiveMinutes,
        Marks { .. } => CacheWrites::None,
    }
}

#[cfg(test)]
mod tests;
