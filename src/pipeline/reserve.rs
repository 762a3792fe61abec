//! Before anything is spent: the provider, the hold, and every way in which a run is not started.

use std::io::Write;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::folder::{Record, RunFolder};
use super::grow::{Growing, Grown};
use super::upstream::Upstream;
use super::{Story, books, finish};
use crate::budget::{FailOr, LedgerError};
use crate::cli::Shell;
use crate::exit::Failure;
use crate::gate::{self, Ending};
use crate::id::HoldId;
use crate::ledger::store::Store;
use crate::ledger::{Answer, Balance};
use crate::money::Usd;
use crate::outcome::Verdict;
use crate::provider::Vendor;
use crate::report::around::Sibling;
use crate::route::{self, Route, Routed};

/// The bot whose pull requests get no secrets, as those from forks.
const DEPENDABOT: &str = "dependabot[bot]";

/// The provider, or nothing where there is no key and the policy lets that pass.
pub(super) async fn upstream(story: &Story<'_>, shell: &Shell) -> anyhow::Result<Option<Upstream>> {
    if story.request.simulate {
        return Upstream::simulated().await.map(Some);
    }
    let missing = match Upstream::of(story.preset(), shell, &story.request.upstreams) {
        Ok(Some(upstream)) => return Ok(Some(upstream)),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    let event = &story.inputs.event;
    let keyless = event.change.as_ref().is_some_and(|change| change.fork) || event.actor.login == DEPENDABOT;
    if keyless && story.inputs.budget.on.no_key == FailOr::Pass {
        return Ok(None);
    }
    // What a cloud misses is said in its own words.
    if let Some(missing) = missing {
        return Err(missing);
    }
    let preset = story.preset();
    let needed = match preset.only() {
        None => {
            "none of ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY is set, nor CLAUDE_CODE_OAUTH_TOKEN"
                .to_owned()
        }
        Some(vendor) => {
            let or = if vendor == Vendor::Anthropic { " or CLAUDE_CODE_OAUTH_TOKEN" } else { "" };
            format!("{} needs {}{or}", preset.title(), vendor.key_variable())
        }
    };
    let message = format!(
        "there is no key for a provider: {needed}\n\n\
         hint: set one (the agent will not see it), or try `tollgate run --simulate`, which needs none"
    );
    Err(Failure::usage(message).into())
}

/// There is no key, and that is as it should be.
pub(super) async fn without_key(story: &Story<'_>, shell: &mut Shell) -> anyhow::Result<u8> {
    let reason = "forks and Dependabot get no key, so no agent is run and nothing is spent";
    let hint = "write `on: { no_key: fail }` in the budget file to make this fail";
    let gate = gate::skipped(Verdict::Pass, reason, hint);
    // The budgets are not asked: the ledger may be out of reach here as well.
    let Routed::Run(route) = route::route(story.class, &story.inputs.budget, story.inputs.table, &[]) else {
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
pub(super) async fn without_ledger(
    error: anyhow::Error,
    story: &Story<'_>,
    shell: &mut Shell,
) -> anyhow::Result<u8> {
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

/// A run that may spend: where it goes, and what it holds.
pub(super) struct Begun {
    /// The ledger that the hold is on.
    pub(super) store: Store,
    /// Where it goes.
    pub(super) route: Route,
    /// Its hold.
    pub(super) held: Held,
    /// Its folder, and the lock in it.
    pub(super) folder: RunFolder,
}

/// What the first stages come to.
pub(super) enum Beginning {
    /// The run may spend at this provider.
    Held(Box<Begun>, Upstream),
    /// Nothing is run, everything is said, and this is the exit code.
    Over(u8),
}

/// A hold that was granted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    /// Its key.
    pub(super) id: HoldId,
    /// The run's cap: what it may spend, or may come to where its hold grows.
    pub(super) cap: Usd,
    /// What is held of it so far, where it grows. Where the run is in another process it does not.
    #[serde(skip)]
    pub(super) growing: Option<Growing>,
    /// The budget that cut it, if one did.
    pub(super) cut_by: Option<Balance>,
    /// When all of it is charged unless somebody settles it.
    pub(super) expires: Timestamp,
    /// The budgets before this run.
    pub(super) balances: Vec<Balance>,
    /// Other runs of the same workflow run.
    pub(super) siblings: Vec<Sibling>,
}

impl Held {
    /// The hold of a run that is over, with what there is to say of its growth: that no more could be held is
    /// worth a word where it ended the run.
    pub(super) fn after(&self, grown: Option<Grown>, capped: bool) -> (Self, Option<String>) {
        let Some(Grown { cap, cut_by, problem }) = grown else { return (self.clone(), None) };
        let note = problem.filter(|_| capped).map(|why| {
            let why = why.lines().next().unwrap_or_default();
            format!("the run was brought to an end at {}, because no more could be held: {why}", cap.shown())
        });
        // The cap is what it may have come to, unless there was no more to be had.
        let cap = if cut_by.is_some() || note.is_some() { cap } else { self.cap };
        (Self { cap, cut_by, ..self.clone() }, note)
    }
}

/// Takes the hold; the inner error is the budget that refuses it, and the least a run needs.
pub(super) fn hold(
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
    let grows = inputs.budget.grows() && !story.limits.subscription && !story.request.around;
    if grows {
        request.want = inputs.budget.first_part(route.cap);
        request.least = request.least.min(request.want);
    }
    match store.reserve(&request).map_err(books::unavailable)? {
        Answer::Granted { cap, cut_by } => {
            // A part that was cut is all there is.
            let growing = (grows && cut_by.is_none() && cap < route.cap).then(|| Growing {
                hold: request.hold.clone(),
                claim: request.claim.clone(),
                cap,
                most: route.cap,
                step: request.want,
            });
            let cap = growing.as_ref().map_or(cap, |growing| growing.most);
            let (id, expires) = (request.hold, request.expires);
            let (balances, siblings) = (Vec::new(), Vec::new());
            Ok(Ok(Held { id, cap, growing, cut_by, expires, balances, siblings }))
        }
        Answer::Refused { by } => {
            folder.closed(&request.hold, story.started).context("the run's folder cannot be written")?;
            Ok(Err((by, least)))
        }
    }
}

/// A budget has too little left: nothing is run.
pub(super) async fn refuse(
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
