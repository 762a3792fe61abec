//! The gate: one pure verdict that feeds the comment, the step outputs and the exit code alike.

use crate::budget::{Budget, FailOr, Mode};
use crate::exit;
use crate::ledger::{Balance, Enforce, Limit};
use crate::limits::{self, Limits};
use crate::money::{Usd, group};
use crate::outcome::{Outcome, Verdict};
use crate::task::Task;

/// What the gate says, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Pass, warn or fail.
    pub verdict: Verdict,
    /// How the run ended.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit code.
    pub code: u8,
}

/// How a run ended, as far as the gate must know.
#[derive(Clone, Debug)]
pub enum Ending<'a> {
    /// It was not started: too little was left of a budget.
    Refused {
        /// The budget.
        by: &'a Balance,
        /// The least a run is started with.
        least: Usd,
    },
    /// It ran.
    Ran(Ran<'a>),
    /// It ran, and its meter was gone before it could say what that cost.
    Uncounted {
        /// How the agent ended.
        agent: AgentEnd,
        /// What it is charged.
        charged: Usd,
        /// Its journal proves that; else it is the whole hold.
        proven: bool,
        /// The budgets after that.
        balances: &'a [Balance],
    },
}

/// A run that took place.
#[derive(Clone, Debug)]
pub struct Ran<'a> {
    /// How the agent ended.
    pub agent: AgentEnd,
    /// The run's cap.
    pub cap: Usd,
    /// What the run spent.
    pub spent: Usd,
    /// Whether the cap stopped it.
    pub capped: bool,
    /// The budget that had cut the cap below the tier's, if one had.
    pub cut_by: Option<&'a Limit>,
    /// Requests forwarded.
    pub requests: u64,
    /// A request cost more than its bound: what it was.
    pub overrun: Option<&'a str>,
    /// The budgets after settling.
    pub balances: &'a [Balance],
    /// A subscription paid for it: what it used, and of how much.
    pub subscription: Option<Tokens>,
}

/// New tokens of a run that a subscription paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What it used.
    pub used: u64,
    /// The tier's cap on them.
    pub most: Option<u64>,
}

impl Ran<'_> {
    /// What was used of what might be: dollars, or new tokens where a subscription pays.
    fn share(&self) -> String {
        let Some(Tokens { used, most }) = self.subscription else {
            return format!("{} of {} spent", self.spent.shown(), self.cap.shown());
        };
        let most = most.map_or(String::new(), |most| format!(" of {}", group(most.into())));
        format!("{}{most} new tokens of a subscription used", group(used.into()))
    }
}

/// How an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentEnd {
    /// By itself, saying that all is well.
    Fine,
    /// By itself, with an error.
    Failed,
    /// Its time was up.
    TimedOut,
    /// Cancelled; the exit code of the signal.
    Cancelled(u8),
}

/// One thing that speaks against passing.
struct Finding {
    code: u8,
    fails: bool,
    reason: String,
    hint: Option<String>,
}

/// Decides.
///
/// Where several things speak against passing, the exit code follows [`exit::worst`], and the reason is
/// that of the winner.
#[must_use]
pub fn decide(budget: &Budget, task: Task, limits: &Limits, ending: &Ending<'_>) -> Gate {
    let (outcome, findings) = match ending {
        Ending::Refused { by, least } => (Outcome::Refused, vec![refused(budget, limits, by, *least)]),
        Ending::Ran(ran) => (outcome(ran), findings(budget, task, limits, ran)),
        Ending::Uncounted { agent, charged, proven, balances } => {
            let uncounted = uncounted(budget, *charged, *proven);
            let over = balances.iter().filter_map(|balance| over(budget, limits, balance));
            let outcome =
                if let AgentEnd::Cancelled(_) = agent { Outcome::Cancelled } else { Outcome::Unmetered };
            (outcome, std::iter::once(uncounted).chain(over).collect())
        }
    };
    if let Ending::Ran(Ran { agent: AgentEnd::Cancelled(code), .. })
    | Ending::Uncounted { agent: AgentEnd::Cancelled(code), .. } = ending
    {
        let reason = "the run was cancelled; what it had spent is settled".to_owned();
        return Gate { verdict: Verdict::Fail, outcome, reason, hint: None, code: *code };
    }
    weigh(budget, outcome, findings, passing(ending))
}

/// No agent was run, and the policy lets that pass.
#[must_use]
pub fn skipped(verdict: Verdict, reason: &str, hint: &str) -> Gate {
    let hint = Some(hint.to_owned());
    Gate { verdict, outcome: Outcome::Refused, reason: reason.to_owned(), hint, code: exit::PASS }
}

/// The run is over, and the ledger would not take what it spent.
#[must_use]
pub fn unsettled(spent: Usd, why: &str) -> Gate {
    Gate {
        verdict: Verdict::Fail,
        outcome: Outcome::Completed,
        reason: format!("the run spent {}, and that could not be settled: {why}", spent.shown()),
        hint: Some("mend the ledger; the next command here charges the run's hold".to_owned()),
        code: exit::LEDGER,
    }
}

/// Where the budgets stand, without a run: for a required check.
#[must_use]
pub fn standing(budget: &Budget, limits: &Limits, balances: &[Balance]) -> Gate {
    let findings = balances.iter().filter_map(|balance| over(budget, limits, balance)).collect();
    weigh(budget, Outcome::Completed, findings, "every budget is within its limit".to_owned())
}

/// The verdict on everything that was found.
fn weigh(budget: &Budget, outcome: Outcome, findings: Vec<Finding>, fine: String) -> Gate {
    let failing: Vec<u8> = findings.iter().filter(|f| f.fails).map(|f| f.code).collect();
    let code = exit::worst(&failing);
    let winner = match failing.is_empty() {
        true => findings.into_iter().next(),
        false => findings.into_iter().find(|f| f.fails && f.code == code),
    };
    let Some(winner) = winner else {
        return Gate { verdict: Verdict::Pass, outcome, reason: fine, hint: None, code: exit::PASS };
    };
    if budget.mode == Mode::Observe && code != exit::PASS {
        let reason = format!("observe mode, so the check passes although {}", winner.reason);
        let hint = "write `mode: enforce` in the budget file to let budgets stop runs and fail checks";
        return Gate {
            verdict: Verdict::Warn,
            outcome,
            reason,
            hint: Some(hint.to_owned()),
            code: exit::PASS,
        };
    }
    let verdict = if winner.fails { Verdict::Fail } else { Verdict::Warn };
    Gate { verdict, outcome, reason: winner.reason, hint: winner.hint, code }
}

fn passing(ending: &Ending<'_>) -> String {
    match ending {
        Ending::Refused { .. } => "the run was not started".to_owned(),
        Ending::Ran(ran) if ran.subscription.is_some() => format!("{}, and no dollars", ran.share()),
        Ending::Ran(ran) => format!("{}, within every budget", ran.share()),
        Ending::Uncounted { charged, .. } => format!("{} charged, within every budget", charged.shown()),
    }
}

fn outcome(ran: &Ran<'_>) -> Outcome {
    ended(ran.agent, ran.capped, ran.requests)
}

/// How a run ended, whatever the budgets say of it.
#[must_use]
pub fn ended(agent: AgentEnd, capped: bool, requests: u64) -> Outcome {
    match agent {
        AgentEnd::Cancelled(_) => Outcome::Cancelled,
        AgentEnd::TimedOut => Outcome::TimedOut,
        _ if capped => Outcome::Capped,
        AgentEnd::Failed => Outcome::AgentFailed,
        AgentEnd::Fine if requests == 0 => Outcome::Unmetered,
        AgentEnd::Fine => Outcome::Completed,
    }
}

fn findings(budget: &Budget, task: Task, limits: &Limits, ran: &Ran<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(what) = ran.overrun {
        findings.push(Finding {
            code: exit::GATE,
            fails: true,
            reason: format!("a request cost more than its worst case: {what}"),
            hint: Some(
                "the spend is recorded in full; report this with the model and the request's shape"
                    .to_owned(),
            ),
        });
    }
    findings.extend(ran.balances.iter().filter_map(|balance| over(budget, limits, balance)));
    if ran.requests == 0 && ran.agent == AgentEnd::Fine && !ran.capped {
        findings.push(Finding {
            code: exit::GATE,
            fails: budget.on.unmetered == FailOr::Fail,
            reason: "the agent ran and no request reached the meter, so its spend is unknown".to_owned(),
            hint: Some(
                "let the agent use ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY as they are set for it, \
                 or write `on: { unmetered: warn }` if it may run without the model"
                    .to_owned(),
            ),
        });
    }
    if ran.capped {
        findings.push(capped(budget, task, limits, ran));
    }
    if let Some(reason) = agent_failed(ran) {
        findings.push(Finding { code: exit::AGENT, fails: true, reason, hint: None });
    }
    findings
}

/// The meter of a run was gone before its end.
fn uncounted(budget: &Budget, charged: Usd, proven: bool) -> Finding {
    let by = if proven { "as its journal proves" } else { "all of its hold" };
    Finding {
        code: exit::GATE,
        fails: budget.on.unmetered == FailOr::Fail,
        reason: format!(
            "the meter was gone before it could say what the run spent, so it is charged {}, {by}",
            charged.shown()
        ),
        hint: Some(
            "`meter.log` in the run's folder has its last words; something on the machine may have ended it"
                .to_owned(),
        ),
    }
}

fn agent_failed(ran: &Ran<'_>) -> Option<String> {
    match ran.agent {
        AgentEnd::TimedOut => Some("the agent was ended when its time was up".to_owned()),
        // An agent that the cap stopped may end with an error: the cap is what happened.
        AgentEnd::Failed if !ran.capped => Some("the agent ended with an error".to_owned()),
        _ => None,
    }
}

/// What a budget that is passed, or just used up, says.
fn over(budget: &Budget, limits: &Limits, balance: &Balance) -> Option<Finding> {
    let (spent, limit) = (balance.settled, balance.limit.usd);
    // Spending faster than an even pace is for the next run to wait out; it exceeds no budget.
    if spent < limit || balance.limit.is_paced() {
        return None;
    }
    let name = limits::name(&balance.limit);
    if spent == limit {
        return Some(Finding {
            code: exit::GATE,
            fails: false,
            reason: format!("the {name} of {} is used up exactly; the next run is refused", limit.shown()),
            hint: Some(raise(budget, limits, balance, limit + budget.on.min_run_usd)),
        });
    }
    let by = (spent - limit).shown();
    // In observe mode every limit only counts, so what the file says decides whether it would have failed.
    let source = limits.source_of(&balance.limit);
    let fails = match (balance.limit.enforce, source) {
        (Enforce::Count, Some(line)) => line.enforce != crate::budget::Enforce::Warn,
        (Enforce::Count, None) => false,
        (Enforce::Hard | Enforce::Soft, _) => true,
    };
    Some(Finding {
        code: exit::GATE,
        fails,
        reason: format!("the {name} is exceeded by {by}: {} of {} spent", spent.shown(), limit.shown()),
        hint: Some(raise(budget, limits, balance, spent)),
    })
}

fn refused(budget: &Budget, limits: &Limits, by: &Balance, least: Usd) -> Finding {
    let name = limits::name(&by.limit);
    let held = match by.held {
        Usd::ZERO => String::new(),
        held => format!(" and {} is held by runs that are under way", held.shown()),
    };
    let needed = by.settled + by.held + least;
    Finding {
        code: exit::GATE,
        fails: budget.on.refused == FailOr::Fail,
        reason: format!(
            "the run was not started: {} of the {name} of {} is spent{held}, which leaves {}, and a run needs {} at least",
            by.settled.shown(),
            by.limit.usd.shown(),
            by.left().shown(),
            least.shown(),
        ),
        hint: Some(raise(budget, limits, by, needed)),
    }
}

fn capped(budget: &Budget, task: Task, limits: &Limits, ran: &Ran<'_>) -> Finding {
    let at_cap = format!("the agent was stopped at its cap, {}", ran.share());
    let key = if ran.subscription.is_some() { "max_tokens" } else { "max_usd" };
    if let Some(limit) = ran.cut_by {
        let name = limits::name(limit);
        let balance = ran.balances.iter().find(|b| b.limit == *limit);
        return Finding {
            code: exit::GATE,
            fails: true,
            reason: format!("{at_cap}, which is what the {name} of {} had left", limit.usd.shown()),
            hint: balance.map(|b| raise(budget, limits, b, b.limit.usd + ran.cap)),
        };
    }
    Finding {
        code: exit::CAP,
        fails: budget.on.cap.get(&task).copied() == Some(FailOr::Fail),
        reason: at_cap,
        hint: Some(format!(
            "raise `{key}` of the tier in {} if such work is worth more, or split the task",
            file(budget)
        )),
    }
}

/// How to raise a budget: where it stands, and to what.
fn raise(budget: &Budget, limits: &Limits, balance: &Balance, needed: Usd) -> String {
    if balance.limit.is_paced() {
        let part = if balance.limit.per.ends_with("day") { "hour" } else { "day" };
        let place = place(budget, limits, balance);
        return format!("wait: each {part} frees its share of the budget, or remove `pace: even` in {place}");
    }
    let until = match balance.limit.window.end {
        Some(end) => {
            let day = budget.timezone.to_datetime(end).strftime("%-d %b %Y").to_string();
            format!(", or wait: it starts anew on {day}")
        }
        None => String::new(),
    };
    let place = place(budget, limits, balance);
    format!("raise its `usd` in {place} to at least {}{until}", needed.up_to_cent().shown())
}

/// Where a budget is written.
fn place(budget: &Budget, limits: &Limits, balance: &Balance) -> String {
    match limits.source_of(&balance.limit) {
        Some(line) if line.line > 0 => format!("{} line {}", file(budget), line.line),
        _ => file(budget).to_owned(),
    }
}

fn file(budget: &Budget) -> &str {
    budget.path.as_deref().unwrap_or("a budget file (`tollgate init` writes one)")
}

#[cfg(test)]
mod tests;
