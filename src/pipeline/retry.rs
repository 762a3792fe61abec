//! A further attempt after an agent that failed: a run of its own, at the tier that the policy says.
//!
//! The failed attempt is settled before the next one takes its hold, so that each of them is cut to what the
//! budgets have left at its time, and neither can spend the other's money. Both work on the same tree: what
//! the first has left is there for the second, and the patch at the end holds the work of both.

use std::io::Write as _;

use super::folder::RunFolder;
use super::start::{self, Upstream};
use super::voice::Voice;
use super::{Attempt, Held, Story, agent_end, books, finish, finish_record, hold, spend};
use crate::budget::Retry;
use crate::cli::Shell;
use crate::gate::{self, AgentEnd};
use crate::ledger::store::Store;
use crate::limits;
use crate::meter::Totals;
use crate::outcome::Outcome;
use crate::route::{self, Route, Routed};
use crate::supervise::Signals;

/// Tries again what has failed, as often as the policy allows. What comes back is the last attempt; those before
/// it are settled.
pub(super) async fn again(
    story: &Story<'_>,
    store: &Store,
    mut attempt: Attempt,
    upstream: &Upstream,
    signals: &mut Signals,
    shell: &mut Shell,
) -> Attempt {
    let Some(policy) = story.inputs.budget.retry else { return attempt };
    for _ in 0..policy.at_most {
        let Attempt { route, held, folder, run } = attempt;
        let mut spent = match run {
            Ok(spent) => spent,
            Err(error) => return Attempt { route, held, folder, run: Err(error) },
        };
        let begun = match begin(story, store, &route, &held, &folder, &spent.supervised, policy, shell) {
            Ok(Some(begun)) => begun,
            Ok(None) => return Attempt { route, held, folder, run: Ok(spent) },
            Err(why) => {
                let why = format!("{why:#}");
                let why = why.lines().next().unwrap_or_default();
                spent.earlier.push(format!("the agent failed and was not tried again: {why}"));
                return Attempt { route, held, folder, run: Ok(spent) };
            }
        };
        let mut earlier = spent.earlier;
        earlier.push(format!(
            "an attempt at the {} tier ({}) failed and cost {}; this is another one, at the {} tier",
            route.tier,
            route.model,
            spent.supervised.totals.settled.shown(),
            begun.0.tier
        ));
        // The comment is the next attempt's from here on.
        if let Some(voice) = spent.voice {
            let _: (_, _) = Voice::end(voice, false).await;
        }
        let (route, held, folder) = begun;
        let run = spend(story, &route, &held, upstream, &folder, Some(spent.work), signals, shell).await;
        let run = run.map(|spent| super::Spent { earlier, ..spent });
        attempt = Attempt { route, held, folder, run };
    }
    attempt
}

/// Settles a failed attempt and takes the hold of the next; `None` where there is to be none.
#[expect(clippy::too_many_arguments, reason = "each is a stage's own")]
fn begin(
    story: &Story<'_>,
    store: &Store,
    failed: &Route,
    held: &Held,
    folder: &RunFolder,
    supervised: &crate::supervise::Supervised,
    policy: Retry,
    shell: &mut Shell,
) -> anyhow::Result<Option<(Route, Held, RunFolder)>> {
    let inputs = story.inputs;
    let (end, totals) = (agent_end(supervised.end), &supervised.totals);
    let outcome = gate::ended(end, supervised.capped(), totals.requests);
    // Asked before anything is settled: a run at the dearest tier ends as any other.
    if !is_worth_it(outcome, end, totals) || route::again(failed, policy, &inputs.budget, &[]).is_none() {
        return Ok(None);
    }
    store.settle_as(&held.id, &books::spend(totals), outcome.as_str()).map_err(books::unavailable)?;
    finish_record(folder, story, &held.id)?;
    let balances = store.balances(&story.limits.for_ledger()).map_err(books::unavailable)?;
    let too_little = |by: &crate::ledger::Balance| {
        anyhow::anyhow!("the {} has {} left", limits::name(&by.limit), by.left().shown())
    };
    let route = match route::again(failed, policy, &inputs.budget, &balances) {
        Some(Routed::Run(route)) => route,
        Some(Routed::Refused { by, .. }) => return Err(too_little(&by)),
        None => return Ok(None),
    };
    start::check(&start::choice(story, &route)?, &route, shell)?;
    let next = RunFolder::create(&books::runs(&inputs.state, story.request.simulate))?;
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
