//! Route: which tier, which model and which caps serve a task, given what the budgets have left.
//!
//! Pure. By stakes first; when money is short, by what is left and by what a cheaper tier would save.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::budget::{Budget, LowBudget, Mode, Retry, RetryTier};
use crate::classify::Class;
use crate::ledger::{Balance, Enforce};
use crate::limits;
use crate::model::ModelId;
use crate::money::Usd;
use crate::price::{Table, When};
use crate::task::{Effort, Tier};
use crate::tokens::Counts;

/// How long an observed run may take: as long as a job may on GitHub's own runners, which is to say that
/// tollgate does not end it.
const OBSERVED_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// What an agent's run is made of, roughly: a context that is read again in every turn, what is added to it,
/// what is written. Tiers are compared by what these tokens cost.
const RUN: Counts = Counts {
    input: 0,
    cache_read: 1_000_000,
    cache_write_5m: 100_000,
    cache_write_1h: 0,
    cache_write_30m: 0,
    cache_write_12h: 0,
    audio_input: 0,
    audio_cache_read: 0,
    output: 20_000,
};

/// Where a run goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The tier it runs at.
    pub tier: Tier,
    /// The tier its stakes ask for.
    pub asked: Tier,
    /// The tier's model.
    pub model: ModelId,
    /// The tier's cap. The ledger cuts it to what the hard budgets have left, and records the cut.
    pub cap: Usd,
    /// The most new tokens it may use.
    pub fresh_tokens: Option<u64>,
    /// The longest it may take.
    pub timeout: Duration,
    /// How hard the model is to think; `None` leaves it to the agent.
    pub effort: Option<Effort>,
    /// Tokens that it may think for, 0 for none; `None` leaves it to the agent.
    pub thinking: Option<u64>,
    /// Why, in words.
    pub reason: String,
}

impl Route {
    /// The same, with what was spent on it already taken off its cap.
    #[must_use]
    pub fn less(self, spent: Usd) -> Self {
        Self { cap: self.cap.minus_or_zero(spent), ..self }
    }
}

/// The router's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// Run it so.
    Run(Route),
    /// Do not start it: this budget has too little left.
    Refused {
        /// The budget with the least left.
        by: Balance,
        /// The least a run is started with.
        least: Usd,
    },
}

/// Routes a class of work.
///
/// A hard budget cuts: what it has left will bound the cap, and so chooses the tier. A soft one that is spent refuses. One that only
/// counts changes nothing. With `low_budget: downgrade` the dearest tier whose cap still fits is taken;
/// when none fits, the cheapest tier runs with its cap cut. A tier that would not save what the budget file
/// asks for, at the prices of the day of the price table, is passed over: less work for the same money helps
/// nobody.
#[must_use]
pub fn route(class: &Class, budget: &Budget, table: &Table, balances: &[Balance]) -> Routed {
    let asked = budget.tasks.tier(class.task, class.stakes);
    let least = least(budget, budget.tiers.get(asked).max_usd);
    let because = format!("{} at {} stakes runs at the {asked} tier", class.task, class.stakes);
    if budget.mode == Mode::Observe {
        let run = at(budget, asked, asked, because);
        return Routed::Run(Route { timeout: OBSERVED_MAX, ..run });
    }
    let spent_soft = balances.iter().find(|b| b.limit.enforce == Enforce::Soft && b.settled >= b.limit.usd);
    if let Some(by) = spent_soft {
        return Routed::Refused { by: by.clone(), least };
    }
    let hard = balances.iter().filter(|b| b.limit.enforce == Enforce::Hard);
    let Some(tightest) = hard.min_by_key(|b| b.left()) else {
        return Routed::Run(at(budget, asked, asked, because));
    };
    let left = tightest.left();
    // A hold that grows needs room for its first part only.
    let needs = |cap: Usd| if budget.grows() { budget.first_part(cap) } else { cap };
    let fits = |tier: Tier| needs(budget.tiers.get(tier).max_usd) <= left;
    if fits(asked) {
        return Routed::Run(at(budget, asked, asked, because));
    }
    let refused = Routed::Refused { by: tightest.clone(), least };
    if left < least || left <= Usd::ZERO {
        return refused;
    }
    let short = format!("{because}, whose cap is {}", budget.tiers.get(asked).max_usd.shown());
    let left_text = format!("only {} is left of the {}", left.shown(), limits::name(&tightest.limit));
    match budget.on.low_budget {
        LowBudget::Refuse => refused,
        LowBudget::Cut => {
            let reason = format!("{short}; {left_text}, so the cap is cut to that");
            Routed::Run(at(budget, asked, asked, reason))
        }
        LowBudget::Downgrade => {
            let Some((tier, saves)) = downgrade(budget, table, asked, fits) else {
                let reason = format!(
                    "{short}; {left_text}, and no cheaper tier saves enough, so the cap is cut to that"
                );
                return Routed::Run(at(budget, asked, asked, reason));
            };
            let cut = if fits(tier) { "" } else { " with its cap cut to that" };
            let saves = match saves {
                Some(percent) => format!(", where the same tokens cost {percent} % less"),
                None => String::new(),
            };
            let reason = format!("{short}; {left_text}, so it runs at the {tier} tier{cut}{saves}");
            Routed::Run(at(budget, tier, asked, reason))
        }
    }
}

/// The least that a run with this cap is started with: all of it where less is refused.
#[must_use]
pub fn least(budget: &Budget, cap: Usd) -> Usd {
    match budget.on.low_budget {
        LowBudget::Refuse => cap,
        LowBudget::Cut | LowBudget::Downgrade => budget.on.min_run_usd,
    }
}

/// The dearest tier below `asked` that fits and saves enough, or the cheapest that saves enough where none
/// fits, with the percent that it saves where that is known; `None` where no cheaper tier saves enough.
fn downgrade(
    budget: &Budget,
    table: &Table,
    asked: Tier,
    fits: impl Fn(Tier) -> bool,
) -> Option<(Tier, Option<i128>)> {
    let mut found = None;
    let mut tier = asked;
    while let Some(cheaper) = tier.cheaper() {
        tier = cheaper;
        let saves = saving(budget, table, asked, tier);
        let enough = match (saves, budget.on.downgrade_saves) {
            (Some(saves), Some(least)) => saves >= i128::from(least),
            // Nothing is asked for, or nothing is known.
            _ => true,
        };
        if !enough {
            continue;
        }
        found = Some((tier, saves));
        if fits(tier) {
            break;
        }
    }
    found
}

/// How many percent less the same tokens cost at another tier; negative where they cost more, `None` where a
/// model has no price.
fn saving(budget: &Budget, table: &Table, from: Tier, to: Tier) -> Option<i128> {
    let cost = |tier| table.list_cost(&budget.tiers.get(tier).model, &RUN, When::On(table.as_of())).ok();
    let (from, to) = (cost(from)?, cost(to)?);
    (from > Usd::ZERO).then(|| (from.pico() - to.pico()) * 100 / from.pico())
}

/// Where a run that failed is tried again, if it is: the next dearer tier, or the same one. The budgets decide
/// as they did before.
#[must_use]
pub fn again(failed: &Route, retry: Retry, budget: &Budget, balances: &[Balance]) -> Option<Routed> {
    let tier = match retry.tier {
        RetryTier::Up => failed.tier.dearer()?,
        RetryTier::Same => failed.tier,
    };
    let because =
        format!("an attempt at the {} tier failed, so it is tried again at the {tier} tier", failed.tier);
    let least = budget.on.min_run_usd;
    let spent = balances.iter().find(|b| b.limit.enforce == Enforce::Soft && b.settled >= b.limit.usd);
    let hard = balances.iter().filter(|b| b.limit.enforce == Enforce::Hard).min_by_key(|b| b.left());
    let short = spent.or(hard.filter(|b| b.left() < least || b.left() <= Usd::ZERO));
    Some(match short {
        Some(by) if budget.mode == Mode::Enforce => Routed::Refused { by: by.clone(), least },
        _ => Routed::Run(Route {
            timeout: failed.timeout.max(budget.tiers.get(tier).timeout),
            ..at(budget, tier, tier, because)
        }),
    })
}

fn at(budget: &Budget, tier: Tier, asked: Tier, reason: String) -> Route {
    let limits = budget.tiers.get(tier);
    Route {
        tier,
        asked,
        model: limits.model.clone(),
        cap: limits.max_usd,
        fresh_tokens: limits.max_tokens,
        timeout: limits.timeout,
        effort: limits.effort,
        thinking: limits.thinking,
        reason,
    }
}

#[cfg(test)]
mod tests;
