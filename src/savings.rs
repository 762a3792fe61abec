//! What routing and caching saved, computed from what was used, with the counterfactual named.
//!
//! Both compare list prices with list prices: fees, contracts and long-context bands are on neither
//! side. `report` puts the result into words.

use crate::budget::Tiers;
use crate::model::ModelId;
use crate::money::Usd;
use crate::price::{Table, When};
use crate::task::Tier;
use crate::tokens::Counts;

/// What a run would have cost otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// The high tier's model, and what the same tokens would have cost more there; `None` where the run
    /// was there, or would have cost no more.
    pub routing: Option<(ModelId, Usd)>,
    /// What the same prompts would have cost more without a cache. Negative where writing to the cache
    /// cost more than reading from it saved.
    pub caching: Usd,
}

/// Computes the savings of a run from the tokens each model used.
///
/// Routing: what the routed model served, at the high tier's model instead, which is assumed to have
/// used the same tokens. Side calls an agent makes at another model count nothing, because it would have
/// made them there too. Caching: all of the input as plain input instead. Models without a price count
/// nothing.
#[must_use]
pub fn savings<'a>(
    used: impl Iterator<Item = (&'a ModelId, &'a Counts)> + Clone,
    tiers: &Tiers,
    routed: Tier,
    table: &Table,
    when: When,
) -> Savings {
    against(used, &tiers.get(routed).model, &tiers.high.model, table, when)
}

/// As [`savings`], of a run that was routed to the model `routed`, against `high`.
#[must_use]
pub fn against<'a>(
    used: impl Iterator<Item = (&'a ModelId, &'a Counts)> + Clone,
    routed: &ModelId,
    high: &ModelId,
    table: &Table,
    when: When,
) -> Savings {
    let cost = |model: &ModelId, counts: &Counts| table.list_cost(model, counts, when).ok();
    let caching = used.clone().filter_map(|(model, counts)| {
        let uncached = Counts { input: counts.prompt(), output: counts.output, ..Counts::default() };
        Some(cost(model, &uncached)? - cost(model, counts)?)
    });
    let of = |id: &ModelId| table.find(id).map(|model| &model.id);
    let routed_id = of(routed);
    let routing: Usd = used
        .filter(|(model, _)| of(model) == routed_id)
        .filter_map(|(model, counts)| Some(cost(high, counts)? - cost(model, counts)?))
        .sum();
    Savings { routing: (routing > Usd::ZERO).then(|| (high.clone(), routing)), caching: caching.sum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    const DAY: When = When::On(jiff::civil::date(2026, 11, 20));

    fn of(used: &[(&str, Counts)], routed: Tier) -> Savings {
        let used: Vec<(ModelId, Counts)> =
            used.iter().map(|(model, counts)| (ModelId::new(model), *counts)).collect();
        let pairs = used.iter().map(|(model, counts)| (model, counts));
        savings(pairs, &Budget::builtin().tiers, routed, Table::embedded(), DAY)
    }

    fn counts(input: u64, cache_read: u64, cache_write_5m: u64, output: u64) -> Counts {
        Counts { input, cache_read, cache_write_5m, cache_write_1h: 0, output, ..Counts::default() }
    }

    fn list(model: &str, counts: &Counts) -> Usd {
        Table::embedded().list_cost(&ModelId::new(model), counts, DAY).expect("a price")
    }

    #[test]
    fn routing_is_the_same_tokens_at_the_high_tier() {
        let used = counts(1_000_000, 0, 0, 100_000);
        let saved = of(&[("claude-sonnet-5-5", used)], Tier::Medium);
        let expected = list("claude-opus-5-5", &used) - list("claude-sonnet-5-5", &used);
        assert!(expected > Usd::ZERO);
        assert_eq!(saved.routing, Some((ModelId::new("claude-opus-5-5"), expected)));
        assert_eq!(saved.caching, Usd::ZERO);
    }

    #[test]
    fn the_high_tier_and_side_calls_save_nothing_by_routing() {
        let used = counts(1_000_000, 0, 0, 100_000);
        assert_eq!(of(&[("claude-opus-5-5", used)], Tier::High).routing, None);
        assert_eq!(of(&[("claude-haiku-5-5", used)], Tier::Medium).routing, None);
        assert_eq!(of(&[("no-such-model", used)], Tier::Medium), Savings::default());
    }

    #[test]
    fn caching_is_reads_less_what_writing_cost() {
        let read = of(&[("claude-sonnet-5-5", counts(0, 1_000_000, 0, 0))], Tier::Medium).caching;
        let written = of(&[("claude-sonnet-5-5", counts(0, 0, 1_000_000, 0))], Tier::Medium).caching;
        let both = of(&[("claude-sonnet-5-5", counts(0, 1_000_000, 1_000_000, 0))], Tier::Medium).caching;
        assert!(read > Usd::ZERO);
        assert!(written < Usd::ZERO);
        assert_eq!(both, read + written);
    }
}
