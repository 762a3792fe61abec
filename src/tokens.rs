//! Tokens: what a response used, and the most that a request could use.
//!
//! These two values keep the wire and the money apart. `provider` makes them from bytes, `price` turns
//! either into [`Usd`](crate::money::Usd), and neither knows the other.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::model::ModelId;
use crate::money::Usd;

/// Token counts by kind. The kinds do not overlap: `input` excludes everything that touched the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Input that was neither read from nor written to a cache.
    pub input: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache that lives five minutes.
    pub cache_write_5m: u64,
    /// Input written to a cache that lives one hour.
    pub cache_write_1h: u64,
    /// Input written to a cache that lives thirty minutes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_30m: u64,
    /// Input written to a cache that lives twelve hours.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_12h: u64,
    /// Spoken input that was neither read from nor written to a cache, where it is counted apart.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio_input: u64,
    /// Spoken input read from a cache, where it is counted apart.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio_cache_read: u64,
    /// Everything generated, thinking included.
    pub output: u64,
}

/// Kinds that few providers have are left out of what is written, and are none where they are missing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Counts {
    /// All of the input side: what a long-context band is judged by.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.fresh_input().saturating_add(self.reads())
    }

    /// Tokens written to a cache of any lifetime.
    #[must_use]
    pub fn cache_write(&self) -> u64 {
        let long = self.cache_write_1h.saturating_add(self.cache_write_12h);
        self.cache_write_5m.saturating_add(self.cache_write_30m).saturating_add(long)
    }

    /// Tokens read from a cache, written or spoken.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.cache_read.saturating_add(self.audio_cache_read)
    }

    /// The input side without cache reads.
    fn fresh_input(&self) -> u64 {
        self.input.saturating_add(self.audio_input).saturating_add(self.cache_write())
    }

    /// New tokens: all but cache reads, which cost a tenth or less. A tier's `max_tokens` counts these.
    #[must_use]
    pub fn fresh(&self) -> u64 {
        self.fresh_input().saturating_add(self.output)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.input, other.input);
        add(&mut self.cache_read, other.cache_read);
        add(&mut self.cache_write_5m, other.cache_write_5m);
        add(&mut self.cache_write_1h, other.cache_write_1h);
        add(&mut self.cache_write_30m, other.cache_write_30m);
        add(&mut self.cache_write_12h, other.cache_write_12h);
        add(&mut self.audio_input, other.audio_input);
        add(&mut self.audio_cache_read, other.audio_cache_read);
        add(&mut self.output, other.output);
    }
}

/// The service tier that a response was served at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceTier {
    /// The list price.
    #[default]
    Standard,
    /// Ahead of others. Dearer with OpenAI and Google; with Anthropic committed capacity, whose price is in
    /// a contract and is reported at the list price.
    Priority,
    /// Far ahead of others, for a multiple of the price.
    UltraFast,
    /// When there is room, at a discount.
    Flex,
    /// Asynchronous, at a discount.
    Batch,
    /// A tier that this version does not know; it has no price.
    Other(String),
}

/// The speed that a response was served at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Speed {
    /// The usual one.
    #[default]
    Standard,
    /// Faster, for a multiple of the price.
    Fast,
    /// A speed that this version does not know; it has no price.
    Other(String),
}

/// Where the model ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Region {
    /// Anywhere, or not said.
    #[default]
    Global,
    /// Kept inside the United States, for a surcharge.
    Us,
    /// Kept inside a region by the endpoint that was asked, for a surcharge.
    Regional,
    /// The United States government's own region.
    UsGov,
    /// A region that this version does not know; it has no price.
    Other(String),
}

/// The terms of service that change a price.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The service tier.
    pub tier: ServiceTier,
    /// The speed.
    pub speed: Speed,
    /// Where the model ran.
    pub region: Region,
}

/// What one sampling of one model used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageLine {
    /// The model that served it, which need not be the one that was asked for.
    pub model: ModelId,
    /// Its tokens.
    pub counts: Counts,
    /// The terms it was served at.
    pub terms: Terms,
    /// Of the input, what came from tools that the provider ran and does not count as the prompt that a
    /// long-context band is judged by.
    pub beside_prompt: u64,
}

/// What a provider runs and charges for one by one, besides web searches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Searches in stored files.
    pub file_searches: u64,
    /// Web searches of an older kind, with their content for free.
    pub preview_searches: u64,
    /// Sessions of a container of the smallest size, which is the one when none is named.
    pub containers: u64,
}

/// Everything that one response used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// One line a sampling. Long-context bands are judged by line, never on the sum.
    pub lines: Vec<UsageLine>,
    /// Web searches that the provider ran and charges for one by one.
    pub web_searches: u64,
    /// Further things that the provider ran and charges for one by one.
    pub calls: Calls,
    /// What the provider says that it charges, for all of it. It then counts instead of any price.
    pub billed: Option<Usd>,
    /// A refusal before any output: shown as usage, and not billed.
    pub unbilled: bool,
}

impl Usage {
    /// The sum of all lines.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for line in &self.lines {
            sum += line.counts;
        }
        sum
    }
}

/// The dearest thing a request may do to a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheWrites {
    /// It writes to none.
    #[default]
    None,
    /// It may write to one that lives five minutes.
    FiveMinutes,
    /// It may write to one that lives one hour.
    OneHour,
    /// It may write to one that lives thirty minutes.
    ThirtyMinutes,
    /// It may write to one that lives twelve hours.
    TwelveHours,
}

/// The most that one model could use for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeilingLine {
    /// The model.
    pub model: ModelId,
    /// Input tokens of each sampling at most.
    pub input: u64,
    /// Output tokens of each sampling at most.
    pub output: u64,
    /// How many samplings the request may cause at most; each reads the whole input again.
    pub samplings: u64,
    /// How many answers each sampling gives at most; they share its input.
    pub choices: u64,
    /// The input may be spoken, which some models take at a higher price.
    pub audio: bool,
    /// What the request may write to a cache.
    pub cache_writes: CacheWrites,
    /// The dearest terms that the request allows.
    pub terms: Terms,
    /// The request names no region, and where it is served by default is not known: the dearest counts.
    pub region_open: bool,
}

/// The most that a request could use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// One line a model. The first is the model that was asked for, whose output cap can be lowered.
    pub lines: Vec<CeilingLine>,
    /// Web searches at most.
    pub web_searches: u64,
    /// Further calls at most.
    pub calls: Calls,
}

impl Ceiling {
    /// New tokens at most: what the request can take from a tier's `max_tokens`.
    #[must_use]
    pub fn fresh(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| {
            let one = line.input.saturating_add(line.output.saturating_mul(line.choices));
            sum.saturating_add(one.saturating_mul(line.samplings))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_were_written_before_a_kind_was_known_still_read() {
        let old = r#"{"input":1,"cache_read":2,"cache_write_5m":3,"cache_write_1h":4,"output":5}"#;
        let counts: Counts = serde_json::from_str(old).expect("counts");
        assert_eq!((counts.prompt(), counts.fresh(), counts.cache_write()), (10, 13, 7));
        assert_eq!(serde_json::to_string(&counts).expect("JSON"), old, "an old reader reads what is new");
        let all = Counts {
            input: 1,
            cache_read: 2,
            cache_write_5m: 4,
            cache_write_1h: 8,
            cache_write_30m: 16,
            cache_write_12h: 32,
            audio_input: 64,
            audio_cache_read: 128,
            output: 256,
        };
        let text = serde_json::to_string(&all).expect("JSON");
        assert_eq!(serde_json::from_str::<Counts>(&text).expect("counts"), all);
        let mut twice = all;
        twice += all;
        assert_eq!((twice.prompt(), twice.fresh(), twice.reads()), (510, 762, 260));
    }
}
