//! Usage objects of OpenAI's APIs and of servers that speak them, to [`Usage`].
//!
//! Responses and Chat Completions name the same things differently, and compatible servers leave details
//! out. Cached and cache-written tokens lie inside the input, reasoning inside the output (OpenAI's SDK).

use serde_json::{Map, Value};

use super::super::usage::{UsageError, count, dollars, latest, object, present, text};
use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::{Calls, Counts, Region, ServiceTier, Speed, Terms, Usage, UsageLine};

/// Ten-billionths of a dollar, in which xAI says what it charges.
const TICK_PICO: i128 = 100;

/// The fields of a usage object, as far as they came.
#[derive(Clone, Debug, Default)]
struct Tokens {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    missed: Option<u64>,
    written: Option<u64>,
    written_30m: Option<u64>,
    written_12h: Option<u64>,
    billed: Option<Usd>,
}

/// Reads the usage of one response.
#[derive(Clone, Debug)]
pub struct Merge {
    model: ModelId,
    long_writes: bool,
    tokens: Tokens,
    tier: Option<String>,
    region: Region,
    web_searches: u64,
    calls: Calls,
    /// The request offers the older kind of web search, which answers do not tell from the newer.
    preview: bool,
}

impl Merge {
    /// Begins a response to a request for that model. `long_writes` says that the request asked for the
    /// longer cache lifetime: cache writes that come without their split then count as such.
    #[must_use]
    pub fn new(request_model: &ModelId, long_writes: bool) -> Self {
        Self {
            model: request_model.clone(),
            long_writes,
            tokens: Tokens::default(),
            tier: None,
            region: Region::Global,
            web_searches: 0,
            calls: Calls::default(),
            preview: false,
        }
    }

    /// The model that the response names: it is the one that is billed.
    pub fn model(&mut self, response_model: &str) {
        if !response_model.is_empty() {
            self.model = ModelId::new(response_model);
        }
    }

    /// The service tier that the response names, or that is known from the request.
    pub fn tier(&mut self, tier: &str) {
        self.tier = Some(tier.to_owned());
    }

    /// Where the endpoint that was asked keeps requests.
    pub fn region(&mut self, region: Region) {
        self.region = region;
    }

    /// An output item of a Responses answer: calls of the provider's own tools are charged one by one, and
    /// are not in the usage.
    pub fn item(&mut self, kind: &str) {
        match kind {
            "web_search_call" => self.web_searches = self.web_searches.saturating_add(1),
            "file_search_call" => self.calls.file_searches = self.calls.file_searches.saturating_add(1),
            // One session for all calls of an answer; which size it had, only the request says.
            "code_interpreter_call" => self.calls.containers = self.calls.containers.max(1),
            _ => {}
        }
    }

    /// Calls of the provider's tools that are known from elsewhere.
    pub fn called(&mut self, web_searches: u64, calls: Calls) {
        self.web_searches = self.web_searches.saturating_add(web_searches);
        self.calls.file_searches = self.calls.file_searches.saturating_add(calls.file_searches);
        self.calls.preview_searches = self.calls.preview_searches.saturating_add(calls.preview_searches);
        self.calls.containers = self.calls.containers.saturating_add(calls.containers);
    }

    /// The request offers a web search of the older kind: models that do not reason charge more for it
    /// (pricing page).
    pub fn preview_searches(&mut self) {
        self.preview = true;
    }

    /// Takes a usage object; of each field the latest that is not null counts.
    ///
    /// # Errors
    /// When a field is not what it has to be; the name of the field is in the error.
    pub fn take(&mut self, usage: &Value) -> Result<(), UsageError> {
        let usage = object(usage, "usage")?;
        let tokens = &mut self.tokens;
        for name in ["input_tokens", "prompt_tokens"] {
            latest(&mut tokens.input, count(usage, name, "")?);
        }
        for name in ["output_tokens", "completion_tokens"] {
            latest(&mut tokens.output, count(usage, name, "")?);
        }
        latest(&mut tokens.total, count(usage, "total_tokens", "")?);
        // DeepSeek's names, and Kimi's.
        latest(&mut tokens.missed, count(usage, "prompt_cache_miss_tokens", "")?);
        for name in ["cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"] {
            latest(&mut tokens.cached, count(usage, name, "")?);
        }
        latest(&mut tokens.written, count(usage, "cache_creation_input_tokens", "")?);
        for name in ["input_tokens_details", "prompt_tokens_details"] {
            if let Some(details) = present(usage, name) {
                tokens.details(object(details, name)?, name)?;
            }
        }
        latest(&mut tokens.billed, billed(usage));
        latest(&mut self.tier, text(usage, "service_tier")?);
        Ok(())
    }

    /// Whether input and output were counted.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.tokens.input_sum().is_some() && self.tokens.output_sum().is_some()
    }

    /// The whole usage.
    ///
    /// # Errors
    /// When the input or the output was never counted.
    pub fn finish(&self) -> Result<Usage, UsageError> {
        let missing = |field: &str| UsageError::Missing(field.to_owned());
        let input = self.tokens.input_sum().ok_or_else(|| missing("input_tokens"))?;
        let output = self.tokens.output_sum().ok_or_else(|| missing("output_tokens"))?;
        let counts = self.tokens.counts(input, output, self.long_writes);
        let terms =
            Terms { tier: tier(self.tier.as_deref()), speed: Speed::Standard, region: self.region.clone() };
        let (mut web_searches, mut calls) = (self.web_searches, self.calls);
        if self.preview && !reasons(&self.model) {
            calls.preview_searches = calls.preview_searches.saturating_add(web_searches);
            web_searches = 0;
        }
        Ok(Usage {
            lines: vec![UsageLine { model: self.model.clone(), counts, terms, beside_prompt: 0 }],
            web_searches,
            calls,
            billed: self.tokens.billed,
            unbilled: false,
        })
    }
}

impl Tokens {
    fn details(&mut self, details: &Map<String, Value>, name: &str) -> Result<(), UsageError> {
        let prefix = format!("{name}.");
        latest(&mut self.cached, count(details, "cached_tokens", &prefix)?);
        for name in ["cache_write_tokens", "cache_creation_tokens"] {
            latest(&mut self.written, count(details, name, &prefix)?);
        }
        if let Some(split) = present(details, "cache_write_tokens_details") {
            let path = format!("{prefix}cache_write_tokens_details");
            let split = object(split, &path)?;
            latest(&mut self.written_30m, count(split, "ttl_30m_tokens", &format!("{path}."))?);
            latest(&mut self.written_12h, count(split, "ttl_12h_tokens", &format!("{path}."))?);
        }
        Ok(())
    }

    fn input_sum(&self) -> Option<u64> {
        let by_cache = self.missed.map(|missed| missed.saturating_add(self.cached.unwrap_or(0)));
        self.input.or(by_cache)
    }

    /// The output. Some servers (xAI, Google's compatible endpoint) leave the reasoning out of the
    /// completion, and count it in the total only.
    fn output_sum(&self) -> Option<u64> {
        let by_total = self.total.zip(self.input_sum()).map(|(total, input)| total.saturating_sub(input));
        match (self.output, by_total) {
            (Some(output), Some(by_total)) => Some(output.max(by_total)),
            (output, by_total) => output.or(by_total),
        }
    }

    /// The counts by kind. Cache writes that the split does not explain count at the lifetime that the
    /// request asked for.
    fn counts(&self, input: u64, output: u64, long_writes: bool) -> Counts {
        let cached = self.cached.unwrap_or(0);
        let (mut half, mut twelve) = (self.written_30m.unwrap_or(0), self.written_12h.unwrap_or(0));
        let split = half.saturating_add(twelve);
        let unexplained = self.written.unwrap_or(0).saturating_sub(split);
        let lifetime = if long_writes { &mut twelve } else { &mut half };
        *lifetime = lifetime.saturating_add(unexplained);
        let touched = cached.saturating_add(half).saturating_add(twelve);
        Counts {
            input: input.saturating_sub(touched),
            cache_read: cached,
            cache_write_30m: half,
            cache_write_12h: twelve,
            output,
            ..Counts::default()
        }
    }
}

/// What the response says that it costs: xAI in ticks, OpenRouter in dollars, where a key of the customer's
/// own is charged by the provider behind it as well.
fn billed(usage: &Map<String, Value>) -> Option<Usd> {
    if let Some(ticks) = usage.get("cost_in_usd_ticks").and_then(Value::as_u64) {
        let usd = Usd::from_pico(i128::from(ticks).saturating_mul(TICK_PICO));
        return Some(usd).filter(|usd| *usd > Usd::ZERO);
    }
    let own_key = usage.get("is_byok").and_then(Value::as_bool).unwrap_or(false);
    let upstream = usage.get("cost_details").and_then(|details| details.get("upstream_inference_cost"));
    let upstream = upstream.filter(|_| own_key).and_then(dollars);
    let cost = usage.get("cost").and_then(dollars);
    match (cost, upstream) {
        (Some(cost), Some(upstream)) => Some(cost + upstream),
        (cost, upstream) => cost.or(upstream),
    }
}

/// Whether a model of OpenAI's reasons: all but those of the fourth generation do.
fn reasons(model: &ModelId) -> bool {
    let name = model.as_str();
    !name.rsplit('/').next().unwrap_or(name).starts_with("gpt-4")
}

/// The tier of that name. `scale` is committed capacity, reported at the list price.
pub(super) fn tier(name: Option<&str>) -> ServiceTier {
    match name {
        None | Some("default" | "auto" | "standard" | "scale" | "on_demand") => ServiceTier::Standard,
        Some("priority" | "fast") => ServiceTier::Priority,
        Some("ultrafast") => ServiceTier::UltraFast,
        Some("flex") => ServiceTier::Flex,
        Some("batch") => ServiceTier::Batch,
        Some(other) => ServiceTier::Other(other.to_owned()),
    }
}
