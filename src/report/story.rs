//! A run as sentences and rows: what every renderer for people says, in plain text.

use super::around::Sibling;
use super::{BudgetState, Run, text};
use crate::ledger::Enforce;
use crate::money::Usd;
use crate::outcome::{Outcome, Verdict};
use crate::tokens::Counts;

/// The report in one line: what it cost of what it might, and how things stand.
pub(super) fn headline(run: &Run) -> String {
    let kind = if run.simulated { " (simulated)" } else { "" };
    let notional = match run.totals.notional {
        Usd::ZERO => String::new(),
        notional => format!(", notional {}", notional.shown()),
    };
    let spent = match (&run.served, run.enforced) {
        _ if run.subscription.is_some_and(|_| run.served.is_some()) => {
            run.subscription.map(text::of_subscription).unwrap_or_default()
        }
        (Some(served), true) => format!("{} of {}", run.totals.settled.shown(), served.cap.shown()),
        _ => run.totals.settled.shown().to_string(),
    };
    let observed = if run.enforced { "" } else { " · observed, nothing is enforced" };
    match run.gate.outcome {
        Outcome::Refused => format!("Agent not started{kind}: {}{observed}", why_refused(run)),
        Outcome::Unmetered => {
            format!("Agent cost unknown{kind}: no request reached the meter{observed}")
        }
        _ => format!("Agent cost{kind}: {spent}{notional} · {}{observed}", standing(run)),
    }
}

fn why_refused(run: &Run) -> String {
    match run.tightest() {
        Some(state) if state.balance.left() == Usd::ZERO => {
            format!("{} is used up", name(state))
        }
        Some(state) if !run.public => {
            format!("{} has only {} left", name(state), state.balance.left().shown())
        }
        Some(state) => format!("{} has too little left", name(state)),
        None => run.gate.reason.clone(),
    }
}

/// How things stand after a run, the gravest first.
fn standing(run: &Run) -> String {
    if run.totals.overrun.is_some() {
        return "a request cost more than its bound".to_owned();
    }
    let over = |state: &&BudgetState| state.balance.settled > state.balance.limit.usd;
    let counts_only = |state: &BudgetState| state.balance.limit.enforce == Enforce::Count;
    let exceeded = run.budgets.iter().filter(over).min_by_key(|state| counts_only(state));
    if let Some(state) = exceeded {
        let by = state.balance.settled - state.balance.limit.usd;
        return format!("{} exceeded by {}", name(state), by.shown());
    }
    match run.gate.outcome {
        Outcome::Capped => return "stopped at its cap".to_owned(),
        Outcome::TimedOut => return "stopped when its time was up".to_owned(),
        Outcome::Cancelled => return "cancelled".to_owned(),
        Outcome::AgentFailed => return "the agent failed".to_owned(),
        Outcome::Completed | Outcome::Refused | Outcome::Unmetered => {}
    }
    let used_up = run.budgets.iter().find(|state| state.balance.settled == state.balance.limit.usd);
    match (used_up, run.gate.verdict, run.budgets.len()) {
        (Some(state), _, _) => format!("{} used up", name(state)),
        (None, Verdict::Fail, _) => "the check fails".to_owned(),
        (None, _, 0) => "within its cap".to_owned(),
        (None, _, 1) => "within budget".to_owned(),
        (None, _, _) => "within every budget".to_owned(),
    }
}

/// A budget in a sentence. The pull request that is being looked at is this one.
fn name(state: &BudgetState) -> String {
    if state.balance.limit.is_of_pull_request() {
        return "this pull request's budget".to_owned();
    }
    state.name.clone()
}

/// One row of what was used.
pub(super) struct UsageRow {
    /// What the row is of.
    pub(super) what: String,
    /// Which part of it.
    pub(super) detail: Option<String>,
    /// The model.
    pub(super) model: String,
    /// Tokens in, cached ones included.
    pub(super) prompt: String,
    /// The share of them that came from a cache.
    pub(super) cached: String,
    /// Tokens out.
    pub(super) output: String,
    /// The cost.
    pub(super) cost: String,
    /// Whether it is the row that matters most.
    pub(super) main: bool,
}

impl UsageRow {
    fn of(what: &str, model: &str, counts: &Counts, cost: String) -> Self {
        Self::sums(what, model, (counts.prompt(), counts.cache_read, counts.output), cost)
    }

    /// The row where nothing was seen of what was used.
    fn unknown(self) -> Self {
        let none = || text::NONE.to_owned();
        Self { prompt: none(), cached: none(), output: none(), cost: "unknown".to_owned(), ..self }
    }

    fn sums(what: &str, model: &str, (prompt, cache_read, output): (u64, u64, u64), cost: String) -> Self {
        Self {
            what: what.to_owned(),
            detail: None,
            model: model.to_owned(),
            prompt: text::count(prompt),
            cached: text::share(cache_read, prompt)
                .map_or(text::NONE.to_owned(), |share| format!("{share} %")),
            output: text::count(output),
            cost,
            main: false,
        }
    }
}

/// What was used: by this run, by its side calls at other models, by the pull request so far.
pub(super) fn usage_rows(run: &Run) -> Vec<UsageRow> {
    let mut rows = Vec::new();
    if let Some(served) = &run.served {
        // A provider may answer with a snapshot's full name; the routed one, and no other, is no side call.
        let is_routed = |id: &str| id.starts_with(served.model.as_str());
        let totals = &run.totals;
        let cost = text::cost(totals.settled, totals.notional);
        let row = UsageRow::of("this run", served.model.as_str(), &totals.counts(), cost);
        let row = UsageRow { detail: Some(run.class.task.to_string()), main: true, ..row };
        rows.push(if run.gate.outcome == Outcome::Unmetered { row.unknown() } else { row });
        let side = run.totals.by_model.iter().filter(|(id, _)| !is_routed(id.as_str()));
        rows.extend(side.map(|(id, used)| {
            let cost = text::cost(used.usd, used.notional);
            UsageRow::of("of which side calls", id.as_str(), &used.counts, cost)
        }));
    }
    rows.extend(sibling_rows(&run.around.siblings));
    // The pull request's first run is all there is: the row would say the same again.
    let purse = run.pull_request.filter(|purse| purse.runs > 1 || run.served.is_none() && purse.runs > 0);
    if let Some(purse) = purse {
        let what = format!("this pull request, {}", text::plural(purse.runs, "run", "runs"));
        let cost = text::cost(purse.usd, purse.notional);
        rows.push(UsageRow::sums(&what, "", (purse.prompt, purse.cache_read, purse.output), cost));
    }
    rows
}

/// Other runs of the same workflow run.
pub(super) fn sibling_rows(siblings: &[Sibling]) -> Vec<UsageRow> {
    let row = |sibling: &Sibling| {
        let (usd, prompt, cached, output) = sibling.spent;
        let what = format!("job {}", sibling.job);
        let cost = text::cost(usd, sibling.notional);
        let row = UsageRow::sums(&what, &sibling.model, (prompt, cached, output), cost);
        let row = UsageRow { detail: Some(sibling.task.clone()), ..row };
        match sibling.held {
            Some(Usd::ZERO) => UsageRow { cost: "running".to_owned(), ..row.unknown() },
            Some(held) => UsageRow { cost: format!("running, cap {}", held.shown()), ..row.unknown() },
            None => row,
        }
    };
    siblings.iter().map(row).collect()
}

/// One row of where a budget stands.
pub(super) struct BudgetRow {
    /// Whose budget, and for which time.
    pub(super) what: String,
    /// What has been spent, and what runs under way may still spend.
    pub(super) spent: String,
    /// The spent share, in percent.
    pub(super) percent: u32,
    /// The limit.
    pub(super) limit: String,
    /// Where it is heading.
    pub(super) forecast: Option<text::Forecast>,
    /// Whether the limit is passed.
    pub(super) over: bool,
}

/// Where every budget stands. With `outsiders` reading, what is left to burn stays out: the pull
/// request's own budget and used-up ones remain.
pub(super) fn budget_rows(run: &Run, outsiders: bool) -> Vec<BudgetRow> {
    let shown = |state: &&BudgetState| {
        let open = state.balance.settled < state.balance.limit.usd;
        !(outsiders && open) || state.balance.limit.is_of_pull_request()
    };
    run.budgets.iter().filter(shown).map(|state| budget_row(run, state)).collect()
}

fn budget_row(run: &Run, state: &BudgetState) -> BudgetRow {
    let balance = &state.balance;
    let held = match balance.held {
        Usd::ZERO => String::new(),
        held => format!(" + {} held", held.shown()),
    };
    let warns = match (balance.limit.enforce, run.enforced) {
        (Enforce::Count, true) => " (only warns)",
        _ => "",
    };
    BudgetRow {
        what: format!("{}{warns}", text::label(&balance.limit, &run.timezone)),
        spent: format!("{}{held}", balance.settled.shown()),
        percent: balance.settled.percent_of(balance.limit.usd),
        limit: balance.limit.usd.shown().to_string(),
        forecast: text::forecast(balance, run.ended(), &run.timezone),
        over: balance.settled > balance.limit.usd,
    }
}

/// The verdict's sentence where there is more to say than the headline did.
pub(super) fn reason(run: &Run) -> Option<String> {
    (run.gate.verdict != Verdict::Pass).then(|| text::sentence(&run.gate.reason))
}

/// What to do about it.
pub(super) fn hint(run: &Run) -> Option<String> {
    run.gate.hint.as_deref().map(text::sentence)
}

/// A part of what is folded away.
pub(super) struct Section {
    /// Its title.
    pub(super) title: &'static str,
    /// Its sentences.
    pub(super) lines: Vec<String>,
}

/// What is worth knowing and not worth a look at first.
pub(super) fn sections(run: &Run) -> Vec<Section> {
    let all = [
        Section { title: "Why this tier", lines: why(run) },
        Section { title: "What routing and caching saved", lines: saved(run) },
        Section { title: "What happened at the cap", lines: at_the_cap(run) },
        Section { title: "Worth knowing", lines: notes(run) },
        Section { title: "How to change it", lines: change(run) },
    ];
    all.into_iter().filter(|section| !section.lines.is_empty()).collect()
}

fn why(run: &Run) -> Vec<String> {
    let class = &run.class;
    let mut lines = Vec::new();
    if let Some(served) = &run.served {
        lines.push(text::sentence(&served.reason));
    }
    let sure =
        format!("It was taken for {} at {} stakes ({} % sure)", class.task, class.stakes, class.confidence);
    lines.push(match class.reasons.as_slice() {
        [] => format!("{sure}."),
        reasons => text::sentence(&format!("{sure}: {}", reasons.join("; "))),
    });
    lines
}

fn saved(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((model, usd)) = &run.savings.routing {
        lines.push(format!(
            "Routing saved {}: at list price, the same tokens at {}, the high tier's model, cost that much more.",
            usd.shown(),
            text::quote(model.as_str()),
        ));
    }
    let caching = run.savings.caching;
    if caching > Usd::ZERO {
        let amount = caching.shown();
        lines.push(format!("Caching saved {amount}: without a cache, the same prompts cost that much more."));
    } else if caching < Usd::ZERO {
        let amount = (Usd::ZERO - caching).shown();
        lines.push(format!("Caching cost {amount} more than it saved: more was written than read again."));
    }
    lines
}

fn at_the_cap(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    if run.totals.stopped_requests > 0 {
        let requests = text::plural(run.totals.stopped_requests, "request was", "requests were");
        lines.push(format!(
            "{requests} answered without being sent: the worst case no longer fitted into what was left."
        ));
    }
    if run.gate.outcome == Outcome::Capped {
        lines.extend(
            run.result.as_ref().map(|_| "What the agent said last is in the job summary.".to_owned()),
        );
        lines.extend(
            run.files.patch.as_ref().map(|_| "Its uncommitted work is kept as `partial.patch`.".to_owned()),
        );
    }
    if run.totals.estimated > Usd::ZERO {
        let amount = run.totals.estimated.shown();
        lines.push(format!(
            "{amount} of the cost is a worst case: those answers ended before they said their usage."
        ));
    }
    if let Some(overrun) = &run.totals.overrun {
        lines.push(text::sentence(overrun));
    }
    lines
}

fn notes(run: &Run) -> Vec<String> {
    let notional = (run.totals.notional > Usd::ZERO).then(|| {
        "Notional dollars are list prices of what a subscription paid for: nobody is charged them, and no budget counts them."
            .to_owned()
    });
    let noted = run.notes.iter().chain(&run.totals.notes).map(|note| text::sentence(note));
    let all = notional.into_iter().chain(noted);
    all.chain(run.skipped.iter().map(|why| format!("Not counted: {why}."))).collect()
}

fn change(run: &Run) -> Vec<String> {
    let Some(file) = &run.budget_file else {
        return vec![
            "There is no budget file, so defaults hold. `tollgate init` writes `.github/tollgate.yml`."
                .to_owned(),
        ];
    };
    let file = text::quote(file);
    let mut lines = Vec::new();
    if let Some(served) = &run.served {
        let tier = served.tier;
        let by_tokens = format!(
            "This run's cap is `max_tokens` of `tiers.{tier}` in {file}, and its time: dollars do not cap a subscription."
        );
        lines.push(if run.subscription.is_some() { by_tokens } else { format!(
            "This run's cap is `max_usd` of `tiers.{tier}` in {file}, or what a budget has left where that is less."
        )});
    }
    lines.push(format!(
        "Limits are under `budgets` in {file}. A change counts once it is on the default branch."
    ));
    lines
}

/// How long it took, and the hold it ran on.
pub(super) fn footer(run: &Run) -> String {
    let mut parts = Vec::new();
    if run.simulated {
        parts.push("a simulation: no money was spent".to_owned());
    }
    if let Some(served) = &run.served {
        parts.push(text::plural(run.totals.requests, "request", "requests"));
        parts.push(text::duration(run.took));
        parts.push(format!("{} tier", served.tier));
        parts.push(format!("hold {}", text::quote(served.hold.as_str())));
    }
    parts.extend(
        run.around.commit.as_ref().map(|commit| format!("commit {}", text::quote(text::short(commit)))),
    );
    parts.join(" · ")
}
