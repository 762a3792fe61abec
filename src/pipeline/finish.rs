//! What is said of a run and saved from it: announcements, the live meter, results, the report.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::voice::{Name, Poster, Voice};
use super::work::Saved;
use super::{Story, folder, forge, siblings, status, webhook};
use crate::budget::{CommentWhen, Mode};
use crate::cli::Shell;
use crate::exit;
use crate::gate::{Gate, Tokens};
use crate::id::HoldId;
use crate::ledger::Balance;
use crate::ledger::store::Store;
use crate::limits;
use crate::meter::Totals;
use crate::money::Usd;
use crate::outcome::{Outcome, Verdict};
use crate::price::Table;
use crate::report::around::{Around, Sibling};
use crate::report::running::Started;
use crate::report::{
    BudgetState, Files, PurseTotal, Run, Served, annotations, comment, defuse, json, logline, outputs,
    summary, terminal,
};
use crate::route::Route;
use crate::savings::Savings;

/// How long the pull request's head is asked for once more.
const HEAD_WAIT: Duration = Duration::from_secs(5);

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
        route.fresh_tokens.map(|tokens| format!("{} new tokens", crate::money::group(tokens.into())));
    let usd = (!story.limits.subscription).then(|| cap.shown().to_string());
    let minutes = format!("{} min", route.timeout.as_secs().div_ceil(60));
    let caps: Vec<String> = usd.into_iter().chain(tokens).chain([minutes]).collect();
    let (tier, model, reason) = (route.tier, &route.model, &route.reason);
    writeln!(shell.err, "tollgate: {tier} tier, {model}, cap {}; {reason}", caps.join(", "))?;
    if story.limits.subscription {
        writeln!(
            shell.err,
            "tollgate: a subscription pays for this run: dollars are notional, and cap nothing"
        )?;
    }
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
    /// What it used of a subscription, where one paid for it.
    pub(super) subscription: Option<Tokens>,
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
    /// What is known around the run.
    pub(super) around: Around,
}

/// What was reported of a run.
pub(super) struct Reported {
    /// The exit code.
    pub(super) code: u8,
    /// The verdict in a sentence.
    pub(super) reason: String,
    /// Its hold is closed.
    pub(super) settled: bool,
    /// Its step outputs.
    pub(super) outputs: Vec<(&'static str, String)>,
}

/// Reports a run everywhere it is to be reported: terminal, comment, summary, outputs, files. A verdict that fails stands, whatever cannot be written.
///
/// # Errors
/// When the verdict passes, and a result cannot be written.
pub(super) async fn report(
    story: &Story<'_>,
    gate: &Gate,
    mut facts: Facts,
    voice: Option<Voice>,
    shell: &mut Shell,
) -> anyhow::Result<Reported> {
    let hurried = gate.outcome == Outcome::Cancelled;
    let (poster, stuck) = match voice {
        Some(voice) => voice.end(hurried).await,
        None => (Poster::of(story.inputs), None),
    };
    if !hurried {
        facts.around.remarks.extend(moved_on(story).await);
    }
    let run = run_of(story, gate, facts);
    let files = files(story, &run);
    let on_actions = if story.inputs.on_actions { on_actions(&run, shell) } else { Ok(()) };
    let name = Name::of(story.inputs, run.served.as_ref().map(|served| served.hold.as_str()), shell);
    let text = comment::render(&run, &name.key, &name.run);
    let streams = streams(&run, &text, shell);
    tell(story, &run, poster, stuck, &text, shell).await?;
    // Each is tried, whatever becomes of the others.
    let unwritten = [files, on_actions, streams].into_iter().find_map(Result::err);
    match unwritten {
        Some(error) if gate.code == exit::PASS => return Err(error),
        Some(error) => writeln!(shell.err, "warning: {error:#}")?,
        None => {}
    }
    let (reason, settled) = (gate.reason.clone(), gate.code != exit::LEDGER);
    Ok(Reported { code: gate.code, reason, settled, outputs: outputs::of(&run) })
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

/// Tells the webhooks and the pull request. What they do not take is a warning.
async fn tell(
    story: &Story<'_>,
    run: &Run,
    poster: Option<Poster>,
    stuck: Option<String>,
    text: &str,
    shell: &mut Shell,
) -> anyhow::Result<()> {
    let policy = &story.inputs.budget.comment;
    let remarkable = run.gate.verdict != Verdict::Pass;
    let speak = match policy.only_when {
        CommentWhen::Always => true,
        CommentWhen::Spent => remarkable || run.totals.settled + run.totals.notional > Usd::ZERO,
        CommentWhen::Alert => {
            remarkable || !run.around.alerts.is_empty() || story.inputs.known.lift.is_some()
        }
    };
    let hurried = run.gate.outcome == Outcome::Cancelled;
    let number = poster.as_ref().map(Poster::number);
    let comment = async {
        match poster {
            Some(poster) => poster.conclude(text, speak, hurried).await,
            None => stuck,
        }
    };
    let (wrong, unset) = tokio::join!(comment, status::set(story, run, page(shell), hurried));
    if let Some(why) = unset {
        writeln!(shell.err, "warning: {why}")?;
    }
    if let Some(why) = wrong {
        let on = number.map_or(String::new(), |number| format!(" on #{number}"));
        writeln!(shell.err, "warning: the comment{on} could not be brought up to date: {why}")?;
    }
    if !story.request.simulate && !hurried {
        let about = webhook::About { repository: run.repository.clone(), page: page(shell) };
        for wrong in webhook::tell(&story.inputs.budget.webhooks, &run.around.alerts, &about, shell).await {
            writeln!(shell.err, "warning: {wrong}")?;
        }
    }
    Ok(())
}

/// The workflow run's page.
fn page(shell: &Shell) -> Option<String> {
    let (server, repository) = (shell.var("GITHUB_SERVER_URL")?, shell.var("GITHUB_REPOSITORY")?);
    Some(format!("{server}/{repository}/actions/runs/{}", shell.var("GITHUB_RUN_ID")?))
}

/// What is said where the pull request's head is another commit by now.
async fn moved_on(story: &Story<'_>) -> Option<String> {
    let known = &story.inputs.known;
    let (forge, commit) = (known.forge.as_ref()?, known.commit.as_ref()?);
    let number = story.inputs.event.change.as_ref()?.number?;
    let pull = tokio::time::timeout(HEAD_WAIT, forge.github.pull_request(number)).await.ok()?.ok()?;
    let said = forge::moved(&pull.head_commit, "began");
    // Where it had moved before the run began, that has been said.
    let before =
        known.remarks.iter().any(|remark| remark.contains(pull.head_commit.get(..12).unwrap_or_default()));
    (pull.head_commit != *commit && !before).then_some(said)
}

/// What the comment says while the run is under way.
pub(super) fn started(story: &Story<'_>, route: &Route, cap: Usd, siblings: Vec<Sibling>) -> Started {
    let inputs = story.inputs;
    Started {
        task: story.class.task,
        stakes: story.class.stakes,
        tier: route.tier,
        model: route.model.clone(),
        cap,
        subscription: story.subscription(route, 0),
        enforced: inputs.budget.mode == Mode::Enforce,
        public: inputs.for_outsiders(),
        budget_file: inputs.budget.path.clone(),
        around: around(story, siblings),
    }
}

/// What GitHub and the ledger add to a report.
pub(super) fn around(story: &Story<'_>, siblings: Vec<Sibling>) -> Around {
    let known = &story.inputs.known;
    Around {
        commit: known.commit.clone(),
        remarks: known.remarks.clone(),
        alerts: Vec::new(),
        siblings,
        proposal: known.proposal.clone(),
    }
}

/// Other runs of the same workflow run.
///
/// # Errors
/// When the ledger cannot be read.
pub(super) fn siblings(store: &Store, story: &Story<'_>, own: &HoldId) -> anyhow::Result<Vec<Sibling>> {
    if story.inputs.on_actions { siblings::of(store, own, story.started) } else { Ok(Vec::new()) }
}

fn streams(run: &Run, comment: &str, shell: &mut Shell) -> anyhow::Result<()> {
    writeln!(shell.err, "\n{}", terminal::render(run, width(shell)))?;
    writeln!(shell.err, "{}", logline::logfmt(run).trim_end())?;
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
fn stale_prices(table: &Table, now: Timestamp) -> Option<String> {
    let today = TimeZone::UTC.to_datetime(now).date();
    table
        .stale(today)
        .then(|| format!("the price table is of {}: newer prices may hold; update tollgate, or the table with `tollgate prices update`", table.as_of()))
}

fn run_of(story: &Story<'_>, gate: &Gate, facts: Facts) -> Run {
    let inputs = story.inputs;
    let shown = |path: &PathBuf| path.display().to_string();
    let mut notes = facts.saved.notes;
    notes.extend(inputs.known.notes.iter().cloned());
    notes.extend(stale_prices(inputs.table, story.started));
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
        subscription: facts.subscription,
        totals: facts.totals,
        budgets: budget_states(&facts.balances),
        skipped: story.limits.skipped.clone(),
        pull_request: facts.pull_request,
        savings: facts.savings,
        gate: gate.clone(),
        result: facts.saved.text,
        result_in_comment: inputs.budget.result_in_comment,
        public: inputs.for_outsiders(),
        budget_file: inputs.budget.path.clone(),
        notes,
        files: Files {
            folder: facts.folder.as_ref().map(shown),
            result: facts.saved.result.as_ref().map(shown),
            patch: facts.saved.patch.as_ref().map(shown),
            summary: facts.folder.as_ref().map(|folder| shown(&folder.join("summary.json"))),
        },
        around: facts.around,
    }
}

/// Nothing was run, because a budget refused it. Returns the exit code.
///
/// # Errors
/// When the verdict passes, and a result cannot be written.
pub(super) async fn refused(
    story: &Story<'_>,
    gate: &Gate,
    balances: &[Balance],
    shell: &mut Shell,
) -> anyhow::Result<u8> {
    let facts = Facts { balances: balances.to_vec(), around: around(story, Vec::new()), ..Facts::default() };
    Ok(report(story, gate, facts, None, shell).await?.code)
}

/// Nothing was run, for a reason that is no budget's. Returns the exit code.
///
/// # Errors
/// When a result cannot be written.
pub(super) async fn skipped(story: &Story<'_>, gate: &Gate, shell: &mut Shell) -> anyhow::Result<u8> {
    skipped_with(story, gate, Vec::new(), shell).await
}

/// As [`skipped`], with notes on what would have been.
///
/// # Errors
/// When a result cannot be written.
pub(super) async fn skipped_with(
    story: &Story<'_>,
    gate: &Gate,
    notes: Vec<String>,
    shell: &mut Shell,
) -> anyhow::Result<u8> {
    let saved = Saved { notes, ..Saved::default() };
    let facts = Facts { saved, around: around(story, Vec::new()), ..Facts::default() };
    Ok(report(story, gate, facts, None, shell).await?.code)
}
