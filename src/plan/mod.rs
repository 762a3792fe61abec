//! The plan: what described work will need before any of it is started.
//!
//! Pure. [`words`] judges a description, [`history`] says what runs like it used, [`shape`] what one would
//! use where there are none; here that becomes tokens, dollars, and room in the budgets.

pub mod history;
pub mod shape;
#[cfg(test)]
mod tests;
pub mod words;

use jiff::Timestamp;

use crate::budget::Budget;
use crate::ledger::{Balance, Enforce};
use crate::limits;
use crate::model::ModelId;
use crate::money::Usd;
use crate::price::{Table, When};
use crate::task::Tier;
use crate::tokens::{Counts, Terms};

use history::{History, PerDay, Percentiles};
use shape::Shape;
use words::Judged;

/// Runs at once that are planned for at most.
pub const PARALLEL_MAX: u32 = 1_000;
/// What a token budget adds to an estimate, in percent.
const ESTIMATE_MARGIN: u64 = 50;
/// What a token budget adds to the ninetieth percentile, in percent.
const HISTORY_MARGIN: u64 = 25;
/// Token budgets are rounded up to this.
const TOKENS_STEP: u64 = 10_000;
/// Days of a month, for a projection.
const MONTH_DAYS: u64 = 30;

/// What described work will need.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each description.
    pub items: Vec<Item>,
    /// How many runs of each start at once.
    pub parallel: u32,
    /// What the tiers' models cost, cheapest first.
    pub tiers: Vec<TierPrice>,
    /// Budgets that are not looked at, each with the reason.
    pub skipped: Vec<String>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// One description.
#[derive(Clone, Debug)]
pub struct Item {
    /// The words.
    pub description: String,
    /// What they were judged to be.
    pub judged: Judged,
    /// The tier that serves that.
    pub tier: Tier,
    /// Its model.
    pub model: ModelId,
    /// The most one run may spend.
    pub cap: Usd,
    /// The most new tokens that one run may use.
    pub max_tokens: Option<u64>,
    /// How its tokens were reached.
    pub basis: Basis,
    /// New tokens to plan a run with.
    pub token_budget: u64,
    /// What a run is expected to cost.
    pub expected: Usd,
    /// The estimate is above the cap, so a run of that size would be stopped at it.
    pub stopped: bool,
    /// The budgets' room for all runs at once.
    pub rooms: Vec<Room>,
    /// How often it is run, and where that is from.
    pub per_day: (PerDay, RateFrom),
}

/// How the tokens of a run were reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// From runs of that task at that tier.
    History(Percentiles),
    /// From first principles, because there are only so many of them.
    Estimate {
        /// How many runs there are.
        runs: usize,
        /// What was assumed.
        shape: Shape,
        /// What that comes to.
        counts: Counts,
    },
}

/// Where the number of runs a day is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateFrom {
    /// It was given.
    Given,
    /// The ledger's last days.
    History,
    /// Nothing: one a day.
    Assumed,
}

/// A budget, and whether it has room for so many runs at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The budget's name.
    pub name: String,
    /// What happens at its limit.
    pub enforce: Enforce,
    /// The runs that count towards it: each pull request is taken to have one.
    pub runs: u32,
    /// Their caps together.
    pub wanted: Usd,
    /// What is left.
    pub left: Usd,
    /// Whether what is left is what the ledger says, rather than an unspent budget.
    pub known: bool,
    /// How many can start with their whole cap.
    pub start: u32,
}

/// What a tier's model costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierPrice {
    /// The tier.
    pub tier: Tier,
    /// Its model.
    pub model: ModelId,
    /// A million tokens of input; `None` where the model has no price.
    pub input: Option<Usd>,
    /// A million tokens of output.
    pub output: Option<Usd>,
    /// One medium implementation run, by the estimate.
    pub same_work: Option<Usd>,
}

/// What a plan is made from, besides the descriptions.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The budget file.
    pub budget: &'a Budget,
    /// The prices.
    pub table: &'a Table,
    /// The past.
    pub history: &'a History,
    /// Every budget as the ledger knows it, by purse and period.
    pub balances: &'a [Balance],
    /// Now.
    pub now: Timestamp,
    /// How many runs of each start at once.
    pub parallel: u32,
    /// Runs of each a day, where they are given.
    pub runs_per_day: Option<u32>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The tier's model has no price, and nothing costs nothing because it is unknown.
    #[error("the {tier} tier's model `{model}` has no price, so a run of it cannot be planned")]
    Unpriced {
        /// The tier.
        tier: Tier,
        /// Its model.
        model: ModelId,
    },
}

/// Plans described work.
///
/// # Errors
/// When a model that it needs has no price, and no history says what its runs cost.
pub fn plan(descriptions: &[String], setting: &Setting<'_>) -> Result<Plan, PlanError> {
    let items: Result<Vec<Item>, PlanError> =
        descriptions.iter().map(|description| item(description, setting)).collect();
    let Setting { budget, table, now, .. } = setting;
    let same = Shape::of(crate::task::Task::Implementation, crate::task::Stakes::Medium);
    let price = |tier: Tier| {
        let model = &budget.tiers.get(tier).model;
        let rates = table.find(model).and_then(|m| m.rates(When::Around(*now), &Terms::default(), 0).ok());
        TierPrice {
            tier,
            model: model.clone(),
            input: rates.map(|rates| rates.input * 1_000_000),
            output: rates.map(|rates| rates.output * 1_000_000),
            same_work: cost(table, model, &same, *now),
        }
    };
    let standing = limits::standing(budget, *now);
    let single = standing.iter().filter_map(|standing| match &standing.purses {
        limits::Purses::One(purse) if purse != "repo" => {
            Some(format!("{}: it counts only some runs", limits::name(&standing.limit)))
        }
        _ => None,
    });
    let mut notes = Vec::new();
    if table.stale(jiff::tz::TimeZone::UTC.to_datetime(*now).date()) {
        notes.push(format!("the price table is of {}: newer prices may hold", table.as_of()));
    }
    Ok(Plan {
        items: items?,
        parallel: setting.parallel,
        tiers: Tier::ALL.into_iter().map(price).collect(),
        skipped: single.collect(),
        notes,
    })
}

fn item(description: &str, setting: &Setting<'_>) -> Result<Item, PlanError> {
    let Setting { budget, table, history, now, .. } = setting;
    let judged = words::judge(description, &budget.rules);
    let tier = budget.tasks.tier(judged.task, judged.stakes);
    let caps = budget.tiers.get(tier);
    let shape = Shape::of(judged.task, judged.stakes);
    let (basis, tokens, whole) = match history.percentiles(judged.task, tier) {
        Some(past) => (Basis::History(past), padded(past.fresh_p90, HISTORY_MARGIN), past.mean),
        None => {
            let unpriced = || PlanError::Unpriced { tier, model: caps.model.clone() };
            let usd = cost(table, &caps.model, &shape, *now).ok_or_else(unpriced)?;
            let counts = shape.counts();
            let runs = history.runs(judged.task, tier);
            (Basis::Estimate { runs, shape, counts }, padded(counts.fresh(), ESTIMATE_MARGIN), usd)
        }
    };
    let per_day = match (setting.runs_per_day, history.per_day(judged.task, tier, *now)) {
        (Some(runs), _) => (PerDay { runs: runs.into(), days: 1 }, RateFrom::Given),
        (None, Some(rate)) => (rate, RateFrom::History),
        (None, None) => (PerDay { runs: 1, days: 1 }, RateFrom::Assumed),
    };
    Ok(Item {
        description: description.to_owned(),
        tier,
        model: caps.model.clone(),
        cap: caps.max_usd,
        max_tokens: caps.max_tokens,
        basis,
        token_budget: caps.max_tokens.map_or(tokens, |most| tokens.min(most)),
        expected: whole.min(caps.max_usd),
        stopped: whole > caps.max_usd,
        rooms: rooms(&judged, caps.max_usd, setting),
        per_day,
        judged,
    })
}

/// What a run of that shape costs; judged by its longest prompt, which never says too little.
fn cost(table: &Table, model: &ModelId, shape: &Shape, now: Timestamp) -> Option<Usd> {
    let rates = table.find(model)?.rates(When::Around(now), &Terms::default(), shape.longest()).ok()?;
    Some(rates.price(&shape.counts()))
}

fn padded(tokens: u64, percent: u64) -> u64 {
    let padded = tokens.saturating_mul(100 + percent).div_ceil(100);
    padded.div_ceil(TOKENS_STEP).saturating_mul(TOKENS_STEP)
}

/// The room of every budget that such runs count towards.
fn rooms(judged: &Judged, cap: Usd, setting: &Setting<'_>) -> Vec<Room> {
    let standing = limits::standing(setting.budget, setting.now);
    let room = |standing: &limits::Standing| {
        let task = format!("task:{}", judged.task);
        let (purse, runs, whose) = match &standing.purses {
            limits::Purses::One(purse) if purse == "repo" => {
                (Some(purse.clone()), setting.parallel, "repo budget")
            }
            // The budgets of one label or one workflow count only some runs.
            limits::Purses::One(_) => return None,
            limits::Purses::Each("task:") => (Some(task), setting.parallel, "budget of the task"),
            limits::Purses::Each("org:") => (None, setting.parallel, "budget of the owner"),
            limits::Purses::Each("pr:") => (None, 1, "budget of each pull request"),
            limits::Purses::Each("actor:") => (None, setting.parallel, "budget of one person"),
            limits::Purses::Each(_) => (None, setting.parallel, "budget of one workflow"),
        };
        let limit = &standing.limit;
        let known = setting.balances.iter().find(|balance| {
            Some(&balance.limit.purse) == purse.as_ref()
                && balance.limit.window == limit.window
                && balance.limit.usd == limit.usd
        });
        let left = known.map_or(limit.usd, Balance::left);
        let often = match limit.per.as_str() {
            "day" => "daily",
            "week" => "weekly",
            "month" => "monthly",
            _ => "total",
        };
        Some(Room {
            name: format!("{often} {whose}"),
            enforce: limit.enforce,
            runs,
            wanted: times(cap, runs),
            left,
            known: known.is_some(),
            start: fitting(left, cap).min(runs),
        })
    };
    standing.iter().filter_map(room).collect()
}

fn times(usd: Usd, count: u32) -> Usd {
    Usd::from_pico(usd.pico().saturating_mul(i128::from(count)))
}

/// How often an amount fits into what is left.
fn fitting(left: Usd, cap: Usd) -> u32 {
    if cap <= Usd::ZERO {
        return u32::MAX;
    }
    u32::try_from(left.pico().max(0) / cap.pico()).unwrap_or(u32::MAX)
}

impl Item {
    /// The expected cost of so many runs at once.
    #[must_use]
    pub fn expected_of(&self, runs: u32) -> Usd {
        times(self.expected, runs)
    }

    /// The most that so many runs at once can cost.
    #[must_use]
    pub fn worst_of(&self, runs: u32) -> Usd {
        times(self.cap, runs)
    }

    /// What a day is expected to cost, and the most it can.
    #[must_use]
    pub fn day(&self) -> (Usd, Usd) {
        (self.per_day.0.times(self.expected, 1), self.per_day.0.times(self.cap, 1))
    }

    /// What a month is expected to cost, and the most it can.
    #[must_use]
    pub fn month(&self) -> (Usd, Usd) {
        (self.per_day.0.times(self.expected, MONTH_DAYS), self.per_day.0.times(self.cap, MONTH_DAYS))
    }

    /// How many of so many runs start with their whole cap, whatever the budget.
    #[must_use]
    pub fn start_at_once(&self, parallel: u32) -> u32 {
        let hard = self.rooms.iter().filter(|room| room.enforce == Enforce::Hard && room.runs == parallel);
        hard.map(|room| room.start).min().unwrap_or(parallel)
    }

    /// The label under which a rule knows this work, such as `agent:generate-tests-parser`.
    #[must_use]
    pub fn label(&self) -> String {
        const LABEL_MAX: usize = 50;
        const SMALL: [&str; 12] =
            ["the", "a", "an", "for", "of", "to", "in", "on", "and", "with", "our", "this"];
        let mut label = "agent:".to_owned();
        let words = self.description.split(|c: char| !c.is_ascii_alphanumeric());
        let words =
            words.map(str::to_lowercase).filter(|word| !word.is_empty() && !SMALL.contains(&word.as_str()));
        for word in words {
            let dash = if label.ends_with(':') { "" } else { "-" };
            if label.len() + dash.len() + word.len() > LABEL_MAX {
                break;
            }
            label.push_str(dash);
            label.push_str(&word);
        }
        if label.ends_with(':') {
            label.push_str(self.judged.task.as_str());
        }
        label
    }
}

impl Plan {
    /// Rules for the budget file that route each description as planned: a whole file of its own that
    /// `tollgate check` takes.
    #[must_use]
    pub fn rules(&self) -> String {
        let mut out = "version: 1\nrules:\n".to_owned();
        let mut seen = Vec::new();
        for item in &self.items {
            let label = item.label();
            if seen.contains(&label) {
                continue;
            }
            let (task, stakes) = (item.judged.task, item.judged.stakes);
            out.push_str(&format!(
                "  - {{ if: {{ label: \"{label}\" }}, task: {task}, stakes: {stakes} }}\n"
            ));
            seen.push(label);
        }
        out
    }
}
