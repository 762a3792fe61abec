//! From budgets to limits: which of the file's budgets apply to this run, and over which window.
//!
//! Pure. `budget` says what is allowed, `event` says who and where; the ledger wants explicit limits.

mod pace;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::budget::{Budget, BudgetLine, Enforce, Mode, Period, Scope};
use crate::event::Event;
use crate::ledger::{self, BETWEEN, Lift, Limit, PACED, Window, plain_purse};
use crate::task::Task;

/// A limit, and the line of the budget file it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The limit as the ledger takes it.
    pub limit: Limit,
    /// The budget it comes from.
    pub source: BudgetLine,
}

/// The limits of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Those that apply.
    pub applied: Vec<Applied>,
    /// Those that do not, each with the reason.
    pub skipped: Vec<String>,
    /// Every purse the run's spend belongs to.
    pub purses: Vec<String>,
    /// The override that every limit above was raised by.
    pub lift: Option<Lift>,
    /// An hour before the pull request was opened, where that is known: nothing was spent on it earlier.
    pub opened: Option<Timestamp>,
    /// A subscription pays for the run, so that it is charged no dollars and no limit applies.
    pub subscription: bool,
}

impl Limits {
    /// The limits as the ledger takes them.
    #[must_use]
    pub fn for_ledger(&self) -> Vec<Limit> {
        self.applied.iter().map(|applied| applied.limit.clone()).collect()
    }

    /// The same limits on a ledger that several repositories share: every purse is this repository's own,
    /// but for that of its owner. `repository` tells it from all others, such as `github.com/4711`.
    #[must_use]
    pub fn on_shared_ledger(mut self, repository: &str, event: &Event) -> Self {
        for applied in &mut self.applied {
            applied.limit.purse = on_ledger(&applied.limit.purse, Some(repository));
        }
        self.purses = self.purses.iter().map(|purse| on_ledger(purse, Some(repository))).collect();
        self.purses.extend(org(event));
        self.purses.sort();
        self.purses.dedup();
        self
    }

    /// The purse of the pull request at hand.
    #[must_use]
    pub fn pull_request(&self) -> Option<&str> {
        self.purses.iter().map(String::as_str).find(|purse| plain_purse(purse).starts_with("pr:"))
    }

    /// These limits, each raised by an override.
    #[must_use]
    pub fn lifted(mut self, lift: Lift) -> Self {
        for applied in &mut self.applied {
            applied.limit.usd += lift.usd;
        }
        Self { lift: Some(lift), ..self }
    }

    /// The limits of a run that a subscription pays for: none, since they are all in dollars. Its purses
    /// stay, by which reports find it.
    #[must_use]
    pub fn of_subscription(mut self) -> Self {
        if !self.applied.is_empty() {
            self.skipped.push("budgets in dollars, since a subscription pays for this run".to_owned());
        }
        Self { applied: Vec::new(), lift: None, subscription: true, ..self }
    }

    /// Where in the budget file a limit comes from.
    #[must_use]
    pub fn source_of(&self, limit: &Limit) -> Option<&BudgetLine> {
        self.applied.iter().find(|applied| applied.limit == *limit).map(|applied| &applied.source)
    }
}

/// The limits that apply to a run of `task` for `event`, at `now`.
///
/// In observe mode every limit only counts: nothing is cut or refused.
#[must_use]
pub fn apply(budget: &Budget, event: &Event, workflow: Option<&str>, task: Task, now: Timestamp) -> Limits {
    let opened = opened(event).filter(|opened| *opened <= now);
    let mut limits = Limits { purses: purses(event, workflow, task), opened, ..Limits::default() };
    let added = workflow.and_then(|path| budget.workflows.get(path));
    for line in budget.budgets.iter().chain(added.into_iter().flatten()) {
        match purse(&line.scope, event, workflow, task) {
            Ok(purse) => {
                let mut window = window(line.per, now, &budget.timezone);
                if line.scope == Scope::Pr && line.per == Period::Total {
                    window.start = limits.opened.unwrap_or(window.start);
                }
                let limit = Limit {
                    purse,
                    per: per(line.per).to_owned(),
                    window,
                    usd: line.usd,
                    enforce: enforce(line.enforce, budget.mode),
                };
                // The share is a limit of its own, beside the whole that it is a share of.
                let share = pace::share(line, &limit.window, now, &budget.timezone);
                let paced =
                    share.map(|usd| Limit { per: format!("{PACED}{}", limit.per), usd, ..limit.clone() });
                let all = std::iter::once(limit).chain(paced);
                limits.applied.extend(all.map(|limit| Applied { limit, source: line.clone() }));
            }
            Err(reason) => limits.skipped.push(format!("{} budget: {reason}", scope_name(&line.scope))),
        }
    }
    limits
}

/// From when on the pull request can have spent anything: so its first run need not look through the whole
/// ledger for others. An hour before it was opened, since clocks differ.
fn opened(event: &Event) -> Option<Timestamp> {
    let opened = Timestamp::from_second(event.change.as_ref()?.opened?.as_second()).ok()?;
    opened.checked_sub(SignedDuration::from_hours(1)).ok()
}

/// What an owner's purse begins with.
const ORG: &str = "org:";
/// The purse of the repository's owner.
fn org(event: &Event) -> Option<String> {
    let (owner, _) = event.repository.split_once('/')?;
    Some(format!("{ORG}{}", owner.to_ascii_lowercase()))
}

/// What a ledger calls a purse: on a shared one, it is of a `repository`, but for its owner's.
#[must_use]
pub fn on_ledger(purse: &str, repository: Option<&str>) -> String {
    match repository {
        Some(repository) if !purse.starts_with(ORG) => format!("{repository}{BETWEEN}{purse}"),
        _ => purse.to_owned(),
    }
}

fn window(period: Period, now: Timestamp, timezone: &TimeZone) -> Window {
    let (start, end) = period.window(now, timezone);
    Window { start, end }
}

fn enforce(enforce: Enforce, mode: Mode) -> ledger::Enforce {
    match (mode, enforce) {
        (Mode::Observe, _) | (Mode::Enforce, Enforce::Warn) => ledger::Enforce::Count,
        (Mode::Enforce, Enforce::Hard) => ledger::Enforce::Hard,
        (Mode::Enforce, Enforce::Soft) => ledger::Enforce::Soft,
    }
}

fn per(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
        Period::Total => "total",
    }
}

/// A scope's name as the budget file writes it.
#[must_use]
pub fn scope_name(scope: &Scope) -> String {
    match scope {
        Scope::Org => "org".to_owned(),
        Scope::Repo => "repo".to_owned(),
        Scope::Workflow => "workflow".to_owned(),
        Scope::Task => "task".to_owned(),
        Scope::Actor => "actor".to_owned(),
        Scope::Pr => "pr".to_owned(),
        Scope::Label(label) => format!("label `{label}`"),
    }
}

/// The purse a scope means for this run, or why it means none.
fn purse(scope: &Scope, event: &Event, workflow: Option<&str>, task: Task) -> Result<String, String> {
    let number = event.change.as_ref().and_then(|change| change.number);
    match scope {
        Scope::Org => org(event).ok_or_else(|| "this repository has no owner".to_owned()),
        Scope::Repo => Ok("repo".to_owned()),
        Scope::Workflow => match workflow {
            Some(path) => Ok(format!("workflow:{path}")),
            None => Err("this run belongs to no workflow".to_owned()),
        },
        Scope::Task => Ok(format!("task:{task}")),
        Scope::Actor => match event.actor.login.as_str() {
            "" => Err("nobody is known to have caused this run".to_owned()),
            login => Ok(format!("actor:{login}")),
        },
        Scope::Pr => match number {
            Some(number) => Ok(format!("pr:{number}")),
            None => Err("this run is for no pull request".to_owned()),
        },
        Scope::Label(label) => {
            let labels = event.change.as_ref().map_or(&[][..], |change| &change.labels);
            match labels.iter().any(|set| set == label) {
                true => Ok(format!("label:{label}")),
                false => Err("the label is not set".to_owned()),
            }
        }
    }
}

/// Every purse the run's spend belongs to, named by a budget today or not.
fn purses(event: &Event, workflow: Option<&str>, task: Task) -> Vec<String> {
    let labels = event.change.as_ref().map_or(&[][..], |change| &change.labels);
    let unlabelled = [Scope::Repo, Scope::Workflow, Scope::Task, Scope::Actor, Scope::Pr];
    let labelled = labels.iter().map(|label| Scope::Label(label.clone()));
    let all = unlabelled.into_iter().chain(labelled);
    let mut purses: Vec<String> = all.filter_map(|scope| purse(&scope, event, workflow, task).ok()).collect();
    purses.sort();
    purses.dedup();
    purses
}

/// A limit as people name it: `monthly repo budget`, `paced daily budget of octocat`, `total budget of pull
/// request #17`.
#[must_use]
pub fn name(limit: &Limit) -> String {
    let (pace, per) = match limit.per.strip_prefix(PACED) {
        Some(per) => ("paced ", per),
        None => ("", limit.per.as_str()),
    };
    let often = match per {
        "day" => "daily",
        "week" => "weekly",
        "month" => "monthly",
        _ => "total",
    };
    let purse = limit.plain_purse();
    match purse.split_once(':') {
        None => format!("{pace}{often} {purse} budget"),
        Some(("pr", number)) => format!("{pace}{often} budget of pull request #{number}"),
        Some(("actor", login)) => format!("{pace}{often} budget of {login}"),
        Some(("label", label)) => format!("{pace}{often} budget of label `{label}`"),
        Some((kind, value)) => format!("{pace}{often} budget of {kind} {value}"),
    }
}

/// Whose spend a budget counts: one purse, or each purse of a kind by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purses {
    /// This purse.
    One(String),
    /// Every purse whose name begins so, such as `pr:`.
    Each(&'static str),
}

impl Purses {
    /// The purse that spend with these purses counts for, if any; on a shared ledger, only what is this
    /// `repository`'s or its owner's.
    #[must_use]
    pub fn pick<'a>(&self, purses: &'a [String], repository: Option<&str>) -> Option<&'a str> {
        let own = |purse: &'a String| match repository {
            Some(repository) if !purse.starts_with(ORG) => {
                purse.strip_prefix(repository)?.strip_prefix(BETWEEN)
            }
            _ => Some(purse.as_str()),
        };
        let counts = |purse: &&str| match self {
            Purses::One(one) => *purse == one,
            Purses::Each(kind) => purse.starts_with(kind),
        };
        purses.iter().filter_map(own).find(counts)
    }
}

/// A budget as it stands whatever the run: over its window of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose spend counts.
    pub purses: Purses,
    /// The limit; its purse is empty where the budget counts for each of a kind.
    pub limit: Limit,
}

/// Every budget of the file over its window around `now`, those of single workflows included.
#[must_use]
pub fn standing(budget: &Budget, now: Timestamp) -> Vec<Standing> {
    let own = budget.budgets.iter().map(|line| (line, None));
    let added =
        budget.workflows.iter().flat_map(|(path, lines)| lines.iter().map(move |line| (line, Some(path))));
    let mut found: Vec<Standing> = Vec::new();
    for (line, path) in own.chain(added) {
        let purses = match (&line.scope, path) {
            (Scope::Org, _) => Purses::Each(ORG),
            (Scope::Repo, _) => Purses::One("repo".to_owned()),
            (Scope::Workflow, Some(path)) => Purses::One(format!("workflow:{path}")),
            (Scope::Workflow, None) => Purses::Each("workflow:"),
            (Scope::Task, _) => Purses::Each("task:"),
            (Scope::Actor, _) => Purses::Each("actor:"),
            (Scope::Pr, _) => Purses::Each("pr:"),
            (Scope::Label(label), _) => Purses::One(format!("label:{label}")),
        };
        let purse = match &purses {
            Purses::One(purse) => purse.clone(),
            Purses::Each(_) => String::new(),
        };
        let limit = Limit {
            purse,
            per: per(line.per).to_owned(),
            window: window(line.per, now, &budget.timezone),
            usd: line.usd,
            enforce: enforce(line.enforce, budget.mode),
        };
        let standing = Standing { purses, limit };
        if !found.contains(&standing) {
            found.push(standing);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Change, Kind};

    /// The windows of a run's limits on a pull request that was opened then.
    fn windows(opened: Option<&str>) -> Vec<String> {
        let file = "version: 1\nbudgets:\n  - { scope: pr, per: total, usd: 5 }\n  - { scope: pr, per: month, usd: 5 }\n  - { scope: repo, per: total, usd: 5 }\n";
        let budget = crate::budget::parse(file, "f.yml").expect("it is valid");
        let opened = opened.map(|text| text.parse().expect("an instant"));
        let mut event = Event::bare(Kind::PullRequest, "o/r");
        event.change = Some(Change { number: Some(17), opened, ..Change::default() });
        let now = "2026-11-28T12:00:00Z".parse().expect("an instant");
        let applied = apply(&budget, &event, None, Task::Review, now).applied;
        applied.iter().map(|applied| applied.limit.window.start.to_string()).collect()
    }

    #[test]
    fn the_whole_of_a_pull_request_begins_an_hour_before_it_was_opened() {
        let (month, always) = ("2026-11-01T00:00:00Z", "1970-01-01T00:00:00Z");
        assert_eq!(windows(Some("2026-11-20T08:30:00Z")), ["2026-11-20T07:30:00Z", month, always]);
        assert_eq!(windows(Some("2026-11-20T08:30:00.25Z")), ["2026-11-20T07:30:00Z", month, always]);
        // What is not yet open by our clock is no reason to refuse a run.
        assert_eq!(windows(Some("2027-01-01T00:00:00Z")), [always, month, always]);
        assert_eq!(windows(None), [always, month, always]);
    }
}
