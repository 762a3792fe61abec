//! Usage objects of Anthropic responses, to [`Usage`].
//!
//! A response says its usage in one object, a stream in several: `message_start` carries the input side,
//! the terms and a placeholder for the output, each `message_delta` a cumulative count. [`Merge`] keeps
//! the latest of every field and never adds. Field meanings are those of Anthropic's SDK (`Usage`).

use serde_json::{Map, Value};

pub use super::super::usage::UsageError;
use super::super::usage::{count, latest, latest_input, object, present, text, text_at, wrong};
use crate::model::ModelId;
use crate::tokens::{Counts, Region, ServiceTier, Speed, Terms, Usage, UsageLine};

/// The token fields of a usage object or of one of its iterations, as far as they came.
#[derive(Clone, Debug, Default)]
struct Tokens {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    write_5m: Option<u64>,
    write_1h: Option<u64>,
}

/// One sampling of a request that caused several.
#[derive(Clone, Debug)]
struct Iteration {
    /// `message`, whose tokens the top level sums up, or another kind, which it leaves out.
    is_message: bool,
    model: Option<ModelId>,
    counts: Counts,
}

/// Reads the usage objects of one response, in order.
#[derive(Clone, Debug)]
pub struct Merge {
    model: ModelId,
    hour_writes: bool,
    tokens: Tokens,
    tier: Option<String>,
    speed: Option<String>,
    region: Option<String>,
    web_searches: Option<u64>,
    iterations: Vec<Iteration>,
    /// Output was counted since the iterations last came: they are older than the top level.
    iterations_stale: bool,
}

impl Merge {
    /// Begins a response to a request for that model. `hour_writes` says that the request marked a cache
    /// lifetime of one hour anywhere: cache writes that come without their split then count as such.
    #[must_use]
    pub fn new(request_model: &ModelId, hour_writes: bool) -> Self {
        Self {
            model: request_model.clone(),
            hour_writes,
            tokens: Tokens::default(),
            tier: None,
            speed: None,
            region: None,
            web_searches: None,
            iterations: Vec::new(),
            iterations_stale: false,
        }
    }

    /// The model that the response names: it is the one that is billed.
    pub fn model(&mut self, response_model: &str) {
        self.model = ModelId::new(response_model);
    }

    /// Takes the next usage object: of each field the latest that is not null counts.
    ///
    /// # Errors
    /// When a field is not what it has to be; the name of the field is in the error.
    pub fn take(&mut self, usage: &Value) -> Result<(), UsageError> {
        let usage = object(usage, "usage")?;
        self.tokens.take(usage, "")?;
        latest(&mut self.tier, text(usage, "service_tier")?);
        latest(&mut self.speed, text(usage, "speed")?);
        latest(&mut self.region, text(usage, "inference_geo")?);
        if let Some(tools) = present(usage, "server_tool_use") {
            let tools = object(tools, "server_tool_use")?;
            latest(&mut self.web_searches, count(tools, "web_search_requests", "server_tool_use.")?);
        }
        match present(usage, "iterations") {
            Some(Value::Array(entries)) => {
                self.iterations = self.read_iterations(entries)?;
                self.iterations_stale = false;
            }
            Some(other) => return Err(wrong("iterations", other, "a list")),
            None => self.iterations_stale |= present(usage, "output_tokens").is_some(),
        }
        Ok(())
    }

    /// The whole usage, when the response is over. `refused_before_output` says that it ended with the
    /// stop reason `refusal` and no content, which is not billed although tokens are counted.
    ///
    /// # Errors
    /// When the input or the output was never counted.
    pub fn finish(self, refused_before_output: bool) -> Result<Usage, UsageError> {
        let missing = |field: &str| UsageError::Missing(field.to_owned());
        self.tokens.input.ok_or_else(|| missing("input_tokens"))?;
        self.tokens.output.ok_or_else(|| missing("output_tokens"))?;
        Ok(Usage { unbilled: refused_before_output, ..self.usage() })
    }

    /// What is known of the input side when a response breaks off; no output is counted. `None` before
    /// any came, or where it says nothing: every prompt has tokens.
    #[must_use]
    pub fn input_side(&self) -> Option<Usage> {
        self.tokens.input?;
        let mut usage = self.usage();
        for line in &mut usage.lines {
            line.counts.output = 0;
        }
        Some(usage).filter(|usage| usage.counts().prompt() > 0)
    }

    /// The lines as they stand. Iterations, where there are any, count instead of the top level, which
    /// leaves compaction and advisor samplings out; where they are older than the top level, it counts
    /// for the `message` samplings that it sums up.
    fn usage(&self) -> Usage {
        let mut lines = Vec::new();
        let whole = self.iterations.is_empty() || self.iterations_stale;
        if whole {
            lines.push(self.line(None, self.tokens.counts(self.hour_writes)));
        }
        for iteration in self.iterations.iter().filter(|iteration| !whole || !iteration.is_message) {
            lines.push(self.line(iteration.model.as_ref(), iteration.counts));
        }
        Usage { lines, web_searches: self.web_searches.unwrap_or(0), ..Usage::default() }
    }

    fn line(&self, model: Option<&ModelId>, counts: Counts) -> UsageLine {
        UsageLine {
            model: model.unwrap_or(&self.model).clone(),
            counts,
            terms: self.terms(),
            beside_prompt: 0,
        }
    }

    fn terms(&self) -> Terms {
        let tier = match self.tier.as_deref() {
            None | Some("standard") => ServiceTier::Standard,
            Some("priority") => ServiceTier::Priority,
            Some("batch") => ServiceTier::Batch,
            Some(other) => ServiceTier::Other(other.to_owned()),
        };
        let speed = match self.speed.as_deref() {
            None | Some("standard") => Speed::Standard,
            Some("fast") => Speed::Fast,
            Some(other) => Speed::Other(other.to_owned()),
        };
        // Models before 4.6 cannot be pinned to a region, and say so.
        let region = match self.region.as_deref() {
            None | Some("global" | "not_available") => Region::Global,
            Some("us") => Region::Us,
            Some(other) => Region::Other(other.to_owned()),
        };
        Terms { tier, speed, region }
    }

    fn read_iterations(&self, entries: &[Value]) -> Result<Vec<Iteration>, UsageError> {
        let read = |(index, entry): (usize, &Value)| {
            let path = format!("iterations[{index}]");
            let entry = object(entry, &path)?;
            let prefix = format!("{path}.");
            let mut tokens = Tokens::default();
            tokens.take(entry, &prefix)?;
            for (field, value) in [("input_tokens", tokens.input), ("output_tokens", tokens.output)] {
                value.ok_or_else(|| UsageError::Missing(format!("{prefix}{field}")))?;
            }
            let model = text_at(entry, "model", &prefix)?.map(|model| ModelId::new(&model));
            let is_message = text_at(entry, "type", &prefix)?.as_deref() == Some("message");
            Ok(Iteration { is_message, model, counts: tokens.counts(self.hour_writes) })
        };
        entries.iter().enumerate().map(read).collect()
    }
}

impl Tokens {
    fn take(&mut self, usage: &Map<String, Value>, prefix: &str) -> Result<(), UsageError> {
        latest_input(&mut self.input, count(usage, "input_tokens", prefix)?);
        latest(&mut self.output, count(usage, "output_tokens", prefix)?);
        latest_input(&mut self.cache_read, count(usage, "cache_read_input_tokens", prefix)?);
        latest_input(&mut self.cache_write, count(usage, "cache_creation_input_tokens", prefix)?);
        if let Some(split) = present(usage, "cache_creation") {
            let path = format!("{prefix}cache_creation");
            let split = object(split, &path)?;
            let prefix = format!("{path}.");
            latest(&mut self.write_5m, count(split, "ephemeral_5m_input_tokens", &prefix)?);
            latest(&mut self.write_1h, count(split, "ephemeral_1h_input_tokens", &prefix)?);
        }
        Ok(())
    }

    /// The counts, with cache writes by lifetime. What the split does not explain (there is none, or the
    /// total grew after it) counts at the longest lifetime that the request marked or the split shows.
    fn counts(&self, hour_writes: bool) -> Counts {
        let (mut write_5m, mut write_1h) = (self.write_5m.unwrap_or(0), self.write_1h.unwrap_or(0));
        let split = write_5m.saturating_add(write_1h);
        let unexplained = self.cache_write.unwrap_or(0).saturating_sub(split);
        let long_lived = hour_writes || write_1h > 0;
        let lifetime = if long_lived { &mut write_1h } else { &mut write_5m };
        *lifetime = lifetime.saturating_add(unexplained);
        Counts {
            input: self.input.unwrap_or(0),
            cache_read: self.cache_read.unwrap_or(0),
            cache_write_5m: write_5m,
            cache_write_1h: write_1h,
            output: self.output.unwrap_or(0),
            ..Counts::default()
        }
    }
}

#[cfg(test)]
mod tests;
