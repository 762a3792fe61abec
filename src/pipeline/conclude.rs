//! After the agent: settle, deliver, report, gate. Whatever became of a run, its hold does not stay open.

use std::time::Duration;

use anyhow::Context;

use super::finish::{Facts, Reported};
use super::grow::Grown;
use super::reserve::{Begun, Held};
use super::retry::Earlier;
use super::voice::Voice;
use super::work::{self, Saved, Work};
use super::{Story, books, deliver, finish, total};
use crate::cli::Shell;
use crate::gate::{self, AgentEnd, Ending, Gate, Ran};
use crate::ledger::store::{Store, StoreError};
use crate::ledger::{Settlement, Spend};
use crate::meter::{ModelTotals, Totals};
use crate::model::ModelId;
use crate::outcome::Verdict;
use crate::price::When;
use crate::report::Served;
use crate::report::alerts::{self, Alert};
use crate::route::Route;
use crate::savings::{self, Savings};

/// What became of a run that was started.
pub(super) struct Spent {
    /// How the agent ended.
    pub(super) agent: AgentEnd,
    /// What it spent, as far as that is known.
    pub(super) count: Count,
    /// How far its hold has grown, where it did.
    pub(super) grown: Option<Grown>,
    /// Whether the cap stopped it.
    pub(super) capped: bool,
    /// Its last words.
    pub(super) words: Option<String>,
    /// How long it took.
    pub(super) took: Duration,
    /// The working tree as it was before; nothing where the agent was a step of somebody else's, which
    /// delivers by itself.
    pub(super) work: Option<Work>,
    /// What speaks for it on its pull request.
    pub(super) voice: Option<Voice>,
    /// What earlier attempts have left to tell.
    pub(super) earlier: Earlier,
}

/// How well it is known what a run has spent.
pub(super) enum Count {
    /// Its meter has said so.
    Told(Totals),
    /// Its meter is gone without a word; what its journal proves, where it proves anything.
    Lost(Option<Spend>),
    /// The agent was never started.
    Nothing,
}

impl Count {
    /// What the meter has said.
    pub(super) fn told(&self) -> Option<&Totals> {
        match self {
            Count::Told(totals) => Some(totals),
            Count::Lost(_) | Count::Nothing => None,
        }
    }

    /// Closes the hold.
    fn settle(&self, store: &Store, held: &Held, spent: &Spent) -> Result<Settlement, StoreError> {
        match self {
            Count::Told(totals) => {
                let outcome = gate::ended(spent.agent, spent.capped, totals.requests);
                store.settle_as(&held.id, &books::spend(totals), outcome.as_str())
            }
            Count::Lost(evidence) => store.expire(&held.id, evidence.as_ref()),
            Count::Nothing => store.void(&held.id, "the agent's step was skipped"),
        }
    }

    /// What is reported as used.
    fn totals(self, settlement: &Result<Settlement, StoreError>) -> Totals {
        match (self, settlement) {
            (Count::Told(totals), _) => totals,
            (_, Ok(settlement)) => totals(&settlement.spend),
            (_, Err(_)) => Totals::default(),
        }
    }
}

/// What the ledger charges, as a meter would say it.
fn totals(spend: &Spend) -> Totals {
    let model = |model: &crate::ledger::ModelSpend| {
        let used = ModelTotals {
            requests: model.requests,
            counts: model.tokens,
            usd: model.usd,
            notional: model.notional,
        };
        (ModelId::new(&model.model), used)
    };
    Totals {
        settled: spend.usd,
        estimated: spend.estimated,
        notional: spend.notional,
        requests: spend.models.iter().map(|model| model.requests).sum(),
        by_model: spend.models.iter().map(model).collect(),
        ..Totals::default()
    }
}

/// Settles, decides, reports.
///
/// # Errors
/// When the agent could not be started, and when the verdict passes and a result cannot be written.
pub(super) async fn conclude(
    story: &Story<'_>,
    begun: &Begun,
    run: anyhow::Result<Spent>,
    shell: &mut Shell,
) -> anyhow::Result<Reported> {
    let Begun { store, route, held, folder } = begun;
    let mut spent = match run {
        Ok(spent) => spent,
        Err(error) => {
            give_up(story, begun, "the agent could not be started")?;
            return Err(error);
        }
    };
    let (held, unasked) = held.after(spent.grown.take(), spent.capped);
    let held = &held;
    let settlement = spent.count.settle(store, held, &spent);
    // A record that still says otherwise is found by the next command.
    let recorded = if settlement.is_ok() { folder.closed(&held.id, story.started) } else { Ok(()) };
    // After settling: git reads what an agent has left, and that may take longer than a runner waits.
    let mut saved = save(story, &mut spent, begun, shell).await;
    saved.notes.extend(unasked);
    saved.notes.extend(recorded.err().map(|error| format!("the run's folder cannot be written: {error}")));
    let mut around = finish::around(story, held.siblings.clone());
    let earlier = std::mem::take(&mut spent.earlier);
    around.remarks.extend(earlier.remarks);
    let (gate, balances) = match &settlement {
        Ok(settlement) => {
            around.alerts = crossed(story, settlement, earlier.alerts);
            (verdict(story, (route, held), &spent, settlement), settlement.balances.clone())
        }
        // What was spent is told all the same; the next command charges it.
        Err(error) => {
            let Count::Told(Totals { settled, .. }) = &spent.count else {
                return Err(books::unavailable_text(&error.to_string()));
            };
            (gate::unsettled(*settled, &error.to_string()), held.balances.clone())
        }
    };
    around.siblings = finish::siblings(store, story, &held.id).unwrap_or(around.siblings);
    let totals = spent.count.totals(&settlement);
    let used = totals.by_model.iter().map(|(model, used)| (model, &used.counts));
    let when = When::Around(story.started);
    let table = story.inputs.table;
    // Who pays by the month saves no dollars by the token.
    let savings = match story.limits.subscription {
        true => Savings::default(),
        false => savings::savings(used, &story.inputs.budget.tiers, route.tier, table, when),
    };
    let pull_request = total::of_pull_request(store, story.limits).unwrap_or_else(|error| {
        saved.notes.push(format!("what the pull request has cost cannot be told: {error}"));
        None
    });
    let served = Served {
        hold: held.id.clone(),
        tier: route.tier,
        // As the price table names it: so do the totals, whatever a cloud calls it.
        model: table.find(&route.model).map_or_else(|| route.model.clone(), |model| model.id.clone()),
        reason: route.reason.clone(),
        cap: held.cap,
    };
    let facts = Facts {
        served: Some(served),
        subscription: story.subscription(route, totals.fresh),
        pull_request,
        balances,
        savings,
        took: spent.took,
        saved,
        folder: Some(folder.path().to_owned()),
        totals,
        around,
    };
    finish::report(story, &gate, facts, spent.voice, shell).await
}

/// The thresholds that a run has crossed, after those of its earlier attempts.
pub(super) fn crossed(story: &Story<'_>, settlement: &Settlement, mut earlier: Vec<Alert>) -> Vec<Alert> {
    let states = finish::budget_states(&settlement.balances);
    for alert in alerts::crossed(&story.inputs.budget.alerts, settlement.spend.usd, &states) {
        // An attempt that is settled once more has crossed nothing twice.
        let told = |told: &Alert| told.what == alert.what && told.percent == alert.percent;
        if !earlier.iter().any(told) {
            earlier.push(alert);
        }
    }
    earlier
}

/// Gives a hold back under which nothing was forwarded.
///
/// # Errors
/// When the ledger cannot be used, or the run's folder not be written.
pub(super) fn give_up(story: &Story<'_>, begun: &Begun, why: &str) -> anyhow::Result<()> {
    begun.store.void(&begun.held.id, why).map_err(books::unavailable)?;
    begun.folder.closed(&begun.held.id, story.started).context("the run's folder cannot be written")
}

/// Keeps what the agent said and did, and delivers it where that is ours to do.
async fn save(story: &Story<'_>, spent: &mut Spent, begun: &Begun, shell: &Shell) -> Saved {
    let (words, folder) = (spent.words.take(), &begun.folder);
    match spent.work.take() {
        Some(work) => {
            let mut saved = work.save(story, words, folder.path()).await;
            deliver::deliver(story, &mut saved, spent.agent, folder, shell).await;
            saved
        }
        None => work::words(words, &work::redactor(&[], shell), folder.path()),
    }
}

/// The gate's verdict on a run that is settled.
fn verdict(
    story: &Story<'_>,
    (route, held): (&Route, &Held),
    spent: &Spent,
    settlement: &Settlement,
) -> Gate {
    let Settlement { spend, balances, .. } = settlement;
    let ending = match &spent.count {
        Count::Told(totals) => Ending::Ran(Ran {
            agent: spent.agent,
            cap: held.cap,
            spent: spend.usd,
            capped: spent.capped,
            cut_by: held.cut_by.as_ref().map(|balance| &balance.limit),
            requests: totals.requests,
            overrun: totals.overrun.as_deref(),
            balances,
            subscription: story.subscription(route, totals.fresh),
        }),
        Count::Lost(evidence) => {
            Ending::Uncounted { agent: spent.agent, charged: spend.usd, proven: evidence.is_some(), balances }
        }
        Count::Nothing => {
            let reason = "the agent's step was skipped, so nothing was spent";
            let hint = "give the steps that begin and end the run the same `if:` as the agent's";
            return gate::skipped(Verdict::Pass, reason, hint);
        }
    };
    gate::decide(&story.inputs.budget, story.class.task, story.limits, &ending)
}
