//! Tokens: what a response used, and the most that a request could use.
//!
//! These two values keep the wire and the money apart. `provider` makes them from bytes, `price` turns
//! either into [`Usd`](crate::money::Usd), and neither knows the other.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::model::ModelId;

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
    /// Everything generated, thinking included.
    pub output: u64,
}

impl Counts {
    /// All of the input side: what a long-context band is judged by.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Tokens written to a cache of either lifetime.
    #[must_use]
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }

    /// New tokens: all but cache reads, which cost a tenth or less. A tier's `max_tokens` counts these.
    #[must_use]
    pub fn fresh(&self) -> u64 {
        self.input.saturating_add(self.cache_write()).saturating_add(self.output)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write_5m = self.cache_write_5m.saturating_add(other.cache_write_5m);
        self.cache_write_1h = self.cache_write_1h.saturating_add(other.cache_write_1h);
        self.output = self.output.saturating_add(other.output);
    }
}

/// The service tier that a response was served at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceTier {
    /// The list price.
    #[default]
    Standard,
    /// Committed capacity: its price is in a contract, the list price is reported.
    Priority,
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
}

/// Everything that one response used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// One line a sampling. Long-context bands are judged by line, never on the sum.
    pub lines: Vec<UsageLine>,
    /// Web searches that the provider ran and charges for one by one.
    pub web_searches: u64,
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
}

impl Ceiling {
    /// New tokens at most: what the request can take from a tier's `max_tokens`.
    #[must_use]
    pub fn fresh(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| {
            let one = line.input.saturating_add(line.output);
            sum.saturating_add(one.saturating_mul(line.samplings))
        })
    }
}
