//! Route: which tier, which model and which caps serve a task, given what the budgets have left.
//!
//! Pure. By stakes first; when money is short, by what is left.

use std::time::Duration;

use crate::budget::{Budget, LowBudget, Mode};
use crate::classify::Class;
use crate::ledger::{Balance, Enforce};
use crate::limits;
use crate::model::ModelId;
use crate::money::Usd;
use crate::task::Tier;

/// How long an observed run may take: as long as a job may on GitHub's own runners, which is to say that
/// tollgate does not end it.
const OBSERVED_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// Where a run goes.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Why, in words.
    pub reason: String,
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
/// when none fits, the cheapest tier runs with its cap cut.
#[must_use]
pub fn route(class: &Class, budget: &Budget, balances: &[Balance]) -> Routed {
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
    let fits = |tier: Tier| budget.tiers.get(tier).max_usd <= left;
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
            let tier = downgrade(asked, fits);
            let cut = if fits(tier) { "" } else { " with its cap cut to that" };
            let reason = format!("{short}; {left_text}, so it runs at the {tier} tier{cut}");
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

/// The dearest tier below `asked` that fits, or the cheapest where none does.
fn downgrade(asked: Tier, fits: impl Fn(Tier) -> bool) -> Tier {
    let mut tier = asked;
    while let Some(cheaper) = tier.cheaper() {
        tier = cheaper;
        if fits(tier) {
            break;
        }
    }
    tier
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
        reason,
    }
}
