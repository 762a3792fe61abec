//! The raw types that mirror the file: what may be written, before anyone asks whether it makes sense.
//!
//! Each key is declared once, with its description; see `read` for what is made from a declaration.
//! `check` turns a [`File`] into a [`super::Budget`].

use std::time::Duration;

use serde_json::{Value, json};

use super::error::Mistake;
use super::forge::{CommentKeys, OverrideKeys, Threshold};
use super::policies::{ClassifyKeys, RetryKeys};
use super::prices::PricesKeys;
use super::read::{At, By, Keys, Named, OrOff, Place, Read, Words, mapping, text, word, word_schema, words};
use super::scalar::{Percent, Text, Tokens};
use super::tree::Node;
use super::{
    DearerModel, Deliver, Enforce, FailOr, GitChoice, Holds, LedgerChoice, LedgerError, LowBudget, Mode,
    Pace, Period, Preset, ServerTools, UnknownModel,
};
use crate::money::Usd;
use crate::task::{Effort, Stakes, Task, Tier};

mapping! {
    /// The budget file of tollgate, the cost gate for AI agents in CI.
    File {
        /// The version of this format: 1.
        "version" => version: Version,
        /// Whether budgets stop runs and fail checks (enforce) or are only metered and reported (observe).
        "mode" => mode: Mode,
        /// The IANA time zone whose days, weeks and months the budgets count by.
        "timezone" => timezone: String,
        /// Where spend is recorded: `git`, `git:BRANCH`, `git:OWNER/REPO`, `git:OWNER/REPO#BRANCH`, `file`, or
        /// `file:FOLDER`.
        "ledger" => ledger: LedgerChoice,
        /// The first commit of a git ledger, so that one that was deleted or replaced is refused.
        "ledger_root" => ledger_root: CommitName,
        /// How much may be spent, by whom, in which time.
        "budgets" => budgets: Vec<Line>,
        /// What each tier runs, and the caps of one run.
        "tiers" => tiers: By<Tier, TierKeys>,
        /// Which tier serves which task at which stakes.
        "tasks" => tasks: By<Task, By<Stakes, Tier>>,
        /// Rules that come before the built-in classifier; the first that matches wins.
        "rules" => rules: Vec<At<RuleKeys>>,
        /// Whether a model helps the classifier where it is not sure.
        "classify" => classify: ClassifyKeys,
        /// What becomes of an agent that failed: a further attempt, as a run of its own.
        "retry" => retry: RetryKeys,
        /// The agent that is run.
        "agent" => agent: AgentKeys,
        /// What to do when something is hit, missing or unknown.
        "on" => on: OnKeys,
        /// Whether a run holds its whole cap from the start, or a part that grows.
        "holds" => holds: Holds,
        /// The percent of a run's cap at which the agent is told to wrap up, or `off`.
        "steer_at" => steer_at: OrOff<Percent>,
        /// How a pull request's comment is posted, and what it shows.
        "comment" => comment: CommentKeys,
        /// The context of a commit status that says the verdict, such as `tollgate`.
        "status" => status: String,
        /// The percents of any budget at which to say so, each with a webhook where it is to be told there.
        "alerts" => alerts: Vec<At<Threshold>>,
        /// A label by which a person lets a pull request spend more.
        "override" => lift: OverrideKeys,
        /// Budgets that single workflow files add, by the path of the file.
        "workflows" => workflows: Named<WorkflowKeys>,
        /// Prices of your own, and what newer price tables may do.
        "prices" => prices: PricesKeys,
    }
    required {
        "version": "start the file with `version: 1`",
    }
    later {}
}

mapping! {
    /// One budget.
    LineKeys {
        /// Whose spend counts; everyone has a purse of their own.
        "scope" => scope: ScopeWord,
        /// How long until it starts anew.
        "per" => per: Period,
        /// The limit in dollars.
        "usd" => usd: Usd,
        /// What happens at the limit: hard cuts runs so that it is never passed, soft fails the check once
        /// it is passed, warn only says so.
        "enforce" => enforce: Enforce,
        /// How it may be spent over its time: as it comes (free), or each day's share by the end of that day
        /// at most (even).
        "pace" => pace: Pace,
        /// The label, for `scope: label`.
        "label" => label: String,
    }
    required {
        "scope": "add whose spend counts, such as `scope: repo`",
        "per": "add how long it lasts: `per: day`, `week`, `month` or `total`",
        "usd": "add the limit in dollars, such as `usd: 25`",
    }
    later {}
}

/// One budget with its place.
pub(super) type Line = At<LineKeys>;

mapping! {
    /// What a tier runs, and the caps of one run.
    TierKeys {
        /// The model, by the name its provider gives it.
        "model" => model: String,
        /// The most that one run may cost, in dollars.
        "max_usd" => max_usd: Usd,
        /// The most new tokens of one run (uncached input, cache writes, output), or `off`.
        "max_tokens" => max_tokens: OrOff<Tokens>,
        /// How long the agent may take.
        "timeout" => timeout: Duration,
        /// How hard the model is to think, as the agent or its API lets that be chosen.
        "effort" => effort: Effort,
        /// The tokens that the model may think for before an answer, or `off`; they are part of the answer.
        "thinking" => thinking: OrOff<Tokens>,
    }
    required {}
    later {}
}

mapping! {
    /// A rule: if all its conditions hold, it decides the task, the stakes or both.
    RuleKeys {
        /// The conditions.
        "if" => condition: ConditionKeys,
        /// The task it decides.
        "task" => task: Task,
        /// The stakes it decides.
        "stakes" => stakes: Stakes,
    }
    required {
        "if": "add when the rule holds, such as `if: { label: \"agent:docs\" }`",
    }
    later {}
}

mapping! {
    /// The conditions of a rule; all of them must hold.
    ConditionKeys {
        /// The label that the pull request must carry.
        "label" => label: String,
        /// Patterns of which a changed file must match one.
        "paths" => paths: Vec<At<String>>,
        /// Text that the title holds, in whatever case.
        "title" => title: String,
        /// A pattern that the branch must match.
        "branch" => branch: String,
        /// The login of whoever wrote the change.
        "author" => author: String,
        /// The event, by GitHub's name for it.
        "event" => event: String,
        /// Text that the comment holds, in whatever case.
        "comment" => comment: String,
        /// The language that a changed file is written in, by its extension.
        "language" => language: String,
        /// How many changed lines there are, such as `> 500`.
        "lines" => lines: String,
        /// How many changed files there are, such as `<= 3`.
        "files" => files: String,
    }
    required {}
    later {}
}

mapping! {
    /// The agent that is run.
    AgentKeys {
        /// Which agent: `claude` for Claude Code, `codex`, `gemini` for Gemini CLI, `opencode`, `aider`,
        /// `mini-swe-agent`, or `command` for the command line in `args`.
        "use" => preset: Preset,
        /// Arguments added to the agent's own; for `command`, the whole command line.
        "args" => args: Vec<At<Text>>,
        /// Names of environment variables that the agent may see besides the usual ones.
        "env" => env: Vec<At<String>>,
        /// What the agent is told, by task.
        "prompt" => prompt: By<Task, Text>,
        /// What becomes of its result, by task: its last text as a comment, its changes as a saved patch or
        /// as a branch of their own, or nothing.
        "deliver" => deliver: By<Task, Deliver>,
    }
    required {}
    later {}
}

mapping! {
    /// What to do when something is hit, missing or unknown.
    OnKeys {
        /// The run's own cap was hit, by task.
        "cap" => cap: By<Task, FailOrWarn>,
        /// No budget was left to start.
        "refused" => refused: FailOrPass,
        /// Less is left than the tier's cap: take a cheaper tier and then cut, cut, or refuse.
        "low_budget" => low_budget: LowBudget,
        /// The percent that a cheaper tier must save at today's prices to be taken, or `off`; else the cap is
        /// cut.
        "downgrade_saves" => downgrade_saves: OrOff<Percent>,
        /// Below this many dollars a run is refused rather than cut.
        "min_run_usd" => min_run_usd: Usd,
        /// The agent ran and the meter saw no request.
        "unmetered" => unmetered: FailOrWarn,
        /// A model that has no price: refuse it, or count it at the dearest price there is.
        "unknown_model" => unknown_model: UnknownModel,
        /// Tools that the provider runs: refuse them, or let them through where the worst case fits.
        "server_tools" => server_tools: ServerTools,
        /// The agent asks for a dearer model than it was routed to.
        "dearer_model" => dearer_model: DearerModel,
        /// The ledger cannot be read or written: fail, or skip the run and pass with a warning.
        "ledger_error" => ledger_error: LedgerError,
        /// There is no provider key, as on forks and Dependabot.
        "no_key" => no_key: FailOrPass,
    }
    required {}
    later {}
}

mapping! {
    /// What one workflow file adds.
    WorkflowKeys {
        /// Budgets on top of those above, or tighter ones.
        "budgets" => budgets: Vec<Line>,
    }
    required {
        "budgets": "add the budgets of this workflow, or remove it",
    }
    later {}
}

words! { Mode, "mode" { "enforce" => Mode::Enforce, "observe" => Mode::Observe, } later {} }

/// A scope as a word; [`super::Scope`] has the label, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeWord {
    Org,
    Repo,
    Workflow,
    Task,
    Actor,
    Pr,
    Label,
}

words! {
    ScopeWord, "scope" {
        "org" => ScopeWord::Org,
        "repo" => ScopeWord::Repo,
        "workflow" => ScopeWord::Workflow,
        "task" => ScopeWord::Task,
        "actor" => ScopeWord::Actor,
        "pr" => ScopeWord::Pr,
        "label" => ScopeWord::Label,
    }
    later {}
}

words! {
    Period, "period" {
        "day" => Period::Day,
        "week" => Period::Week,
        "month" => Period::Month,
        "total" => Period::Total,
    }
    later {}
}

words! {
    Enforce, "way to enforce a budget" {
        "hard" => Enforce::Hard,
        "soft" => Enforce::Soft,
        "warn" => Enforce::Warn,
    }
    later {}
}

words! { Tier, "tier" { "high" => Tier::High, "medium" => Tier::Medium, "low" => Tier::Low, } later {} }

words! {
    Task, "task" {
        "implementation" => Task::Implementation,
        "review" => Task::Review,
        "docs" => Task::Docs,
    }
    later {}
}

words! {
    Stakes, "level of stakes" {
        "low" => Stakes::Low,
        "medium" => Stakes::Medium,
        "high" => Stakes::High,
    }
    later {}
}

words! {
    Preset, "agent" {
        "claude" => Preset::Claude,
        "codex" => Preset::Codex,
        "gemini" => Preset::Gemini,
        "opencode" => Preset::Opencode,
        "aider" => Preset::Aider,
        "mini-swe-agent" => Preset::Mini,
        "command" => Preset::Command,
    }
    later {}
}

words! {
    Deliver, "way to deliver work" {
        "comment" => Deliver::Comment,
        "patch" => Deliver::Patch,
        "branch" => Deliver::Branch,
        "off" => Deliver::Off,
    }
    later {}
}

/// A verdict of which `pass` would hide too much.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailOrWarn(pub(super) FailOr);

words! {
    FailOrWarn, "choice here" { "fail" => FailOrWarn(FailOr::Fail), "warn" => FailOrWarn(FailOr::Warn), }
    later {}
}

/// A verdict where nothing was spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailOrPass(pub(super) FailOr);

words! {
    FailOrPass, "choice here" { "fail" => FailOrPass(FailOr::Fail), "pass" => FailOrPass(FailOr::Pass), }
    later {}
}

words! {
    LowBudget, "choice here" {
        "downgrade" => LowBudget::Downgrade,
        "cut" => LowBudget::Cut,
        "refuse" => LowBudget::Refuse,
    }
    later {}
}

words! {
    UnknownModel, "choice here" { "deny" => UnknownModel::Deny, "ceiling" => UnknownModel::Ceiling, }
    later {}
}

words! {
    ServerTools, "choice here" { "deny" => ServerTools::Deny, "bound" => ServerTools::Bound, }
    later {}
}

words! {
    DearerModel, "choice here" {
        "remap" => DearerModel::Remap,
        "deny" => DearerModel::Deny,
        "allow" => DearerModel::Allow,
    }
    later {}
}

words! {
    Holds, "way to hold" { "whole" => Holds::Whole, "grow" => Holds::Grow, }
    later {}
}

words! {
    LedgerError, "choice here" { "fail" => LedgerError::Fail, "skip" => LedgerError::Skip, }
    later {}
}

/// The version of the format. There is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version;

impl Read for Version {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        match text(node, place, mistakes)? {
            "1" => Some(Self),
            other => {
                let problem = format!(
                    "this tollgate reads version 1 of the format, not {}",
                    super::error::quoted(other)
                );
                mistakes.push(place.mistake(problem, "write `version: 1`, or use a newer tollgate"));
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "enum": [1, "1"] })
    }
}

impl Read for LedgerChoice {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let written = text(node, place, mistakes)?;
        let (kind, rest) = match written.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (written, None),
        };
        let mistake = match (kind, rest) {
            ("file", None) => return Some(Self::File(None)),
            ("file", Some(folder)) if folder.starts_with('~') => place.mistake(
                "`~` is not expanded here",
                "write the folder as an absolute path, or relative to the repository",
            ),
            ("file", Some(folder)) if !folder.trim().is_empty() => {
                return Some(Self::File(Some(folder.to_owned())));
            }
            ("file", Some(_)) => {
                place.mistake("the folder is missing after `file:`", "write `file`, or `file:FOLDER`")
            }
            ("git", None) => return Some(Self::Git(GitChoice::default())),
            ("git", Some(rest)) => match git_choice(rest) {
                Ok(choice) => return Some(Self::Git(choice)),
                Err(problem) => place.mistake(
                    problem,
                    "write `git`, `git:BRANCH`, `git:OWNER/REPO` or `git:OWNER/REPO#BRANCH`",
                ),
            },
            ("postgres", None) => return Some(Self::Postgres),
            ("postgres", Some(_)) => place.mistake(
                "a budget file does not say which database: its URL has a password in it",
                "write `ledger: postgres`, and set TOLLGATE_DATABASE_URL from a secret",
            ),
            _ => place.mistake(
                format!("{} is no kind of ledger", super::error::quoted(written)),
                "write `git`, `file`, `file:FOLDER` or `postgres`",
            ),
        };
        mistakes.push(mistake);
        None
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(file(:[^~].*)?|git(:[^:]+)?|postgres)$" })
    }
}

/// What follows `git:`: a branch, or a repository with or without one.
fn git_choice(rest: &str) -> Result<GitChoice, String> {
    let quoted = super::error::quoted;
    let (repository, branch) = match rest.split_once('#') {
        Some((repository, branch)) => (Some(repository), Some(branch)),
        None if rest.contains('/') => (Some(rest), None),
        None => (None, Some(rest)),
    };
    if let Some(branch) = branch.filter(|branch| !is_branch(branch)) {
        let what = "the name of the branch is missing".to_owned();
        return Err(if branch.is_empty() {
            what
        } else {
            format!("{} is no name of a branch", quoted(branch))
        });
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(['-', '.'])
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let is_repository =
        |text: &str| text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name));
    if let Some(repository) = repository.filter(|repository| !is_repository(repository)) {
        return Err(format!("{} is no repository", quoted(repository)));
    }
    Ok(GitChoice { repository: repository.map(str::to_owned), branch: branch.map(str::to_owned) })
}

/// Whether git takes a name for a branch: the rules of git-check-ref-format(1), and no leading dash.
fn is_branch(name: &str) -> bool {
    let ends = !name.starts_with(['-', '/']) && !name.ends_with(['/', '.']);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    ends && name != "@"
        && !name.contains("..")
        && !name.contains("@{")
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c))
        && name.split('/').all(part)
}

/// A commit, by its whole name.
#[derive(Clone, Debug)]
pub(super) struct CommitName(pub(super) String);

impl Read for CommitName {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let written = text(node, place, mistakes)?;
        let hex = written.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if hex && matches!(written.len(), 40 | 64) {
            return Some(Self(written.to_owned()));
        }
        mistakes.push(place.mistake(
            format!("{} is no name of a commit", super::error::quoted(written)),
            "write all its digits, as `tollgate ledger verify` prints them, between quotation marks",
        ));
        None
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$" })
    }
}
