//! Usage objects of the Gemini API (`usageMetadata`), to [`Usage`].
//!
//! Cached tokens lie inside the prompt, thoughts outside of the candidates, and what tools bring outside of
//! the prompt (Google's SDK). Every field may be missing, and the counts by modality need not add up to the
//! whole, which is what counts.

use serde_json::{Map, Value};

use super::super::usage::{UsageError, count, latest, object, present, text, wrong};
use crate::model::ModelId;
use crate::tokens::{Counts, Region, ServiceTier, Speed, Terms, Usage, UsageLine};

/// The same counts by the name of `generateContent` and by that of the Interactions API.
const PROMPT: [&str; 2] = ["promptTokenCount", "total_input_tokens"];
const CACHED: [&str; 2] = ["cachedContentTokenCount", "total_cached_tokens"];
const CANDIDATES: [&str; 3] = ["candidatesTokenCount", "responseTokenCount", "total_output_tokens"];
const THOUGHTS: [&str; 2] = ["thoughtsTokenCount", "total_thought_tokens"];
const TOOL_USE: [&str; 2] = ["toolUsePromptTokenCount", "total_tool_use_tokens"];
const TOTAL: [&str; 2] = ["totalTokenCount", "total_tokens"];

/// Reads the usage objects of one response, each of which repeats the counts so far.
#[derive(Clone, Debug)]
pub struct Merge {
    model: ModelId,
    prompt: Option<u64>,
    cached: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
    tool_use: Option<u64>,
    total: Option<u64>,
    audio: Option<u64>,
    audio_cached: Option<u64>,
    tier: Option<String>,
    traffic: Option<String>,
    region: Region,
    queries: u64,
}

impl Merge {
    /// Begins a response to a request for that model.
    #[must_use]
    pub fn new(request_model: &ModelId) -> Self {
        Self {
            model: request_model.clone(),
            prompt: None,
            cached: None,
            candidates: None,
            thoughts: None,
            tool_use: None,
            total: None,
            audio: None,
            audio_cached: None,
            tier: None,
            traffic: None,
            region: Region::Global,
            queries: 0,
        }
    }

    /// The model that the response names: it is the one that is billed.
    pub fn model(&mut self, response_model: &str) {
        if !response_model.is_empty() {
            self.model = ModelId::new(response_model);
        }
    }

    /// The service tier that a header names, or that is known from the request.
    pub fn tier(&mut self, tier: &str) {
        self.tier = Some(tier.to_owned());
    }

    /// Where the endpoint that was asked keeps requests.
    pub fn region(&mut self, region: Region) {
        self.region = region;
    }

    /// So many queries were searched for to ground the answer, in all.
    pub fn grounded(&mut self, queries: u64) {
        self.queries = self.queries.max(queries);
    }

    /// Web searches that are charged: models of the second generation charge for the prompt, later ones for
    /// every query (pricing page).
    fn searches(&self) -> u64 {
        let name = self.model.as_str();
        let per_prompt = name.rsplit('/').next().unwrap_or(name).starts_with("gemini-2");
        if per_prompt { self.queries.min(1) } else { self.queries }
    }

    /// Takes the next usage object: of each field the latest that is not null counts.
    ///
    /// # Errors
    /// When a field is not what it has to be; the name of the field is in the error.
    pub fn take(&mut self, usage: &Value) -> Result<(), UsageError> {
        let usage = object(usage, "usageMetadata")?;
        for (kept, names) in [
            (&mut self.prompt, &PROMPT[..]),
            (&mut self.cached, &CACHED),
            (&mut self.candidates, &CANDIDATES),
            (&mut self.thoughts, &THOUGHTS),
            (&mut self.tool_use, &TOOL_USE),
            (&mut self.total, &TOTAL),
        ] {
            for name in names {
                latest(kept, count(usage, name, "")?);
            }
        }
        let tools = audio(usage, "toolUsePromptTokensDetails")?;
        let prompt = audio(usage, "promptTokensDetails")?;
        let both = prompt.map(|prompt| prompt.saturating_add(tools.unwrap_or(0))).or(tools);
        latest(&mut self.audio, both);
        latest(&mut self.audio_cached, audio(usage, "cacheTokensDetails")?);
        latest(&mut self.tier, text(usage, "serviceTier")?);
        latest(&mut self.traffic, text(usage, "trafficType")?);
        Ok(())
    }

    /// The whole usage.
    ///
    /// # Errors
    /// When the prompt was never counted.
    pub fn finish(&self) -> Result<Usage, UsageError> {
        let prompt = self.prompt.ok_or_else(|| UsageError::Missing("promptTokenCount".to_owned()))?;
        let cached = self.cached.unwrap_or(0);
        let tool_use = self.tool_use.unwrap_or(0);
        let said = self.candidates.unwrap_or(0).saturating_add(self.thoughts.unwrap_or(0));
        // What the total holds besides was generated and is counted nowhere else.
        let by_total = self.total.unwrap_or(0).saturating_sub(prompt.saturating_add(tool_use));
        let input = prompt.saturating_sub(cached).saturating_add(tool_use);
        let audio_cache_read = self.audio_cached.unwrap_or(0).min(cached);
        let audio_input = self.audio.unwrap_or(0).saturating_sub(audio_cache_read).min(input);
        let counts = Counts {
            input: input - audio_input,
            cache_read: cached - audio_cache_read,
            audio_input,
            audio_cache_read,
            output: said.max(by_total),
            ..Counts::default()
        };
        let terms = Terms { tier: self.served_tier(), speed: Speed::Standard, region: self.region.clone() };
        let line = UsageLine { model: self.model.clone(), counts, terms, beside_prompt: tool_use };
        Ok(Usage { lines: vec![line], web_searches: self.searches(), ..Usage::default() })
    }

    /// What is known of the input side when a response breaks off; no output is counted.
    #[must_use]
    pub fn input_side(&self) -> Option<Usage> {
        let mut usage = self.finish().ok()?;
        for line in &mut usage.lines {
            line.counts.output = 0;
        }
        Some(usage).filter(|usage| usage.counts().prompt() > 0)
    }

    fn served_tier(&self) -> ServiceTier {
        match (self.tier.as_deref(), self.traffic.as_deref()) {
            (Some(tier), _) => tier_named(tier),
            (None, Some("ON_DEMAND_PRIORITY")) => ServiceTier::Priority,
            (None, Some("ON_DEMAND_FLEX")) => ServiceTier::Flex,
            // Provisioned throughput is committed capacity, reported at the list price.
            (None, None | Some("ON_DEMAND" | "PROVISIONED_THROUGHPUT" | "TRAFFIC_TYPE_UNSPECIFIED")) => {
                ServiceTier::Standard
            }
            (None, Some(other)) => ServiceTier::Other(other.to_owned()),
        }
    }
}

/// The tier of that name, however it is written.
pub(super) fn tier_named(name: &str) -> ServiceTier {
    let lower = name.to_ascii_lowercase();
    match lower.strip_prefix("service_tier_").unwrap_or(&lower) {
        "" | "unspecified" | "standard" | "default" => ServiceTier::Standard,
        "priority" => ServiceTier::Priority,
        "flex" => ServiceTier::Flex,
        "batch" => ServiceTier::Batch,
        other => ServiceTier::Other(other.to_owned()),
    }
}

/// Spoken tokens in a list of counts by modality.
fn audio(usage: &Map<String, Value>, field: &str) -> Result<Option<u64>, UsageError> {
    let Some(list) = present(usage, field) else { return Ok(None) };
    let Value::Array(list) = list else { return Err(wrong(field, list, "a list")) };
    let mut sum = None;
    for entry in list {
        let entry = object(entry, field)?;
        if entry.get("modality").and_then(Value::as_str) == Some("AUDIO") {
            let tokens = count(entry, "tokenCount", &format!("{field}."))?.unwrap_or(0);
            sum = Some(sum.unwrap_or(0_u64).saturating_add(tokens));
        }
    }
    Ok(sum)
}
