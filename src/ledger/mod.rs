//! The ledger: one budget across runs.
//!
//! `event` is the format, one line a step of a [`hold`]; `book` is pure: it folds events into what
//! admission needs; `decide` answers whether a hold may be granted; `commit` turns decisions into bytes;
//! `audit` folds everything, and trusts nothing; `store` moves bytes and compares and swaps, and is all
//! that does I/O. Amounts, limits and windows are the ledger's own types; it knows no budget file. The
//! format and its rules are written down in `docs/reference/ledger.md`.

pub mod audit;
pub mod book;
pub mod commit;
pub mod decide;
pub mod event;
pub mod hold;
mod lately;
pub mod store;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::HoldId;
use crate::money::Usd;

/// A span of time that a budget counts over, as explicit instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it; `None` for one that never ends.
    pub end: Option<Timestamp>,
}

impl Window {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.start <= instant && self.end.is_none_or(|end| instant < end)
    }
}

/// What happens at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforce {
    /// A hold is cut to what is left, so the limit is never passed.
    Hard,
    /// A hold keeps its size, and is refused once the limit is reached.
    Soft,
    /// Nothing: the spend is only counted.
    Count,
}

/// One limit that a hold must respect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Whose spend counts: `repo`, `pr:17`, `actor:octocat`, `workflow:.github/workflows/x.yml`, …
    pub purse: String,
    /// How often it starts anew: `day`, `week`, `month`, `total`; after [`PACED`] for a share of that.
    pub per: String,
    /// The span it counts over.
    pub window: Window,
    /// The most.
    pub usd: Usd,
    /// What happens at the most.
    pub enforce: Enforce,
}

/// What [`Limit::per`] begins with where the limit is what an even pace allows by now of another's window.
pub const PACED: &str = "paced-";

/// What stands between a repository and its purse on a shared ledger: in no repository's name or id.
pub const BETWEEN: char = ' ';

/// A purse without the repository that it belongs to on a shared ledger.
#[must_use]
pub fn plain_purse(purse: &str) -> &str {
    match purse.split_once(BETWEEN) {
        Some((repository, purse)) if !repository.contains(':') && repository.contains('/') => purse,
        _ => purse,
    }
}

impl Limit {
    /// Whether this is a share of a budget, which grows with time, rather than a budget.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.per.starts_with(PACED)
    }

    /// The purse without the repository that it belongs to on a shared ledger.
    #[must_use]
    pub fn plain_purse(&self) -> &str {
        plain_purse(&self.purse)
    }

    /// Whether it counts what one pull request has spent.
    #[must_use]
    pub fn is_of_pull_request(&self) -> bool {
        self.plain_purse().starts_with("pr:")
    }
}

/// A limit with what has been taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The limit.
    pub limit: Limit,
    /// Spend of runs that are over.
    pub settled: Usd,
    /// Holds of runs that are not.
    pub held: Usd,
}

impl Balance {
    /// What is left for a new hold.
    #[must_use]
    pub fn left(&self) -> Usd {
        self.limit.usd.minus_or_zero(self.settled + self.held)
    }
}

/// What a run asks of the ledger before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The hold's key, made and kept by the run before it asks.
    pub hold: HoldId,
    /// A random part that the asking process makes once and keeps in memory: a retry of the same process
    /// gets the same answer, and a second process that claims the same hold is refused.
    pub claim: String,
    /// The cap it wants. Nothing for a run that a subscription pays for: it has no limits then, and what it
    /// is charged is nothing as well.
    pub want: Usd,
    /// The least that is worth having: less is refused.
    pub least: Usd,
    /// Every limit that applies.
    pub limits: Vec<Limit>,
    /// All purses this run's spend belongs to, also those no budget names today, so that a budget
    /// written tomorrow counts today's spend.
    pub purses: Vec<String>,
    /// When the hold expires, and is charged, if nobody settles it.
    pub expires: Timestamp,
    /// What the run is, for reports: task, tier, model, actor, event. Never text an agent wrote.
    pub about: About,
    /// The override by which every limit above is larger than its budget.
    pub lift: Option<Lift>,
}

/// An override: somebody who may let a run spend more than its budgets allow, until an instant.
///
/// The limits of a hold that has one are written as they were raised; less its amount they are what the
/// budgets say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lift {
    /// By how much every limit is raised.
    pub usd: Usd,
    /// The label that says so.
    pub label: String,
    /// Who set it.
    pub by: String,
    /// When.
    pub set: Timestamp,
    /// The first instant at which it does not count any more.
    pub expires: Timestamp,
}

impl Lift {
    /// Why a hold on these limits cannot be granted under it at `at`, in words that follow the hold's name.
    pub(crate) fn wrong(&self, limits: &[Limit], at: Timestamp) -> Option<String> {
        let Self { usd, label, expires, .. } = self;
        if at >= *expires {
            return Some(format!("counts on the override `{label}`, which was over at {expires}"));
        }
        let small = limits.iter().find(|limit| *usd <= Usd::ZERO || limit.usd < *usd);
        let Limit { purse, usd: most, .. } = small?;
        Some(format!(
            "has a limit of ${most} on `{purse}`, which the override `{label}` cannot have raised by ${usd}"
        ))
    }
}

/// What a run is, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The task.
    pub task: String,
    /// The tier it was routed to.
    pub tier: String,
    /// The model it was routed to.
    pub model: String,
    /// Who caused it.
    pub actor: String,
    /// The pull request's number.
    pub pr: Option<u64>,
    /// The workflow's file.
    pub workflow: Option<String>,
    /// The stakes; empty where they were not recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stakes: String,
    /// The commit that the budget file was read at; nothing where it was read from a working tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
}

/// The ledger's answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Granted, with the cap, which limits may have cut.
    Granted {
        /// The cap.
        cap: Usd,
        /// The limit that cut it, if one did.
        cut_by: Option<Balance>,
    },
    /// Refused by this limit.
    Refused {
        /// The limit with the least left.
        by: Balance,
    },
}

/// What a run spent, by model, for the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    /// Its cost.
    pub usd: Usd,
    /// The part of it that is a bound, because a usage never came.
    pub estimated: Usd,
    /// By the model that served.
    pub models: Vec<ModelSpend>,
    /// What was used on a subscription, at list prices. Nobody is charged it, so it is no part of the cost
    /// and takes from no limit; a reader that does not know the field comes to the same balances.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub notional: Usd,
}

impl Spend {
    /// What it is once a person has said that it cost `usd`: none of that is a bound any more.
    ///
    /// What was used on a subscription was never part of the cost, and stays; so do the models with their
    /// requests and tokens. A model that had all of the cost has all of the new one. Several keep theirs where
    /// that comes to `usd` at most, and the rest is no model's; where it comes to more, nobody knows how `usd`
    /// is split, and all of it is no model's.
    #[must_use]
    pub fn corrected_to(&self, usd: Usd) -> Self {
        let mut models = self.models.clone();
        let named: Usd = models.iter().map(|model| model.usd).sum();
        match models.as_mut_slice() {
            [only] if named == self.usd => only.usd = usd,
            _ if named <= usd => {}
            several => several.iter_mut().for_each(|model| model.usd = Usd::ZERO),
        }
        Self { usd, estimated: Usd::ZERO, models, notional: self.notional }
    }
}

/// serde hands out a reference.
fn is_nothing(usd: &Usd) -> bool {
    *usd == Usd::ZERO
}

/// What one model cost in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpend {
    /// The model.
    pub model: String,
    /// Its cost.
    pub usd: Usd,
    /// Its requests.
    pub requests: u64,
    /// Its tokens.
    pub tokens: crate::tokens::Counts,
    /// The part of [`Spend::notional`] that is its.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub notional: Usd,
}

/// A settled hold, and where that leaves every limit it was held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The hold.
    pub hold: HoldId,
    /// What it was granted.
    pub cap: Usd,
    /// What it spent.
    pub spend: Spend,
    /// The spend is above the hold: recorded in full.
    pub overrun: bool,
    /// Each limit as it stands now.
    pub balances: Vec<Balance>,
}
