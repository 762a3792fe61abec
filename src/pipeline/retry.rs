//! A further attempt after an agent that failed: a run of its own, at the tier that the policy says.
//!
//! The failed attempt is settled before the next one takes its hold, so that each of them is cut to what the
//! budgets have left at its time, and neither can spend the other's money. Both work on the same tree: what
//! the first has left is there for the second, and the patch at the end holds the work of both.

use std::io::Write as _;

use jiff::Timestamp;

use super::conclude::{Spent, crossed, give_up};
use super::folder::RunFolder;
use super::reserve::{Begun, Held, hold};
use super::upstream::Upstream;
use super::{Story, agent_end, books, finish, spend, start};
use crate::budget::Retry;
use crate::cli::Shell;
use crate::gate::{self, AgentEnd};
use crate::ledger::Balance;
use crate::meter::Totals;
use crate::outcome::Outcome;
use crate::report::alerts::Alert;
use crate::route::{self, Routed};
use crate::supervise::{End, Signals};

/// What earlier attempts have left to tell.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// What each came to, one clause each.
    pub(super) remarks: Vec<String>,
    /// Thresholds that they crossed.
    pub(super) alerts: Vec<Alert>,
}

/// Tries again what has failed, as often as the policy allows. What comes back is the last attempt that was
/// started; those before it are settled.
pub(super) async fn again(
    story: &Story<'_>,
    mut begun: Begun,
    mut run: anyhow::Result<Spent>,
    upstream: &Upstream,
    signals: &mut Signals,
    shell: &mut Shell,
) -> (Begun, anyhow::Result<Spent>) {
    let Some(policy) = story.inputs.budget.retry else { return (begun, run) };
    for _ in 0..policy.at_most {
        let mut spent = match run {
            Ok(spent) => spent,
            Err(error) => return (begun, Err(error)),
        };
        if let Some(signal) = signals.pending() {
            spent.agent = agent_end(End::Cancelled(signal));
        }
        let next = match next(story, &begun, &mut spent, (policy, upstream), shell) {
            Ok(Some(next)) => next,
            Ok(None) => return (begun, Ok(spent)),
            Err(why) => {
                spent
                    .earlier
                    .remarks
                    .push(format!("the agent failed and was not tried again: {}", first(&why)));
                return (begun, Ok(spent));
            }
        };
        let cost = spent.count.told().map(|totals| totals.settled).unwrap_or_default();
        let told = format!(
            "an attempt at the {} tier ({}) failed and cost {}; this is another one, at the {} tier",
            begun.route.tier,
            begun.route.model,
            cost.shown(),
            next.route.tier
        );
        // The comment is the next attempt's from here on.
        if let Some(voice) = spent.voice.take() {
            let _: (_, _) = voice.end(false).await;
        }
        match spend(story, &next, upstream, &mut spent.work, signals, shell).await {
            Ok(second) => {
                let mut earlier = std::mem::take(&mut spent.earlier);
                earlier.remarks.push(told);
                (begun, run) = (next, Ok(Spent { earlier, ..second }));
            }
            Err(why) => {
                // What the failed attempt has left is delivered all the same.
                let why = first(&why);
                spent.earlier.remarks.push(format!("another attempt could not be started: {why}"));
                if let Err(error) = give_up(story, &next, "the agent could not be started") {
                    spent.earlier.remarks.push(format!("its hold is still open: {}", first(&error)));
                }
                return (begun, Ok(spent));
            }
        }
    }
    (begun, run)
}

/// What an error says first.
fn first(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

/// Settles a failed attempt and takes the hold of the next; `None` where there is to be none.
fn next(
    story: &Story<'_>,
    failed: &Begun,
    spent: &mut Spent,
    (policy, upstream): (Retry, &Upstream),
    shell: &mut Shell,
) -> anyhow::Result<Option<Begun>> {
    let Begun { store, route: failed_route, held, folder } = failed;
    let (inputs, request) = (story.inputs, story.request);
    let Some(totals) = spent.count.told() else { return Ok(None) };
    let outcome = gate::ended(spent.agent, spent.capped, totals.requests);
    // Asked before anything is settled: a run at the dearest tier ends as any other.
    if !is_worth_it(outcome, spent.agent, totals)
        || route::again(failed_route, policy, &inputs.budget, &[]).is_none()
    {
        return Ok(None);
    }
    let settled = store.settle_as(&held.id, &books::spend(totals), outcome.as_str());
    let settled = settled.map_err(books::unavailable)?;
    spent.earlier.alerts = crossed(story, &settled, std::mem::take(&mut spent.earlier.alerts));
    folder.closed(&held.id, story.started)?;
    // By its own time: the day may be another one by now.
    let limits = books::limits(shell, inputs, story.class.task, Timestamp::now());
    let limits = if story.limits.subscription { limits.of_subscription() } else { limits };
    let story = &Story { limits: &limits, ..*story };
    let balances = store.balances(&limits.for_ledger()).map_err(books::unavailable)?;
    let too_little = |by: &Balance| {
        anyhow::anyhow!("the {} has {} left", crate::limits::name(&by.limit), by.left().shown())
    };
    let route = match route::again(failed_route, policy, &inputs.budget, &balances) {
        Some(Routed::Run(route)) => route,
        Some(Routed::Refused { by, .. }) => return Err(too_little(&by)),
        None => return Ok(None),
    };
    upstream.check(story.preset(), &route)?;
    start::check(&start::choice(story, &route)?, &route, shell)?;
    let folder = RunFolder::create(&books::runs(inputs, request.simulate, request.around, shell))?;
    let held = hold(store, story, &route, &folder, shell)?.map_err(|(by, _)| too_little(&by))?;
    let siblings = finish::siblings(store, story, &held.id).unwrap_or_default();
    store.rest();
    // A log that cannot be written is no reason to leave a hold behind.
    let _ = writeln!(shell.err, "tollgate: the agent failed; {}", route.reason);
    Ok(Some(Begun { store: store.clone(), route, held: Held { balances, siblings, ..held }, folder }))
}

/// Whether an attempt that ended so is worth another one: the agent failed by itself, after it had reached the
/// model. An agent without a single request has another problem than its model, and a cap is an end that was
/// asked for.
pub(super) fn is_worth_it(outcome: Outcome, end: AgentEnd, totals: &Totals) -> bool {
    let failed = matches!(end, AgentEnd::Failed | AgentEnd::TimedOut);
    let by_itself = matches!(outcome, Outcome::AgentFailed | Outcome::TimedOut);
    failed && by_itself && totals.requests > 0 && !totals.at_cap() && totals.overrun.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Phase;

    #[test]
    fn only_an_agent_that_failed_by_itself_after_it_had_reached_its_model_is_tried_again() {
        let failed = || Totals { requests: 3, ..Totals::default() };
        let worth = |totals: &Totals| is_worth_it(Outcome::AgentFailed, AgentEnd::Failed, totals);
        assert!(worth(&failed()));
        assert!(worth(&Totals { phase: Phase::Steered, ..failed() }));
        assert!(!worth(&Totals { requests: 0, ..failed() }), "its model would not have mended that");
        assert!(!worth(&Totals { phase: Phase::LastCall, ..failed() }), "it was told to come to an end");
        assert!(!worth(&Totals { phase: Phase::Stopped, ..failed() }));
        assert!(!worth(&Totals { stopped_requests: 1, ..failed() }));
        assert!(!worth(&Totals { overrun: Some("$2 for at most $1".to_owned()), ..failed() }));
        assert!(is_worth_it(Outcome::TimedOut, AgentEnd::TimedOut, &failed()));
        assert!(!is_worth_it(Outcome::AgentFailed, AgentEnd::Cancelled(130), &failed()));
    }
}
