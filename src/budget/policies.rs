//! Policies of routing: a further attempt, an even pace, a second opinion, how hard a tier thinks.

use serde_json::{Value, json};

use super::error::quoted;
use super::read::{At, Keys, OrOff, Place, Read, Words, mapping, text, word, word_schema, words};
use super::scalar::Tokens;
use super::tree::Node;
use super::{Mistake, Period, TierLimits};
use crate::money::group;
use crate::task::Effort;

/// How a budget may be spent over its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As it comes.
    #[default]
    Free,
    /// No more than each day's share by the end of that day; by the hour, for a budget of a day.
    Even,
}

/// Whether a model helps the classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskModel {
    /// It decides alone.
    #[default]
    Never,
    /// The low tier's model is asked where the classifier is not sure.
    WhenUnsure,
}

/// What becomes of an agent that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Where the next attempt runs.
    pub tier: RetryTier,
    /// How many attempts there are besides the first.
    pub at_most: u32,
}

/// The tier of a further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryTier {
    /// The next dearer one.
    Up,
    /// The same one.
    Same,
}

mapping! {
    /// What becomes of an agent that failed.
    RetryKeys {
        /// The tier of the next attempt: the next dearer one, or the same.
        "tier" => tier: RetryTier,
        /// How many attempts there are besides the first.
        "at_most" => at_most: Attempts,
    }
    required {
        "tier": "add where the next attempt runs: `tier: up`",
    }
    later {}
}

mapping! {
    /// How the classifier is helped.
    ClassifyKeys {
        /// Whether the low tier's model gives a second opinion, at the run's own cost.
        "ask_model" => ask_model: AskModel,
    }
    required {
        "ask_model": "add `ask_model: when_unsure`, or remove the key",
    }
    later {}
}

words! { RetryTier, "tier of a second attempt" { "up" => RetryTier::Up, "same" => RetryTier::Same, } later {} }

words! {
    AskModel, "time to ask a model" { "never" => AskModel::Never, "when_unsure" => AskModel::WhenUnsure, }
    later {}
}

words! { Pace, "pace" { "free" => Pace::Free, "even" => Pace::Even, } later {} }

words! {
    Effort, "effort" {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
    }
    later {}
}

/// The most attempts besides the first: there are three tiers.
const RETRIES_MAX: u32 = 2;

/// How many attempts there are besides the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempts(u32);

impl Read for Attempts {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let written = text(node, place, mistakes)?;
        match written.parse::<u32>() {
            Ok(count @ 1..=RETRIES_MAX) => return Some(Self(count)),
            Ok(0) => mistakes.push(place.mistake(
                "no further attempt is what holds without the key",
                "remove `retry`, or write `at_most: 1`",
            )),
            Ok(count) => mistakes.push(place.mistake(
                format!("{count} further attempts are more than the {RETRIES_MAX} that are allowed"),
                format!("write `{RETRIES_MAX}` or less: each of them costs as much as a run"),
            )),
            Err(_) => mistakes.push(
                place.mistake(format!("{} is no count of attempts", quoted(written)), "write `at_most: 1`"),
            ),
        }
        None
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": RETRIES_MAX })
    }
}

/// The policy of further attempts.
pub(super) fn retry(keys: RetryKeys) -> Option<Retry> {
    Some(Retry { tier: keys.tier?.value, at_most: keys.at_most.map_or(1, |at| at.value.0) })
}

/// A pace is kept over a span that ends.
pub(super) fn pace(pace: Option<At<Pace>>, per: Period, mistakes: &mut Vec<Mistake>) -> Pace {
    let Some(pace) = pace else { return Pace::Free };
    if pace.value == Pace::Even && per == Period::Total {
        mistakes.push(pace.place.mistake(
            "a total never ends, so it cannot be spent evenly",
            "write `per: month`, `week` or `day`, or remove the pace",
        ));
    }
    pace.value
}

/// How hard a tier's model thinks.
pub(super) fn thinking(
    limits: &mut TierLimits,
    effort: Option<At<Effort>>,
    thinking: Option<At<OrOff<Tokens>>>,
    mistakes: &mut Vec<Mistake>,
) {
    if let Some(effort) = effort {
        limits.effort = Some(effort.value);
    }
    let Some(thinking) = thinking else { return };
    let tokens = match thinking.value {
        OrOff::Off => 0,
        OrOff::Is(tokens) => tokens.0,
    };
    limits.thinking = Some(tokens);
    let most = limits.max_tokens.unwrap_or(u64::MAX);
    if tokens > most {
        mistakes.push(thinking.place.mistake(
            format!(
                "thinking of {} tokens is more than the {} that a run of this tier may use",
                group(tokens.into()),
                group(most.into())
            ),
            "write less, or raise `max_tokens`; what a model thinks is billed as output",
        ));
    }
}
