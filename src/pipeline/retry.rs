//! A further attempt after an agent that failed: a run of its own, at the tier that the policy says.
//!
//! The failed attempt is settled before the next one takes its hold, so that each of them is cut to what the
//! budgets have left at its time, and neither can spend the other's money. Both work on the same tree: what
//! the first has left is there for the second, and the patch at the end holds the work of both.

use std::io::Write as _;

use super::conclude::Spent;
use super::folder::RunFolder;
use super::reserve::{Begun, Held, hold};
use super::start::{self, Upstream};
use super::voice::Voice;
use super::{Story, books, finish, spend};
use crate::budget::Retry;
use crate::cli::Shell;
use crate::gate::{self, AgentEnd};
use crate::ledger::Balance;
use crate::limits;
use crate::meter::Totals;
use crate::outcome::Outcome;
use crate::route::{self, Route, Routed};
use crate::supervise::Signals;

/// Tries again what has failed, as often as the policy allows. What comes back is the last attempt; those before
/// it are settled.
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
        let (route, held, folder) = match next(story, &begun, &spent, (policy, upstream), shell) {
            Ok(Some(next)) => next,
            Ok(None) => return (begun, Ok(spent)),
            Err(why) => {
                let why = format!("{why:#}");
                let why = why.lines().next().unwrap_or_default();
                spent.earlier.push(format!("the agent failed and was not tried again: {why}"));
                return (begun, Ok(spent));
            }
        };
        let mut earlier = spent.earlier;
        let cost = spent.count.told().map(|totals| totals.settled).unwrap_or_default();
        earlier.push(format!(
            "an attempt at the {} tier ({}) failed and cost {}; this is another one, at the {} tier",
            begun.route.tier,
            begun.route.model,
            cost.shown(),
            route.tier
        ));
        // The comment is the next attempt's from here on.
        if let Some(voice) = spent.voice {
            let _: (_, _) = Voice::end(voice, false).await;
        }
        begun = Begun { store: begun.store, route, held, folder };
        run = spend(story, &begun, upstream, spent.work, signals, shell).await;
        run = run.map(|spent| Spent { earlier, ..spent });
    }
    (begun, run)
}

/// Settles a failed attempt and takes the hold of the next; `None` where there is to be none.
fn next(
    story: &Story<'_>,
    failed: &Begun,
    spent: &Spent,
    (policy, upstream): (Retry, &Upstream),
    shell: &mut Shell,
) -> anyhow::Result<Option<(Route, Held, RunFolder)>> {
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
    store.settle_as(&held.id, &books::spend(totals), outcome.as_str()).map_err(books::unavailable)?;
    folder.closed(&held.id, story.started)?;
    let balances = store.balances(&story.limits.for_ledger()).map_err(books::unavailable)?;
    let too_little =
        |by: &Balance| anyhow::anyhow!("the {} has {} left", limits::name(&by.limit), by.left().shown());
    let route = match route::again(failed_route, policy, &inputs.budget, &balances) {
        Some(Routed::Run(route)) => route,
        Some(Routed::Refused { by, .. }) => return Err(too_little(&by)),
        None => return Ok(None),
    };
    upstream.check(story.preset(), &route)?;
    start::check(&start::choice(story, &route)?, &route, shell)?;
    let next = RunFolder::create(&books::runs(inputs, request.simulate, request.around, shell))?;
    let held = hold(store, story, &route, &next, shell)?.map_err(|(by, _)| too_little(&by))?;
    let siblings = finish::siblings(store, story, &held.id).unwrap_or_default();
    store.rest();
    writeln!(shell.err, "tollgate: the agent failed; {}", route.reason)?;
    Ok(Some((route, Held { balances, siblings, ..held }, next)))
}

/// Whether an attempt that ended so is worth another one: the agent failed by itself, after it had reached the
/// model. An agent without a single request has another problem than its model, and a cap is an end that was
/// asked for.
pub(super) fn is_worth_it(outcome: Outcome, end: AgentEnd, totals: &Totals) -> bool {
    let failed = matches!(end, AgentEnd::Failed | AgentEnd::TimedOut);
    let by_itself = matches!(outcome, Outcome::AgentFailed | Outcome::TimedOut);
    failed && by_itself && totals.requests > 0 && totals.stopped_requests == 0 && totals.overrun.is_none()
}
