//! The budget file: text in, checked values out.
//!
//! After [`parse`] nothing is optional that need not be, and no string means something else: a
//! [`Budget`] cannot be wrong. The way there: `tree` gives every text its position, `read` and `scalar`
//! turn texts into values, `file` declares which keys there are, `check` looks for what makes no sense,
//! `defaults` fills in the rest; `error` holds the words. `schema` describes the same declarations to
//! editors, `explain` says to people what a budget
//! means, and `changes` what an edit of the file changes in that.

pub mod changes;
mod check;
mod defaults;
mod error;
pub mod explain;
mod file;
mod forge;
mod lines;
mod period;
mod policies;
mod prices;
mod read;
mod rules;
mod scalar;
pub mod schema;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use globset::GlobSet;
use jiff::tz::TimeZone;

use crate::model::ModelId;
use crate::money::Usd;
use crate::task::{Effort, Stakes, Task, Tier};

pub use crate::preset::Preset;
pub use error::{Errors, Mistake, Position};
pub use policies::{AskModel, Pace, Retry, RetryTier};
pub use prices::{ModelPrice, ModelRates, Prices, TableChoice};
pub use rules::{Count, EVENTS, When};

/// Where a repository keeps its budget file.
pub const PATH: &str = ".github/tollgate.yml";

/// The branch of a git ledger, unless the budget file names another.
pub const LEDGER_BRANCH: &str = "tollgate-ledger";

/// The largest budget file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024;

/// Reads and checks a budget file. `path` is for messages and is not opened.
///
/// # Errors
/// With every mistake that was found, in the order of the file.
pub fn parse(text: &str, path: &str) -> Result<Budget, Errors> {
    let mut mistakes = Vec::new();
    match read_file(text, path, &mut mistakes) {
        Some(budget) if mistakes.is_empty() => Ok(budget),
        _ => Err(Errors::new(path, mistakes)),
    }
}

/// Returns nothing only where it has added a mistake.
fn read_file(text: &str, path: &str, mistakes: &mut Vec<Mistake>) -> Option<Budget> {
    if text.len() > FILE_BYTES_MAX {
        mistakes.push(Mistake {
            at: Position::START,
            key: String::new(),
            problem: format!(
                "the file has {} bytes, more than the {FILE_BYTES_MAX} that are read",
                text.len()
            ),
            hint: "move long prompts into files of the repository, and name them in the prompt".to_owned(),
        });
        return None;
    }
    let root = match tree::read(text, mistakes) {
        Ok(root) => root,
        Err(mistake) => {
            mistakes.push(mistake);
            return None;
        }
    };
    let place = read::Place::root(&root);
    if matches!(root.kind, tree::Kind::Empty) {
        mistakes.push(place.mistake("the file is empty", "write one with `tollgate init`, or remove it"));
        return None;
    }
    let file = <file::File as read::Read>::read(&root, &place, mistakes)?;
    Some(check::checked(file, path, mistakes))
}

/// A checked budget file, or the built-in defaults where a repository has none.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Where it was read from, for messages; `None` for the built-in defaults.
    pub path: Option<String>,
    /// Whether budgets stop and fail anything.
    pub mode: Mode,
    /// Whose day, week and month it is.
    pub timezone: TimeZone,
    /// Where spend is recorded.
    pub ledger: LedgerChoice,
    /// The first commit of a git ledger, where the file names it.
    pub ledger_root: Option<String>,
    /// Every budget, in the file's order.
    pub budgets: Vec<BudgetLine>,
    /// What each tier runs, and within which caps.
    pub tiers: Tiers,
    /// Which tier serves which task at which stakes.
    pub tasks: TaskTable,
    /// Rules that come before the built-in classifier; the first match wins.
    pub rules: Vec<Rule>,
    /// Whether a model helps the classifier.
    pub ask_model: AskModel,
    /// What becomes of an agent that failed; `None` for no second attempt.
    pub retry: Option<Retry>,
    /// The agent.
    pub agent: Agent,
    /// What to do when something is hit, missing or unknown.
    pub on: On,
    /// What a run holds on the ledger.
    pub holds: Holds,
    /// Percent of the cap at which the agent is told to wrap up; `None` for never.
    pub steer_at: Option<u32>,
    /// Percents of any budget at which to say so, ascending.
    pub alerts: Vec<u32>,
    /// Those of [`Budget::alerts`] that are told to a webhook, too.
    pub webhooks: Vec<Webhook>,
    /// How a pull request's comment is posted, and what it shows.
    pub comment: CommentPolicy,
    /// The context of the commit status that says the verdict; `None` for no status.
    pub status: Option<String>,
    /// The label that raises every budget, where the file has one.
    pub lift: Option<Override>,
    /// Whether the agent's text goes under a fold in the comment.
    pub result_in_comment: bool,
    /// Budgets that single workflow files add, by path.
    pub workflows: BTreeMap<String, Vec<BudgetLine>>,
    /// Prices of one's own, and what newer price tables may do.
    pub prices: Prices,
}

impl Budget {
    /// Whether runs hold a part of their cap that grows. What enforces nothing holds nothing back.
    #[must_use]
    pub fn grows(&self) -> bool {
        self.holds == Holds::Grow && self.mode == Mode::Enforce
    }

    /// What a run holds of its cap at first, where that grows: an eighth, never less than a run is started
    /// with, nor more than the cap. It grows by as much.
    #[must_use]
    pub fn first_part(&self, cap: Usd) -> Usd {
        Usd::from_pico(cap.pico() / 8).max(self.on.min_run_usd).min(cap)
    }

    /// Every model that the tiers name, so that a command can ask the price table for them.
    #[must_use]
    pub fn models(&self) -> BTreeSet<&ModelId> {
        Tier::ALL.into_iter().map(|tier| &self.tiers.get(tier).model).collect()
    }
}

/// What a run holds on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Its whole cap, from the start.
    Whole,
    /// A part of its cap, and more in steps while it spends.
    Grow,
}

/// The one rollout switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Budgets stop runs and fail checks.
    Enforce,
    /// Meter and report; never stop, never fail.
    Observe,
}

impl Mode {
    /// The word for it in the budget file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Observe => "observe",
        }
    }
}

/// Which ledger keeps the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerChoice {
    /// The file did not say: the default of the place where tollgate runs.
    Default,
    /// Files below this folder; `None` for `.tollgate/` in the repository.
    File(Option<String>),
    /// A branch of a repository.
    Git(GitChoice),
    /// The database that an environment variable names.
    Postgres,
}

/// Which branch of which repository is the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitChoice {
    /// `owner/name` on the event's forge; `None` for the event's own repository.
    pub repository: Option<String>,
    /// The branch; `None` for the usual one.
    pub branch: Option<String>,
}

impl LedgerChoice {
    /// The folder below which a file ledger, and whatever else a run keeps, lies: from the repository's top.
    #[must_use]
    pub fn folder(&self) -> &str {
        match self {
            Self::Default | Self::File(None) | Self::Git(_) | Self::Postgres => ".tollgate",
            Self::File(Some(folder)) => folder,
        }
    }

    /// Whether several repositories keep their books in it, so that their purses must be kept apart.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Default | Self::File(_) => false,
            Self::Git(choice) => choice.repository.is_some(),
            Self::Postgres => true,
        }
    }
}

/// One budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetLine {
    /// Whose spend counts.
    pub scope: Scope,
    /// How long until it starts anew.
    pub per: Period,
    /// The limit.
    pub usd: Usd,
    /// What happens at the limit.
    pub enforce: Enforce,
    /// How it may be spent over time.
    pub pace: Pace,
    /// The line of the budget file, from 1; 0 for a built-in one.
    pub line: usize,
}

/// Whose spend counts towards a budget. Each actor, pull request, workflow and task has its own purse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All runs of all repositories of one owner that share the ledger.
    Org,
    /// All runs of the repository.
    Repo,
    /// The runs of one workflow file.
    Workflow,
    /// The runs of one task (review, docs, implementation).
    Task,
    /// The runs one person or bot has caused.
    Actor,
    /// The runs on one pull request.
    Pr,
    /// The runs on pull requests that carry this label.
    Label(String),
}

/// How long a budget lasts until it starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// A calendar day of the file's time zone.
    Day,
    /// A week from Monday.
    Week,
    /// A calendar month.
    Month,
    /// For ever.
    Total,
}

impl Period {
    /// The word for it in the budget file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Total => "total",
        }
    }
}

/// What happens at a budget's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforce {
    /// A run's cap is cut to what is left, so the limit is never passed; then runs are refused.
    Hard,
    /// A run keeps its cap; the check fails once the limit is passed, and further runs are refused.
    Soft,
    /// It is said, and the check passes.
    Warn,
}

impl Enforce {
    /// The word for it in the budget file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Enforce::Hard => "hard",
            Enforce::Soft => "soft",
            Enforce::Warn => "warn",
        }
    }
}

/// The three tiers.
#[derive(Clone, Debug)]
pub struct Tiers {
    /// For ambiguous implementation and architecture.
    pub high: TierLimits,
    /// For review and synthesis.
    pub medium: TierLimits,
    /// For formatting and labels.
    pub low: TierLimits,
}

impl Tiers {
    /// The limits of one tier.
    #[must_use]
    pub fn get(&self, tier: Tier) -> &TierLimits {
        match tier {
            Tier::High => &self.high,
            Tier::Medium => &self.medium,
            Tier::Low => &self.low,
        }
    }
}

/// What a tier runs, and the caps of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierLimits {
    /// The model.
    pub model: ModelId,
    /// The dollar cap of one run.
    pub max_usd: Usd,
    /// The cap on new tokens (uncached input, cache writes, output); `None` for none.
    pub max_tokens: Option<u64>,
    /// How long the agent may take.
    pub timeout: Duration,
    /// How hard the model is to think; `None` leaves it to the agent.
    pub effort: Option<Effort>,
    /// Tokens that it may think for, 0 for none; `None` leaves it to the agent.
    pub thinking: Option<u64>,
}

/// Which tier serves which task at which stakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskTable(pub BTreeMap<(Task, Stakes), Tier>);

impl TaskTable {
    /// The tier of a task at some stakes; the high tier where the table has a hole.
    #[must_use]
    pub fn tier(&self, task: Task, stakes: Stakes) -> Tier {
        self.0.get(&(task, stakes)).copied().unwrap_or(Tier::High)
    }
}

/// A rule of the budget file.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The label that must be set, if the rule names one.
    pub label: Option<String>,
    /// The paths of which a changed file must match one, if the rule names any: as written, and compiled.
    pub paths: Option<(Vec<String>, GlobSet)>,
    /// What else must hold.
    pub when: When,
    /// The task it decides.
    pub task: Option<Task>,
    /// The stakes it decides.
    pub stakes: Option<Stakes>,
    /// The line of the budget file, from 1.
    pub line: usize,
}

/// The agent that is run.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Which preset.
    pub preset: Preset,
    /// Arguments added to the preset's own; the whole command line for [`Preset::Command`].
    pub args: Vec<String>,
    /// Names of environment variables let through besides the allow-list.
    pub env: Vec<String>,
    /// What the agent is told, by task; the built-in prompt where a task has none.
    pub prompt: BTreeMap<Task, String>,
    /// What becomes of its work, by task.
    pub deliver: BTreeMap<Task, Deliver>,
}

/// What becomes of an agent's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// Its last text is a comment on the pull request; changes are saved as a patch.
    Comment,
    /// Its changes are saved as a patch.
    Patch,
    /// Its changes are pushed as a branch of their own, and saved as a patch.
    Branch,
    /// Changes are not kept.
    Off,
}

/// The verdict on something that need not fail a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOr {
    /// The check fails.
    Fail,
    /// The check passes with a warning.
    Warn,
    /// The check passes.
    Pass,
}

/// What to do when something is hit, missing or unknown.
#[derive(Clone, Debug)]
pub struct On {
    /// The run's own cap was hit, by task: fail or warn.
    pub cap: BTreeMap<Task, FailOr>,
    /// No budget was left to start: fail or pass.
    pub refused: FailOr,
    /// Less is left than the tier's cap.
    pub low_budget: LowBudget,
    /// A cheaper tier is only taken where it saves so many percent; `None` takes it in any case.
    pub downgrade_saves: Option<u32>,
    /// Below this a run is refused rather than cut.
    pub min_run_usd: Usd,
    /// The agent ran and no request was seen: fail or warn.
    pub unmetered: FailOr,
    /// A model that has no price.
    pub unknown_model: UnknownModel,
    /// Tools that the provider runs.
    pub server_tools: ServerTools,
    /// The agent asks for a dearer model than it was routed to.
    pub dearer_model: DearerModel,
    /// The ledger cannot be read or written.
    pub ledger_error: LedgerError,
    /// There is no provider key on forks and Dependabot: pass or fail.
    pub no_key: FailOr,
}

/// What to do when less is left than the tier's cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowBudget {
    /// Take the cheaper tier whose cap fits; if none does, cut the cap.
    Downgrade,
    /// Cut the cap to what is left.
    Cut,
    /// Do not start.
    Refuse,
}

/// What to do with a model that has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownModel {
    /// Refuse the request.
    Deny,
    /// Count it at the dearest price there is.
    Ceiling,
}

/// What to do with tools that the provider runs: each of their steps reads the context again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTools {
    /// Refuse the request.
    Deny,
    /// Let it through where its worst case fits.
    Bound,
}

/// What to do when the agent asks for a dearer model than it was routed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DearerModel {
    /// Send the request to the routed model.
    Remap,
    /// Refuse the request.
    Deny,
    /// Let it through, priced as what it is.
    Allow,
}

/// What to do when the ledger cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// The check fails.
    Fail,
    /// The agent does not run, and the check passes with a warning.
    Skip,
}

/// How a pull request's comment is posted, and what it shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommentPolicy {
    /// How it is posted.
    pub mode: CommentMode,
    /// When there is to be one.
    pub only_when: CommentWhen,
    /// Whose budgets it shows.
    pub show: CommentShow,
}

/// How a comment is posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommentMode {
    /// One comment, edited in place.
    #[default]
    Update,
    /// A new one for each workflow run.
    New,
    /// A new one for each workflow run; older ones are hidden as outdated.
    HideAndNew,
    /// None.
    Off,
}

/// When a comment is first written. One that is there is brought up to date in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommentWhen {
    /// When the run starts.
    #[default]
    Always,
    /// When the run has spent something, or the check does not pass.
    Spent,
    /// When the check does not pass, a threshold is crossed, or an override counts.
    Alert,
}

/// Whose budgets a comment shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommentShow {
    /// All of them; in public repositories only the pull request's own.
    #[default]
    Auto,
    /// All of them.
    All,
    /// The pull request's own.
    Own,
}

/// A label by which a person lets a pull request spend more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The label.
    pub label: String,
    /// What whoever sets it must be allowed to do.
    pub permission: MayOverride,
    /// By how much every budget that applies is raised.
    pub usd: Usd,
    /// How long after it was set it counts.
    pub expires: Duration,
}

/// What whoever sets an override must be allowed to do in the repository, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MayOverride {
    /// Push.
    Write,
    /// Look after the repository.
    Maintain,
    /// Everything.
    Admin,
}

impl MayOverride {
    /// The word for it in the budget file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MayOverride::Write => "write",
            MayOverride::Maintain => "maintain",
            MayOverride::Admin => "admin",
        }
    }
}

/// A webhook that is told of a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The threshold, in percent of any budget.
    pub at: u32,
    /// The environment variable that holds its address.
    pub env: String,
}
