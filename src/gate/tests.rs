//! Whole verdicts, over values.

use std::collections::BTreeMap;

use super::*;
use crate::budget::BudgetLine;
use crate::ledger::Window;
use crate::limits::Applied;

fn usd(text: &str) -> Usd {
    text.parse().expect("an amount")
}

fn budget() -> Budget {
    let mut budget = Budget::builtin();
    budget.mode = Mode::Enforce;
    budget.path = Some(".github/tollgate.yml".to_owned());
    budget.on.cap = BTreeMap::from([(Task::Review, FailOr::Fail), (Task::Docs, FailOr::Warn)]);
    budget
}

fn limit(purse: &str, usd_text: &str, enforce: Enforce) -> Limit {
    Limit {
        purse: purse.to_owned(),
        per: "month".to_owned(),
        window: Window {
            start: "2026-11-01T00:00:00Z".parse().expect("an instant"),
            end: Some("2026-12-01T00:00:00Z".parse().expect("an instant")),
        },
        usd: usd(usd_text),
        enforce,
    }
}

fn limits(limit: &Limit, enforce: crate::budget::Enforce) -> Limits {
    let source = BudgetLine {
        pace: crate::budget::Pace::Free,
        scope: crate::budget::Scope::Repo,
        per: crate::budget::Period::Month,
        usd: limit.usd,
        enforce,
        line: 4,
    };
    Limits { applied: vec![Applied { limit: limit.clone(), source }], ..Limits::default() }
}

fn balance(limit: &Limit, settled: &str, held: &str) -> Balance {
    Balance { limit: limit.clone(), settled: usd(settled), held: usd(held) }
}

fn ran<'a>(balances: &'a [Balance]) -> Ran<'a> {
    Ran {
        agent: AgentEnd::Fine,
        cap: usd("0.80"),
        spent: usd("0.31"),
        capped: false,
        cut_by: None,
        requests: 12,
        overrun: None,
        balances,
        subscription: None,
    }
}

fn said(gate: &Gate) -> String {
    let hint = gate.hint.as_deref().unwrap_or("-");
    format!("{} {} {}: {} | {hint}", gate.code, gate.verdict.as_str(), gate.outcome.as_str(), gate.reason)
}

#[test]
fn a_run_within_its_budgets_passes() {
    let limit = limit("repo", "200", Enforce::Hard);
    let balances = [balance(&limit, "142.10", "0")];
    let limits = limits(&limit, crate::budget::Enforce::Hard);
    let gate = decide(&budget(), Task::Review, &limits, &Ending::Ran(ran(&balances)));
    assert_eq!(said(&gate), "0 pass completed: $0.31 of $0.80 spent, within every budget | -");
}

#[test]
fn an_exceeded_budget_fails_and_says_which_by_how_much_and_how_to_raise_it() {
    let limit = limit("repo", "200", Enforce::Soft);
    let balances = [balance(&limit, "203.25", "0")];
    let limits = limits(&limit, crate::budget::Enforce::Soft);
    let gate = decide(&budget(), Task::Review, &limits, &Ending::Ran(ran(&balances)));
    assert_eq!(
        said(&gate),
        "3 fail completed: the monthly repo budget is exceeded by $3.25: $203.25 of $200.00 spent | \
         raise its `usd` in .github/tollgate.yml line 4 to at least $203.25, or wait: it starts anew on 1 Dec 2026"
    );
}

#[test]
fn a_budget_used_up_exactly_passes_with_a_warning() {
    let limit = limit("repo", "200", Enforce::Hard);
    let balances = [balance(&limit, "200", "0")];
    let limits = limits(&limit, crate::budget::Enforce::Hard);
    let gate = decide(&budget(), Task::Review, &limits, &Ending::Ran(ran(&balances)));
    assert_eq!((gate.code, gate.verdict), (exit::PASS, Verdict::Warn));
    assert_eq!(gate.reason, "the monthly repo budget of $200.00 is used up exactly; the next run is refused");
}

#[test]
fn a_refused_run_fails_or_passes_by_policy() {
    let limit = limit("pr:17", "5", Enforce::Hard);
    let by = balance(&limit, "4.70", "0.295");
    let limits = limits(&limit, crate::budget::Enforce::Hard);
    let ending = Ending::Refused { by: &by, least: usd("0.02") };
    let gate = decide(&budget(), Task::Docs, &limits, &ending);
    assert_eq!(
        said(&gate),
        "3 fail refused: the run was not started: $4.70 of the monthly budget of pull request #17 of $5.00 is \
         spent and $0.30 is held by runs that are under way, which leaves $0.0050, and a run needs $0.02 at \
         least | raise its `usd` in .github/tollgate.yml line 4 to at least $5.02, or wait: it starts anew on 1 Dec 2026"
    );
    let mut lenient = budget();
    lenient.on.refused = FailOr::Pass;
    let gate = decide(&lenient, Task::Docs, &limits, &ending);
    assert_eq!((gate.code, gate.verdict), (exit::PASS, Verdict::Warn));
}

#[test]
fn the_cap_fails_by_task_and_counts_as_the_budget_that_cut_it() {
    let limit = limit("repo", "200", Enforce::Hard);
    let balances = [balance(&limit, "199.99", "0")];
    let limits = limits(&limit, crate::budget::Enforce::Hard);
    let capped = Ran { capped: true, ..ran(&balances) };
    let gate = decide(&budget(), Task::Review, &limits, &Ending::Ran(capped.clone()));
    assert_eq!(
        said(&gate),
        "4 fail capped: the agent was stopped at its cap, $0.31 of $0.80 spent | raise `max_usd` of the tier in \
         .github/tollgate.yml if such work is worth more, or split the task"
    );
    let gate = decide(&budget(), Task::Docs, &limits, &Ending::Ran(capped.clone()));
    assert_eq!((gate.code, gate.verdict, gate.outcome), (exit::PASS, Verdict::Warn, Outcome::Capped));
    let cut = Ran { cut_by: Some(&limit), ..capped };
    let gate = decide(&budget(), Task::Docs, &limits, &Ending::Ran(cut));
    assert_eq!(
        said(&gate),
        "3 fail capped: the agent was stopped at its cap, $0.31 of $0.80 spent, which is what the monthly repo \
         budget of $200.00 had left | raise its `usd` in .github/tollgate.yml line 4 to at least $200.80, or wait: it \
         starts anew on 1 Dec 2026"
    );
}

#[test]
fn each_way_to_end_has_its_code() {
    let none = Limits::default();
    let cases: &[(Ran<'_>, u8, Outcome)] = &[
        (Ran { requests: 0, spent: Usd::ZERO, ..ran(&[]) }, exit::GATE, Outcome::Unmetered),
        (Ran { agent: AgentEnd::Failed, ..ran(&[]) }, exit::AGENT, Outcome::AgentFailed),
        (Ran { agent: AgentEnd::TimedOut, ..ran(&[]) }, exit::AGENT, Outcome::TimedOut),
        (Ran { agent: AgentEnd::Cancelled(143), ..ran(&[]) }, exit::TERMINATED, Outcome::Cancelled),
        (Ran { agent: AgentEnd::Failed, capped: true, ..ran(&[]) }, exit::CAP, Outcome::Capped),
        (Ran { overrun: Some("x"), ..ran(&[]) }, exit::GATE, Outcome::Completed),
        (Ran { overrun: Some("x"), agent: AgentEnd::Failed, ..ran(&[]) }, exit::GATE, Outcome::AgentFailed),
    ];
    for (ran, code, outcome) in cases {
        let gate = decide(&budget(), Task::Review, &none, &Ending::Ran(ran.clone()));
        assert_eq!((gate.code, gate.outcome), (*code, *outcome), "{ran:?}");
    }
}

#[test]
fn observe_mode_says_what_would_have_failed_and_passes() {
    let limit = limit("repo", "200", Enforce::Count);
    let balances = [balance(&limit, "203.25", "0")];
    let limits = limits(&limit, crate::budget::Enforce::Hard);
    let mut observing = budget();
    observing.mode = Mode::Observe;
    let gate = decide(&observing, Task::Review, &limits, &Ending::Ran(ran(&balances)));
    assert_eq!(
        said(&gate),
        "0 warn completed: observe mode, so the check passes although the monthly repo budget is exceeded by \
         $3.25: $203.25 of $200.00 spent | write `mode: enforce` in the budget file to let budgets stop runs and \
         fail checks"
    );
}

#[test]
fn a_subscription_is_judged_by_tokens() {
    let tokens = |used, most| Some(Tokens { used, most });
    let quiet =
        Ran { spent: Usd::ZERO, cap: Usd::ZERO, subscription: tokens(84_120, Some(1_000_000)), ..ran(&[]) };
    let judged = |ran: Ran<'_>| said(&decide(&budget(), Task::Docs, &Limits::default(), &Ending::Ran(ran)));
    assert_eq!(
        judged(quiet.clone()),
        "0 pass completed: 84,120 of 1,000,000 new tokens of a subscription used, and no dollars | -"
    );
    assert_eq!(
        judged(Ran { subscription: tokens(7, None), ..quiet.clone() }),
        "0 pass completed: 7 new tokens of a subscription used, and no dollars | -"
    );
    assert_eq!(
        judged(Ran { capped: true, subscription: tokens(999_000, Some(1_000_000)), ..quiet }),
        "0 warn capped: the agent was stopped at its cap, 999,000 of 1,000,000 new tokens of a subscription used | \
         raise `max_tokens` of the tier in .github/tollgate.yml if such work is worth more, or split the task"
    );
}

#[test]
fn an_even_pace_refuses_runs_and_fails_nothing_else() {
    let whole = limit("repo", "200", Enforce::Hard);
    let paced = Limit { per: "paced-month".to_owned(), usd: usd("20"), ..whole.clone() };
    let spent = balance(&paced, "25", "0");
    let limits = limits(&paced, crate::budget::Enforce::Hard);
    let ending = Ending::Refused { by: &spent, least: usd("0.02") };
    assert_eq!(
        said(&decide(&budget(), Task::Review, &limits, &ending)),
        "3 fail refused: the run was not started: $25.00 of the paced monthly repo budget of $20.00 is spent, which leaves $0.00, and a run needs $0.02 at least | wait: each day frees its share of the budget, or remove `pace: even` in .github/tollgate.yml line 4"
    );
    // Spent faster than the pace, and within the budget.
    let gate = standing(&budget(), &limits, std::slice::from_ref(&spent));
    assert_eq!(said(&gate), "0 pass completed: every budget is within its limit | -");
}
