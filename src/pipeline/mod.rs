//! The whole story of a run, one line a stage.
//!
//! ```text
//! event + budget file ─▶ classify ─▶ route ─▶ reserve ─▶ run the agent through the meter ─▶ settle ─▶ report ─▶ gate
//! ```

mod asks;
pub mod books;
mod deliver;
mod finish;
pub mod folder;
pub mod forge;
pub mod inputs;
mod live;
pub mod place;
pub(crate) mod prices;
mod prompt;
mod retry;
mod second;
mod siblings;
mod start;
mod trust;
mod voice;
mod webhook;
mod work;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use rustix::process::Signal;

use crate::agent::process::harden;
use crate::budget::{FailOr, LedgerError};
use crate::classify::Class;
use crate::cli::Shell;
use crate::exit::{self, Failure};
use crate::gate::{self, AgentEnd, Ending, Gate, Ran, Tokens};
use crate::github::GitHub;
use crate::id::HoldId;
use crate::ledger::store::Store;
use crate::ledger::{Answer, Balance, Settlement};
use crate::limits::Limits;
use crate::meter;
use crate::money::Usd;
use crate::outcome::Verdict;
use crate::price::When;
use crate::provider::Vendor;
use crate::report::around::Sibling;
use crate::report::{Served, alerts};
use crate::route::{self, Route, Routed};
use crate::savings::{self, Savings};
use crate::supervise::{self, End, Signals, Supervised};
use crate::task::Task;

use finish::Facts;
use folder::{Record, RunFolder};
use inputs::Inputs;
use live::Live;
use place::Place;
use start::{Start, Upstream};
use voice::{Name, Voice};
use work::Work;

/// The bot whose pull requests get no secrets, as those from forks.
const DEPENDABOT: &str = "dependabot[bot]";

/// What `tollgate run` is asked for.
#[derive(Debug, Default)]
pub struct Request {
    /// The task, where the user says it.
    pub task: Option<Task>,
    /// Use the embedded provider and the built-in agent.
    pub simulate: bool,
    /// The budget file, where it is not the usual one.
    pub budget_file: Option<PathBuf>,
    /// The event's payload, where it is not the usual one.
    pub event: Option<PathBuf>,
    /// The providers' base URLs, where they are not the usual ones.
    pub upstreams: Vec<(Vendor, meter::Upstream)>,
    /// Where to write the summary as JSON.
    pub summary_json: Option<PathBuf>,
    /// The agent's command line; empty for the budget file's preset.
    pub command: Vec<OsString>,
}

/// What every stage knows of the run.
#[derive(Clone, Copy, Debug)]
struct Story<'a> {
    /// What was asked for.
    request: &'a Request,
    /// What it starts from.
    inputs: &'a Inputs,
    /// The class of the work.
    class: &'a Class,
    /// The limits that apply.
    limits: &'a Limits,
    /// When it began.
    started: Timestamp,
}

impl Story<'_> {
    /// What a run has used of its new tokens, where a subscription pays for it.
    fn subscription(&self, route: &Route, used: u64) -> Option<Tokens> {
        self.limits.subscription.then_some(Tokens { used, most: route.fresh_tokens })
    }

    /// GitHub, where the run is on it and has a token.
    fn github(&self) -> Option<&GitHub> {
        self.inputs.known.forge.as_ref().map(|forge| &forge.github)
    }
}

/// Runs the main job and returns the exit code.
///
/// # Errors
/// What a person can mend is a [`Failure`] with its exit code; anything else is tollgate's own failure.
pub async fn run(request: Request, shell: &mut Shell) -> anyhow::Result<u8> {
    // From here on a signal is noticed, not fatal: what is held gets settled.
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    // A simulation asks nobody and tells nobody.
    let (event, file, ask) = (request.event.as_deref(), request.budget_file.as_deref(), !request.simulate);
    let inputs = Inputs::gather(shell, event, file, ask).await?;
    let class = classify(&request, &inputs);
    let now = Timestamp::now();
    let limits = books::limits(shell, &inputs, class.task, now);
    let second::Heard { class, limits, cost } =
        second::opinion(&request, &inputs, class, limits, now, shell).await;
    let story = Story { request: &request, inputs: &inputs, class: &class, limits: &limits, started: now };
    if let Some(reason) = asks::refused(&inputs.event) {
        return finish::skipped(&story, &gate::skipped(Verdict::Pass, &reason, asks::HINT), shell).await;
    }
    work::check_checkout(&story, shell)?;
    let Some(upstream) = upstream(&story, shell).await? else { return without_key(&story, shell).await };
    // What a subscription pays for takes from no budget in dollars.
    let paid = upstream.is_subscription().then(|| limits.clone().of_subscription());
    let story = Story { limits: paid.as_ref().unwrap_or(&limits), ..story };
    // Git is found, and the token read, before any agent could have a say in either.
    let place = Place::find(shell, &inputs.budget, &inputs.root, request.simulate)?;
    let store = match books::open(place, &inputs.state, request.simulate, shell) {
        Ok(store) => store,
        Err(error) => return without_ledger(error, &story, shell).await,
    };
    let balances = match store.balances(&story.limits.for_ledger()) {
        Ok(balances) => balances,
        Err(error) => return without_ledger(books::unavailable(error), &story, shell).await,
    };
    let route = match route::route(&class, &inputs.budget, &balances) {
        Routed::Run(route) => route.less(cost),
        Routed::Refused { by, least } => return refuse(&story, &store, (&by, least), &balances, shell).await,
    };
    let folder = RunFolder::create(&books::runs(&inputs.state, request.simulate))
        .context("the run's folder cannot be made")?;
    // Before the hold: what is not there is said without a trace in the books.
    start::check(&start::choice(&story, &route)?, &route, shell)?;
    let held = match hold(&store, &story, &route, &folder, shell) {
        Ok(Ok(held)) => {
            let siblings = finish::siblings(&store, &story, &held.id).unwrap_or_default();
            Held { balances: balances.clone(), siblings, ..held }
        }
        Ok(Err((by, least))) => return refuse(&story, &store, (&by, least), &balances, shell).await,
        Err(error) => return without_ledger(error, &story, shell).await,
    };
    store.rest();
    let run = spend(&story, &route, &held, &upstream, &folder, None, &mut signals, shell).await;
    let attempt = Attempt { route, held, folder, run };
    let Attempt { route, held, folder, run } =
        retry::again(&story, &store, attempt, &upstream, &mut signals, shell).await;
    conclude(&story, &store, &route, &held, &folder, run, shell).await
}

/// The class of the work; a task that the user names needs no guessing, its stakes do.
fn classify(request: &Request, inputs: &Inputs) -> Class {
    let mut class = crate::classify::classify(&inputs.event, &inputs.budget.rules);
    if let Some(task) = request.task
        && task != class.task
    {
        class.reasons.insert(0, format!("--task says {task}"));
        class.task = task;
    }
    class
}

/// The provider, or nothing where there is no key and the policy lets that pass.
async fn upstream(story: &Story<'_>, shell: &Shell) -> anyhow::Result<Option<Upstream>> {
    if story.request.simulate {
        return Upstream::simulated().await.map(Some);
    }
    if let Some(upstream) = Upstream::from_environment(shell, &story.request.upstreams)? {
        return Ok(Some(upstream));
    }
    let event = &story.inputs.event;
    let keyless = event.change.as_ref().is_some_and(|change| change.fork) || event.actor.login == DEPENDABOT;
    if keyless && story.inputs.budget.on.no_key == FailOr::Pass {
        return Ok(None);
    }
    let message = "there is no key for a provider: none of ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY is set, \
                   nor CLAUDE_CODE_OAUTH_TOKEN\n\n\
                   hint: set one (the agent will not see it), or try `tollgate run --simulate`, which needs none";
    Err(Failure::usage(message).into())
}

/// There is no key, and that is as it should be.
async fn without_key(story: &Story<'_>, shell: &mut Shell) -> anyhow::Result<u8> {
    let reason = "forks and Dependabot get no key, so no agent is run and nothing is spent";
    let hint = "write `on: { no_key: fail }` in the budget file to make this fail";
    let gate = gate::skipped(Verdict::Pass, reason, hint);
    // The budgets are not asked: the ledger may be out of reach here as well.
    let Routed::Run(route) = route::route(story.class, &story.inputs.budget, &[]) else {
        return finish::skipped(story, &gate, shell).await;
    };
    let would = format!(
        "with a key it would have been {} at {} stakes, at the {} tier: {}, capped at {}",
        story.class.task,
        story.class.stakes,
        route.tier,
        route.model,
        route.cap.shown()
    );
    finish::skipped_with(story, &gate, vec![would], shell).await
}

/// The ledger failed before anything was spent. The agent is never run uncounted.
async fn without_ledger(error: anyhow::Error, story: &Story<'_>, shell: &mut Shell) -> anyhow::Result<u8> {
    if story.inputs.budget.on.ledger_error == LedgerError::Fail {
        return Err(error);
    }
    let error = format!("{error:#}");
    writeln!(shell.err, "warning: {error}")?;
    let what = error.lines().next().unwrap_or_default();
    let reason = format!("the agent is not run, because its spend could not be counted: {what}");
    let hint = "write `on: { ledger_error: fail }` in the budget file to make this fail";
    finish::skipped(story, &gate::skipped(Verdict::Warn, &reason, hint), shell).await
}

/// A hold that was granted.
struct Held {
    id: HoldId,
    cap: Usd,
    cut_by: Option<Balance>,
    /// The budgets before this run.
    balances: Vec<Balance>,
    /// Other runs of the same workflow run.
    siblings: Vec<Sibling>,
}

/// Takes the hold; the inner error is the budget that refuses it, and the least a run needs.
fn hold(
    store: &Store,
    story: &Story<'_>,
    route: &Route,
    folder: &RunFolder,
    shell: &Shell,
) -> anyhow::Result<Result<Held, (Balance, Usd)>> {
    let inputs = story.inputs;
    let key = books::key(shell, &inputs.event, folder.nonce());
    // Remembered before it is asked for: a hold that is granted to a process that dies is found again.
    let record = Record { hold: key.hold_id(), started: story.started, finished: false };
    folder.remember(&record).context("the run's folder cannot be written")?;
    let least = route::least(&inputs.budget, route.cap);
    let workflow = inputs.workflow.as_deref();
    let mut request = books::request(&key, route, least, story.limits, &inputs.event, story.class, workflow);
    request.about.budget.clone_from(&inputs.known.budget_commit);
    match store.reserve(&request).map_err(books::unavailable)? {
        Answer::Granted { cap, cut_by } => {
            Ok(Ok(Held { id: request.hold, cap, cut_by, balances: Vec::new(), siblings: Vec::new() }))
        }
        Answer::Refused { by } => {
            finish_record(folder, story, &request.hold).context("the run's folder cannot be written")?;
            Ok(Err((by, least)))
        }
    }
}

fn finish_record(folder: &RunFolder, story: &Story<'_>, hold: &HoldId) -> std::io::Result<()> {
    folder.remember(&Record { hold: hold.clone(), started: story.started, finished: true })
}

/// A budget has too little left: nothing is run.
async fn refuse(
    story: &Story<'_>,
    store: &Store,
    (by, least): (&Balance, Usd),
    balances: &[Balance],
    shell: &mut Shell,
) -> anyhow::Result<u8> {
    // Only reports count refusals: one that cannot be recorded changes no verdict.
    if let Err(error) = books::note_refusal(store, shell, story.inputs, story.class, story.limits, by) {
        writeln!(shell.err, "warning: the refusal is not on record: {error}")?;
    }
    let gate =
        gate::decide(&story.inputs.budget, story.class.task, story.limits, &Ending::Refused { by, least });
    finish::refused(story, &gate, balances, shell).await
}

/// What became of a run that was started.
struct Spent {
    supervised: Supervised,
    took: Duration,
    /// The working tree as it was before.
    work: Work,
    /// What speaks for it on its pull request.
    voice: Option<Voice>,
    /// What earlier attempts came to, one clause each.
    earlier: Vec<String>,
}

/// A run that was started, as far as it has come.
struct Attempt {
    route: Route,
    held: Held,
    folder: RunFolder,
    run: anyhow::Result<Spent>,
}

/// Runs the agent through the meter until it is over; in the working tree that an earlier attempt has left,
/// where there is one.
#[expect(clippy::too_many_arguments, reason = "each is a stage's own")]
async fn spend(
    story: &Story<'_>,
    route: &Route,
    held: &Held,
    upstream: &Upstream,
    folder: &RunFolder,
    left: Option<Work>,
    signals: &mut Signals,
    shell: &mut Shell,
) -> anyhow::Result<Spent> {
    let began = Instant::now();
    let inputs = story.inputs;
    let choice = start::choice(story, route)?;
    let keys = upstream.keys();
    let prepared = async {
        match left {
            Some(work) => Ok(work),
            None => Work::prepare(story, &keys, shell, folder.path()).await,
        }
    };
    let (isolation, work) = tokio::join!(harden(&keys), prepared);
    let work = work?;
    let isolation = isolation.to_string();
    let meter = start::meter(upstream, route, held.cap, inputs, folder.path()).await?;
    let start = Start { choice: &choice, route, cap: held.cap, folder: folder.path(), keys: &keys };
    let launch = start::find(&start, inputs, shell, &meter.url(), meter.token())?;
    finish::announce(story, route, held.cap, &isolation, shell)?;
    work.announce(shell)?;
    let mut live = Live::new(story, held.cap, &held.balances, shell);
    let running = start::agent(&start, launch, inputs, shell, meter.token(), &live.log())?;
    // After the agent's start, which waits for nobody.
    let started = finish::started(story, route, held.cap, held.siblings.clone());
    live.speak(Voice::start(inputs, started, Name::of(inputs, Some(held.id.as_str()), shell)));
    let supervised = supervise::run(running, meter, signals, |snapshot| live.on(snapshot)).await;
    let voice = live.end();
    Ok(Spent { supervised, took: began.elapsed(), work, voice, earlier: Vec::new() })
}

/// Settles, decides, reports: whatever became of the run, its hold does not stay open.
async fn conclude(
    story: &Story<'_>,
    store: &Store,
    route: &Route,
    held: &Held,
    folder: &RunFolder,
    run: anyhow::Result<Spent>,
    shell: &mut Shell,
) -> anyhow::Result<u8> {
    let spent = match run {
        Ok(spent) => spent,
        Err(error) => {
            // Nothing was started, so nothing was forwarded.
            store.void(&held.id, "the agent could not be started").map_err(books::unavailable)?;
            finish_record(folder, story, &held.id)?;
            return Err(error);
        }
    };
    let Spent { supervised, took, work, voice, earlier } = spent;
    let totals = &supervised.totals;
    let outcome = gate::ended(agent_end(supervised.end), supervised.capped(), totals.requests);
    let settlement = store.settle_as(&held.id, &books::spend(totals), outcome.as_str());
    // A record that still says otherwise is found by the next command.
    let recorded = if settlement.is_ok() { finish_record(folder, story, &held.id) } else { Ok(()) };
    // After settling: git reads what an agent has left, and that may take longer than a runner waits.
    let mut saved = work.save(story, supervised.last_words(), folder.path()).await;
    deliver::deliver(story, &mut saved, agent_end(supervised.end), folder, shell).await;
    saved.notes.extend(recorded.err().map(|error| format!("the run's folder cannot be written: {error}")));
    let mut around = finish::around(story, held.siblings.clone());
    around.remarks.extend(earlier);
    let (gate, balances) = match settlement {
        Ok(settlement) => {
            let states = finish::budget_states(&settlement.balances);
            around.alerts = alerts::crossed(&story.inputs.budget.alerts, settlement.spend.usd, &states);
            (verdict(story, route, held, &supervised, &settlement), settlement.balances)
        }
        // What was spent is told all the same; the next command charges it.
        Err(error) => (gate::unsettled(totals.settled, &error.to_string()), held.balances.clone()),
    };
    around.siblings = finish::siblings(store, story, &held.id).unwrap_or(around.siblings);
    let used = totals.by_model.iter().map(|(model, used)| (model, &used.counts));
    let when = When::Around(story.started);
    // Who pays by the month saves no dollars by the token.
    let savings = match story.limits.subscription {
        true => Savings::default(),
        false => savings::savings(used, &story.inputs.budget.tiers, route.tier, story.inputs.table, when),
    };
    let pull_request = finish::pull_request_total(store, story.limits).unwrap_or_else(|error| {
        saved.notes.push(format!("what the pull request has cost cannot be told: {error}"));
        None
    });
    let served = Served {
        hold: held.id.clone(),
        tier: route.tier,
        model: route.model.clone(),
        reason: route.reason.clone(),
        cap: held.cap,
    };
    let facts = Facts {
        served: Some(served),
        subscription: story.subscription(route, supervised.totals.fresh),
        pull_request,
        balances,
        savings,
        took,
        saved,
        folder: Some(folder.path().to_owned()),
        totals: supervised.totals,
        around,
    };
    finish::report(story, &gate, facts, voice, shell).await
}

/// The gate's verdict on a run that is settled.
fn verdict(
    story: &Story<'_>,
    route: &Route,
    held: &Held,
    supervised: &Supervised,
    settlement: &Settlement,
) -> Gate {
    let ran = Ran {
        agent: agent_end(supervised.end),
        cap: held.cap,
        spent: settlement.spend.usd,
        capped: supervised.capped(),
        cut_by: held.cut_by.as_ref().map(|balance| &balance.limit),
        requests: supervised.totals.requests,
        overrun: supervised.totals.overrun.as_deref(),
        balances: &settlement.balances,
        subscription: story.subscription(route, supervised.totals.fresh),
    };
    gate::decide(&story.inputs.budget, story.class.task, story.limits, &Ending::Ran(ran))
}

fn agent_end(end: End) -> AgentEnd {
    match end {
        End::Itself { success: true } => AgentEnd::Fine,
        End::Itself { success: false } | End::Overstayed => AgentEnd::Failed,
        End::TimeUp => AgentEnd::TimedOut,
        End::Cancelled(Signal::INT) => AgentEnd::Cancelled(exit::INTERRUPTED),
        End::Cancelled(_) => AgentEnd::Cancelled(exit::TERMINATED),
    }
}
