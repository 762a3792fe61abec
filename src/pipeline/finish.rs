//! What is said of a run and saved from it: announcements, the live meter, results, the report.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::work::Saved;
use super::{Story, books, folder};
use crate::budget::Mode;
use crate::cli::Shell;
use crate::exit;
use crate::gate::Gate;
use crate::ledger::Balance;
use crate::ledger::event::Kind;
use crate::ledger::store::Store;
use crate::limits::{self, Limits};
use crate::meter::Totals;
use crate::money::Usd;
use crate::price::Table;
use crate::report::{
    BudgetState, Files, PurseTotal, Run, Served, annotations, comment, defuse, json, logline, outputs,
    summary, terminal,
};
use crate::route::Route;
use crate::savings::Savings;

/// Which of several comments on a pull request this is, where `TOLLGATE_COMMENT_KEY` does not say it.
const COMMENT_KEY: &str = "default";

/// Says what is about to happen.
///
/// # Errors
/// When nobody can be told.
pub(super) fn announce(
    story: &Story<'_>,
    route: &Route,
    cap: Usd,
    isolation: &str,
    shell: &mut Shell,
) -> anyhow::Result<()> {
    let class = story.class;
    writeln!(
        shell.err,
        "tollgate: {} at {} stakes ({} % sure){}",
        class.task,
        class.stakes,
        class.confidence,
        class.reasons.first().map(|reason| format!(": {}", defuse::plain(reason))).unwrap_or_default(),
    )?;
    let tokens =
        route.fresh_tokens.map(|tokens| format!(", {} new tokens", crate::money::group(tokens.into())));
    let minutes = route.timeout.as_secs().div_ceil(60);
    writeln!(
        shell.err,
        "tollgate: {} tier, {}, cap {}{}, {minutes} min; {}",
        route.tier,
        route.model,
        cap.shown(),
        tokens.unwrap_or_default(),
        route.reason,
    )?;
    writeln!(shell.err, "tollgate: isolation {isolation}")?;
    Ok(())
}

/// Budgets with their names.
#[must_use]
pub(super) fn budget_states(balances: &[Balance]) -> Vec<BudgetState> {
    let named =
        |balance: &Balance| BudgetState { name: limits::name(&balance.limit), balance: balance.clone() };
    balances.iter().map(named).collect()
}

/// What a report says of a run that took place, besides the story; nothing of one that did not.
#[derive(Default)]
pub(super) struct Facts {
    /// What served it; `None` where nothing was run.
    pub(super) served: Option<Served>,
    /// What it used.
    pub(super) totals: Totals,
    /// The budgets afterwards.
    pub(super) balances: Vec<Balance>,
    /// What the pull request has cost.
    pub(super) pull_request: Option<PurseTotal>,
    /// What was saved.
    pub(super) savings: Savings,
    /// How long it took.
    pub(super) took: Duration,
    /// What the agent left behind.
    pub(super) saved: Saved,
    /// The run's folder.
    pub(super) folder: Option<PathBuf>,
}

/// Reports a run everywhere it is to be reported: terminal, comment, summary, outputs, files.
///
/// Returns the exit code. A verdict that fails stands, whatever cannot be written.
///
/// # Errors
/// When the verdict passes, and a result cannot be written.
pub(super) fn report(story: &Story<'_>, gate: &Gate, facts: Facts, shell: &mut Shell) -> anyhow::Result<u8> {
    let run = run_of(story, gate, facts);
    let files = files(story, &run);
    let on_actions = if story.inputs.on_actions { on_actions(&run, shell) } else { Ok(()) };
    let streams = streams(&run, shell);
    // Each is tried, whatever becomes of the others.
    let unwritten = [files, on_actions, streams].into_iter().find_map(Result::err);
    match unwritten {
        Some(error) if gate.code == exit::PASS => Err(error),
        Some(error) => {
            writeln!(shell.err, "warning: {error:#}")?;
            Ok(gate.code)
        }
        None => Ok(gate.code),
    }
}

/// The files that were asked for, and those of the run's folder: an agent may have taken that away.
fn files(story: &Story<'_>, run: &Run) -> anyhow::Result<()> {
    let text = json::render(run);
    let asked = match &story.request.summary_json {
        Some(path) => fs::write(path, &text).with_context(|| format!("{} cannot be written", path.display())),
        None => Ok(()),
    };
    if let Some(own) = &run.files.folder {
        let own = Path::new(own);
        folder::write(&own.join("summary.json"), text.as_bytes())
            .and_then(|()| folder::write(&own.join("cost.jsonl"), (logline::json(run) + "\n").as_bytes()))
            .with_context(|| format!("the run's folder {} cannot be written", own.display()))?;
    }
    asked
}

fn streams(run: &Run, shell: &mut Shell) -> anyhow::Result<()> {
    let run_id = run.served.as_ref().map_or("none", |served| served.hold.as_str());
    writeln!(shell.err, "\n{}", terminal::render(run, width(shell)))?;
    writeln!(shell.err, "{}", logline::logfmt(run).trim_end())?;
    let key = shell.var("TOLLGATE_COMMENT_KEY").unwrap_or(COMMENT_KEY);
    let comment = comment::render(run, key, run_id);
    writeln!(shell.out, "{comment}")?;
    shell.out.flush()?;
    Ok(())
}

/// How wide the terminal says it is.
fn width(shell: &Shell) -> Option<u16> {
    shell.var("COLUMNS").and_then(|text| text.parse().ok())
}

/// Step outputs and the job summary, where the runner has files for them; a failing verdict as annotation.
fn on_actions(run: &Run, shell: &mut Shell) -> anyhow::Result<()> {
    let append = |path: &str| fs::OpenOptions::new().create(true).append(true).open(path);
    if let Some(path) = shell.var("GITHUB_STEP_SUMMARY") {
        let written = append(path).and_then(|mut file| file.write_all(summary::render(run).as_bytes()));
        written.context("the job summary cannot be written")?;
    }
    if let Some(path) = shell.var("GITHUB_OUTPUT") {
        let mut file = append(path).context("the step outputs cannot be written")?;
        outputs::write(run, &mut file)?;
    }
    if let Some(annotation) = annotations::verdict(run) {
        writeln!(shell.err, "{annotation}")?;
    }
    Ok(())
}

/// What a price table that may be out of date says of itself.
fn stale_prices(now: Timestamp) -> Option<String> {
    let table = Table::embedded();
    let today = TimeZone::UTC.to_datetime(now).date();
    table
        .stale(today)
        .then(|| format!("the price table is of {}: newer prices may hold, update tollgate", table.as_of()))
}

fn run_of(story: &Story<'_>, gate: &Gate, facts: Facts) -> Run {
    let inputs = story.inputs;
    let shown = |path: &PathBuf| path.display().to_string();
    let mut notes = facts.saved.notes;
    notes.extend(stale_prices(story.started));
    Run {
        repository: inputs.event.repository.clone(),
        pr: inputs.event.change.as_ref().and_then(|change| change.number),
        started: story.started,
        timezone: inputs.budget.timezone.clone(),
        took: facts.took,
        simulated: story.request.simulate,
        enforced: inputs.budget.mode == Mode::Enforce,
        class: story.class.clone(),
        served: facts.served,
        totals: facts.totals,
        budgets: budget_states(&facts.balances),
        skipped: story.limits.skipped.clone(),
        pull_request: facts.pull_request,
        savings: facts.savings,
        gate: gate.clone(),
        result: facts.saved.text,
        result_in_comment: inputs.budget.result_in_comment,
        public: inputs.event.public,
        budget_file: inputs.budget.path.clone(),
        notes,
        files: Files {
            folder: facts.folder.as_ref().map(shown),
            result: facts.saved.result.as_ref().map(shown),
            patch: facts.saved.patch.as_ref().map(shown),
            summary: facts.folder.as_ref().map(|folder| shown(&folder.join("summary.json"))),
        },
    }
}

/// What a pull request has cost in all its runs, read from the ledger's events.
///
/// # Errors
/// When the ledger cannot be read.
pub(super) fn pull_request_total(store: &Store, limits: &Limits) -> anyhow::Result<Option<PurseTotal>> {
    let Some(purse) = limits.pull_request() else { return Ok(None) };
    let mut spends = BTreeMap::new();
    for event in store.events(None).map_err(books::unavailable)? {
        let event = event.map_err(books::unavailable)?;
        let (spend, of) = match event.kind {
            Kind::Settle(settle) => (settle.spend, settle.of),
            Kind::Expire(expire) => (expire.spend, expire.of),
            // A correction says the true spend, which takes the place of what was said before.
            Kind::Adjust(adjust) => (adjust.spend, adjust.of),
            Kind::Reserve(_) | Kind::Void(_) => continue,
        };
        if of.purses.iter().any(|own| own == purse) {
            spends.insert(event.hold, spend);
        }
    }
    let mut total = PurseTotal { runs: spends.len() as u64, ..PurseTotal::default() };
    for spend in spends.values() {
        total.usd += spend.usd;
        for model in &spend.models {
            total.prompt += model.tokens.prompt();
            total.cache_read += model.tokens.cache_read;
            total.output += model.tokens.output;
        }
    }
    Ok(Some(total))
}

/// Nothing was run, because a budget refused it. Returns the exit code.
///
/// # Errors
/// When the verdict passes, and a result cannot be written.
pub(super) fn refused(
    story: &Story<'_>,
    gate: &Gate,
    balances: &[Balance],
    shell: &mut Shell,
) -> anyhow::Result<u8> {
    report(story, gate, Facts { balances: balances.to_vec(), ..Facts::default() }, shell)
}

/// Nothing was run, for a reason that is no budget's. Returns the exit code.
///
/// # Errors
/// When a result cannot be written.
pub(super) fn skipped(story: &Story<'_>, gate: &Gate, shell: &mut Shell) -> anyhow::Result<u8> {
    report(story, gate, Facts::default(), shell)
}
