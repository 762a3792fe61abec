//! What routing and caching saved, computed from what was used, with the counterfactual named.

use crate::budget::Tiers;
use crate::model::ModelId;
use crate::money::Usd;
use crate::price::{Table, When};
use crate::task::Tier;
use crate::tokens::Counts;

/// What a run would have cost otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// What the same tokens cost less than at the high tier's model; `None` where the run was there.
    pub routing: Option<(ModelId, Usd)>,
    /// What the tokens read from a cache cost less than as plain input.
    pub caching: Usd,
}

/// Computes the savings of a run from the tokens each model used.
///
/// Routing: the same tokens at the high tier's model, at list price, less what they cost at list price
/// where they were served. That the dearer model would have used the same tokens is an assumption.
/// Models without a price count nothing.
#[must_use]
pub fn savings<'a>(
    used: impl Iterator<Item = (&'a ModelId, &'a Counts)> + Clone,
    tiers: &Tiers,
    routed: Tier,
    table: &Table,
    when: When,
) -> Savings {
    let caching =
        used.clone().filter_map(|(model, counts)| table.cache_read_saving(model, counts, when).ok()).sum();
    let high = &tiers.high.model;
    let routing = (routed != Tier::High).then(|| {
        let saved: Usd = used
            .filter_map(|(model, counts)| {
                let paid = table.list_cost(model, counts, when).ok()?;
                let otherwise = table.list_cost(high, counts, when).ok()?;
                Some(otherwise - paid)
            })
            .sum();
        (high.clone(), saved)
    });
    Savings { routing: routing.filter(|(_, saved)| *saved > Usd::ZERO), caching }
}
