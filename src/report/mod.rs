//! The report: what a run cost, for people and for scripts.
//!
//! One value, [`Run`], is made by the pipeline; every file here renders it in one way, without I/O.
//! `terminal` is for whoever started it, `comment`, `result` and `summary` for reviewers, `outputs`, `json` and
//! `logline` for scripts, `annotations`, `alerts`, `live` and `running` for while it runs. `post` decides
//! what becomes of the comment, `around` is what other runs and the forge add, `spend` sums many runs.
//!
//! Below the renderers: `story` turns a run into sentences and rows of plain text, `text` words amounts,
//! dates and names, `defuse` makes any text harmless where it is shown, `prose` a whole document, `cut` keeps within a limit.
//! Sentences put a name that somebody else chose between backticks; each renderer turns them into its
//! own kind of code, so that nothing is escaped twice and nothing is forgotten.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::classify::Class;
use crate::gate::{Gate, Tokens};
use crate::id::HoldId;
use crate::ledger::{Balance, Enforce};
use crate::meter::Totals;
use crate::model::ModelId;
use crate::money::Usd;
use crate::savings::Savings;
use crate::task::Tier;

pub mod alerts;
pub mod annotations;
pub mod around;
pub mod comment;
pub mod cut;
pub mod defuse;
pub mod json;
pub mod live;
pub mod logline;
mod markdown;
pub mod outputs;
pub mod post;
pub mod prose;
pub mod result;
pub mod running;
pub mod spend;
mod story;
pub mod summary;
pub mod terminal;
mod text;

/// The report in one line of plain text: what it cost of what it might, and how things stand.
#[must_use]
pub fn headline(run: &Run) -> String {
    story::headline(run)
}

/// Everything that is to be said of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// `owner/name`, or the folder's name.
    pub repository: String,
    /// The pull request's number.
    pub pr: Option<u64>,
    /// When it began.
    pub started: Timestamp,
    /// Whose days and months they are.
    pub timezone: TimeZone,
    /// How long it took.
    pub took: Duration,
    /// Whether it is a simulation: play money, nothing posted.
    pub simulated: bool,
    /// Whether budgets stop and fail anything.
    pub enforced: bool,
    /// What was asked for.
    pub class: Class,
    /// What served it; `None` where nothing was run.
    pub served: Option<Served>,
    /// What it used of a subscription, where one paid for it.
    pub subscription: Option<Tokens>,
    /// What it used.
    pub totals: Totals,
    /// Every budget that applies, as it stands now.
    pub budgets: Vec<BudgetState>,
    /// Budgets that do not apply, each with the reason.
    pub skipped: Vec<String>,
    /// What the pull request has cost in all its runs, and how many those were.
    pub pull_request: Option<PurseTotal>,
    /// What routing and caching saved.
    pub savings: Savings,
    /// The verdict.
    pub gate: Gate,
    /// The agent's last text, when it is to be shown.
    pub result: Option<String>,
    /// Whether the agent's text goes under a fold in the comment; the job summary always has it.
    pub result_in_comment: bool,
    /// Whether anybody may read the repository: then the comment leaves out what budgets have left.
    pub public: bool,
    /// The budget file as its readers know it; `None` where there is none and defaults hold.
    pub budget_file: Option<String>,
    /// What is worth knowing, one line each.
    pub notes: Vec<String>,
    /// Where the run's files are.
    pub files: Files,
    /// What is known around it.
    pub around: around::Around,
}

/// What served a run.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its hold on the ledger.
    pub hold: HoldId,
    /// The tier.
    pub tier: Tier,
    /// The tier's model.
    pub model: ModelId,
    /// Why this tier.
    pub reason: String,
    /// The run's cap; nothing where a subscription paid for it.
    pub cap: Usd,
}

/// A budget as it stands.
#[derive(Clone, Debug)]
pub struct BudgetState {
    /// Its name for people: `monthly repo budget`.
    pub name: String,
    /// The budget, and what has been taken from it.
    pub balance: Balance,
}

/// What a purse has spent in all its runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurseTotal {
    /// How many runs.
    pub runs: u64,
    /// Their cost.
    pub usd: Usd,
    /// What subscriptions paid for, at list prices.
    pub notional: Usd,
    /// Input tokens, cached ones included.
    pub prompt: u64,
    /// Input tokens read from a cache.
    pub cache_read: u64,
    /// Output tokens.
    pub output: u64,
}

/// Where a run's files are, as paths for people.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The run's folder.
    pub folder: Option<String>,
    /// The agent's last text.
    pub result: Option<String>,
    /// Its uncommitted work.
    pub patch: Option<String>,
    /// The summary as JSON.
    pub summary: Option<String>,
}

impl Run {
    /// The budget with the least left, of those that can fail the check; of all where none can.
    #[must_use]
    pub fn tightest(&self) -> Option<&BudgetState> {
        let counts_only = |state: &&BudgetState| state.balance.limit.enforce == Enforce::Count;
        self.budgets.iter().min_by_key(|state| (counts_only(state), state.balance.left()))
    }

    /// When it ended.
    #[must_use]
    pub fn ended(&self) -> Timestamp {
        self.started.checked_add(self.took).unwrap_or(self.started)
    }
}
