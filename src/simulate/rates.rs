//! What the simulated provider charges: today's list prices of the models that are served today.
//!
//! Written apart from `price` on purpose; a test holds both tables against each other.

use crate::money::Usd;
use crate::tokens::Counts;

/// Pico-dollars per token of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRates {
    /// Uncached input.
    pub input: i128,
    /// Output.
    pub output: i128,
    /// Cache reads.
    pub read: i128,
}

/// The models, with dollars per million tokens of input and output times 10, and the divisor of the
/// input price that cache reads cost.
const MODELS: [(&str, i128, i128, i128); 13] = [
    ("claude-fable-5-2", 80, 400, 40),
    ("claude-fable-5-1", 100, 500, 40),
    ("claude-fable-5", 100, 500, 10),
    ("claude-opus-5-5", 40, 200, 20),
    ("claude-opus-5", 50, 250, 10),
    ("claude-opus-4-8", 50, 250, 10),
    ("claude-opus-4-7", 50, 250, 10),
    ("claude-opus-4-6", 50, 250, 10),
    ("claude-sonnet-5-5", 20, 100, 20),
    ("claude-sonnet-5", 20, 100, 10),
    ("claude-sonnet-4-6", 30, 150, 10),
    ("claude-haiku-5-5", 1, 5, 10),
    ("claude-haiku-4-5", 10, 50, 10),
];

/// The ids of the models that are served.
pub const LIVE_MODELS: [&str; MODELS.len()] = {
    let mut ids = [""; MODELS.len()];
    let mut index = 0;
    while index < ids.len() {
        ids[index] = MODELS[index].0;
        index += 1;
    }
    ids
};

/// The only long band there is today: the model, the prompt above which it begins, and its factor.
const LONG_BAND: (&str, u64, i128) = ("claude-haiku-5-5", 100_000, 5);
/// One web search, in pico-dollars.
const WEB_SEARCH: i128 = 10_000_000_000;

/// The models that have a fast mode.
const FAST: [&str; 4] = ["claude-fable-5-2", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8"];
/// Takes the wish for speed, and serves at its usual one.
const NEVER_FAST: &str = "claude-opus-4-6";
/// Cannot be kept to a region.
const NO_REGION: &str = "claude-haiku-4-5";

/// The speed at which a model serves a request that wants to be fast, or why it refuses.
pub(super) fn served_speed(model: &str) -> Result<&'static str, String> {
    match listed(model) {
        Some(NEVER_FAST) => Ok("standard"),
        Some(id) if FAST.contains(&id) => Ok("fast"),
        _ => Err(format!("speed: fast mode is not available for {model}")),
    }
}

/// Why a model refuses to be kept to the US, if it does.
pub(super) fn region_refusal(model: &str) -> Option<String> {
    let refuses = listed(model) == Some(NO_REGION);
    refuses.then(|| format!("inference_geo: not available for {model}"))
}

/// The id under which a model is listed, for an id that may end in a snapshot's date.
pub(super) fn listed(model: &str) -> Option<&'static str> {
    let undated = match model.rsplit_once('-') {
        Some((stem, date)) if date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => model,
    };
    LIVE_MODELS.into_iter().find(|id| *id == undated)
}

/// The rates of a model for a prompt of this length, on standard terms.
#[must_use]
pub fn live_rates(model: &str, prompt: u64) -> Option<LiveRates> {
    let id = listed(model)?;
    let (_, input, output, read) = MODELS.into_iter().find(|(name, ..)| *name == id)?;
    let band = if id == LONG_BAND.0 && prompt > LONG_BAND.1 { LONG_BAND.2 } else { 1 };
    let tenth = 100_000 * band;
    Some(LiveRates { input: input * tenth, output: output * tenth, read: input * tenth / read })
}

/// What is charged for one sampling; `fast` and `us` are the terms it was served at.
pub(super) fn charge(model: &str, counts: &Counts, fast: bool, us: bool) -> Option<Usd> {
    let rates = live_rates(model, counts.prompt())?;
    let mut pico = i128::from(counts.input) * rates.input
        + i128::from(counts.cache_read) * rates.read
        + i128::from(counts.cache_write_5m) * (rates.input + rates.input / 4)
        + i128::from(counts.cache_write_1h) * rates.input * 2
        + i128::from(counts.output) * rates.output;
    if fast {
        pico *= 2;
    }
    if us {
        pico = pico / 10 * 11;
    }
    Some(Usd::from_pico(pico))
}

/// What is charged for web searches.
pub(super) fn charge_searches(searches: u64) -> Usd {
    Usd::from_pico(WEB_SEARCH * i128::from(searches))
}
