//! The run's dealings with the ledger: what dead runs left, the hold, the settlement.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::folder::{self, DeadRun};
use super::inputs::Inputs;
use super::place::{self, Place, SIMULATED};
use crate::classify::Class;
use crate::cli::Shell;
use crate::event::Event;
use crate::exit::Failure;
use crate::id::RunKey;
use crate::ledger::store::{Store, StoreError};
use crate::ledger::{About, Balance, ModelSpend, Request, Spend};
use crate::limits::{self, Limits};
use crate::meter::{Totals, journal};
use crate::money::Usd;
use crate::route::Route;
use crate::task::Task;

/// Digits of a matrix's digest in a hold's key.
const MATRIX_DIGITS: usize = 12;
/// How long a hold outlives its run's time limit: time to drain, to settle, and to be late.
const LEASE_MARGIN: Duration = Duration::from_secs(15 * 60);
/// The folder of the runner's temporary folder that runs around other steps keep theirs in.
const OUTSIDE: &str = "tollgate";
/// Digits that tell the books of one checkout apart there.
const BOOKS_DIGITS: usize = 12;

/// Opens the ledger, and settles what runs that died before they settled have left.
///
/// # Errors
/// When the ledger cannot be used, as a [`Failure`] with exit code 6.
pub fn open(place: Place, inputs: &Inputs, simulate: bool, shell: &mut Shell) -> anyhow::Result<Store> {
    let store = place.open(simulate).map_err(unavailable)?;
    let mut folders = vec![runs(inputs, simulate, false, shell), runs(inputs, simulate, true, shell)];
    folders.dedup();
    for dead in folders.iter().map(|runs| folder::dead_runs(runs)).collect::<Result<Vec<_>, _>>()? {
        for dead in dead {
            let note = settle_dead(&store, dead, simulate)?;
            writeln!(shell.err, "note: {note}")?;
        }
    }
    for hold in store.sweep().map_err(unavailable)? {
        writeln!(shell.err, "note: hold {hold} expired before its run settled it, so all of it is charged")?;
    }
    Ok(store)
}

/// Where the folders of runs lie: simulated ones beside their own ledger. Those `around` another step lie
/// outside the checkout, which that step may clean: in the runner's folder for the job, where there is one.
#[must_use]
pub fn runs(inputs: &Inputs, simulate: bool, around: bool, shell: &Shell) -> PathBuf {
    let Inputs { state, budget, .. } = inputs;
    let own = if simulate { state.join(SIMULATED) } else { state.clone() };
    let Some(temp) = shell.var("RUNNER_TEMP").filter(|_| around && inputs.on_actions) else { return own };
    // A dead run is charged on its own ledger, never on another that the same job uses.
    let books = format!("{}\n{:?}", own.display(), budget.ledger);
    let digest = crate::id::hex(&Sha256::digest(books.as_bytes()));
    Path::new(temp).join(OUTSIDE).join(&digest[..BOOKS_DIGITS])
}

/// The limits that apply, raised by an override that counts, with the purses that the ledger knows them by.
#[must_use]
pub fn limits(shell: &Shell, inputs: &Inputs, task: Task, now: Timestamp) -> Limits {
    let Inputs { budget, event, workflow, .. } = inputs;
    let limits = inputs.lifted(limits::apply(budget, event, workflow.as_deref(), task, now));
    if !budget.ledger.is_shared() {
        return limits;
    }
    let repository = place::repository_key(shell, &event.repository, event.repository_id);
    limits.on_shared_ledger(&repository, event)
}

/// The ledger failed: a [`Failure`] with exit code 6.
pub fn unavailable(error: StoreError) -> anyhow::Error {
    unavailable_text(&error.to_string())
}

/// As [`unavailable`], of an error that is not one's own.
pub fn unavailable_text(error: &str) -> anyhow::Error {
    Failure::ledger(error).into()
}

/// Charges a dead run: by its journal where nobody else could have written that, else its whole hold.
///
/// Only the built-in agent writes no files. Whether it was that one is for the ledger's namespace to say,
/// never for the run's folder: any other agent could have written there whatever it liked.
fn settle_dead(store: &Store, dead: DeadRun, simulate: bool) -> anyhow::Result<String> {
    let id = dead.record.hold.clone();
    let journal = journal::recover(&dead.journal());
    let evidence = match &journal {
        Ok(recovered) if simulate => Some(evidence(recovered)),
        _ => None,
    };
    let note = match store.expire(&id, evidence.as_ref()) {
        Ok(settlement) => {
            let charged = settlement.spend.usd.shown();
            let seen = match (&evidence, &journal) {
                (Some(_), _) => "as its journal proves".to_owned(),
                (None, Ok(recovered)) => {
                    format!(
                        "all of its hold, because its journal ({} at most) is no proof",
                        recovered.charge().shown()
                    )
                }
                (None, Err(damage)) => format!("all of its hold, because {damage}"),
            };
            format!("run {id} died before it settled; it is charged {charged}, {seen}")
        }
        // The hold is closed already and only the folder does not say so, or it was never granted.
        Err(error) if !error.is_unavailable() => {
            let why = error.to_string();
            format!(
                "run {id} left no word of its end and owes nothing: {}",
                why.lines().next().unwrap_or_default()
            )
        }
        Err(error) => return Err(unavailable(error)),
    };
    match dead.finished() {
        Ok(()) => Ok(note),
        // Its hold is closed: the next command finds nothing left to charge.
        Err(error) => Ok(format!("{note} (its folder cannot be written: {error})")),
    }
}

/// What a journal proves that a run has spent.
#[must_use]
pub fn evidence(recovered: &journal::Recovered) -> Spend {
    let mut spend = spend(&recovered.totals);
    spend.usd += recovered.in_flight_worst;
    spend.estimated += recovered.in_flight_worst;
    spend
}

/// What a run spent, in the ledger's terms.
#[must_use]
pub fn spend(totals: &Totals) -> Spend {
    let models = totals.by_model.iter().map(|(model, used)| ModelSpend {
        model: model.to_string(),
        usd: used.usd,
        requests: used.requests,
        tokens: used.counts,
        notional: used.notional,
    });
    Spend {
        usd: totals.settled,
        estimated: totals.estimated,
        models: models.collect(),
        notional: totals.notional,
    }
}

/// What a run asks of the ledger. One that a subscription pays for asks for no dollars, of no limit.
#[must_use]
pub fn request(
    key: &RunKey,
    route: &Route,
    least: Usd,
    limits: &Limits,
    event: &Event,
    class: &Class,
    workflow: Option<&str>,
) -> Request {
    let lease =
        SignedDuration::try_from(route.timeout + LEASE_MARGIN).unwrap_or(SignedDuration::from_hours(6));
    Request {
        hold: key.hold_id(),
        claim: crate::id::random_hex(16),
        want: if limits.subscription { Usd::ZERO } else { route.cap },
        least: if limits.subscription { Usd::ZERO } else { least.min(route.cap) },
        limits: limits.for_ledger(),
        purses: limits.purses.clone(),
        expires: Timestamp::now().checked_add(lease).unwrap_or(Timestamp::MAX),
        about: About {
            task: class.task.to_string(),
            tier: route.tier.to_string(),
            model: route.model.to_string(),
            actor: event.actor.login.clone(),
            pr: event.change.as_ref().and_then(|change| change.number),
            workflow: workflow.map(str::to_owned),
            stakes: class.stakes.to_string(),
            budget: None,
        },
        lift: limits.lift.clone(),
    }
}

/// Records on the ledger that a run was not started, because `by` has too little left.
///
/// # Errors
/// When the ledger does not take it.
pub fn note_refusal(
    store: &Store,
    shell: &Shell,
    inputs: &Inputs,
    class: &Class,
    limits: &Limits,
    by: &Balance,
) -> Result<(), StoreError> {
    let tier = inputs.budget.tasks.tier(class.task, class.stakes);
    let caps = inputs.budget.tiers.get(tier);
    let route = Route {
        tier,
        asked: tier,
        model: caps.model.clone(),
        cap: caps.max_usd,
        fresh_tokens: caps.max_tokens,
        timeout: caps.timeout,
        effort: None,
        thinking: None,
        reason: String::new(),
    };
    // A key of its own: it never becomes a hold.
    let key = key(shell, &inputs.event, &crate::id::random_hex(8));
    let (least, workflow) = (inputs.budget.on.min_run_usd, inputs.workflow.as_deref());
    store.refuse(&request(&key, &route, least, limits, &inputs.event, class, workflow), by)
}

/// The identity of this run.
#[must_use]
pub fn key(shell: &Shell, event: &Event, nonce: &str) -> RunKey {
    let var = |name: &str, otherwise: &str| shell.var(name).unwrap_or(otherwise).to_owned();
    RunKey {
        host: place::host(shell).to_owned(),
        repository: event.repository_id.map_or_else(|| event.repository.clone(), |id| id.to_string()),
        run: var("GITHUB_RUN_ID", "local"),
        attempt: shell.var("GITHUB_RUN_ATTEMPT").and_then(|text| text.parse().ok()).unwrap_or(1),
        job: job(&var("GITHUB_JOB", "local"), shell.var("TOLLGATE_MATRIX")),
        nonce: nonce.to_owned(),
    }
}

/// A job, with a digest of its matrix values where it has any: all legs of a matrix have one name.
fn job(name: &str, matrix: Option<&str>) -> String {
    let text = matrix.map(str::trim).filter(|text| !matches!(*text, "" | "null" | "{}"));
    let Some(text) = text else { return name.to_owned() };
    // The same values in another layout are the same leg.
    let text = serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value: Value| sorted(&value));
    let digest = crate::id::hex(&Sha256::digest(text.as_bytes()));
    format!("{name}.{}", &digest[..MATRIX_DIGITS])
}

/// JSON with its keys in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, String> =
                map.iter().map(|(key, value)| (key, sorted(value))).collect();
            format!("{ordered:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(sorted).collect::<Vec<_>>()),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn shell(env: &[(&str, &str)]) -> Shell {
        let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Shell { env, out: Box::new(std::io::sink()), err: Box::new(std::io::sink()) }
    }

    fn hold(env: &[(&str, &str)], nonce: &str) -> String {
        let mut event = Event::bare(Kind::PullRequest, "acme/widgets");
        event.repository_id = Some(5);
        let always =
            [("GITHUB_SERVER_URL", "https://ghe.example/"), ("GITHUB_RUN_ID", "77"), ("GITHUB_JOB", "test")];
        let all: Vec<_> = always.iter().chain(env).copied().collect();
        key(&shell(&all), &event, nonce).hold_id().to_string()
    }

    #[test]
    fn whatever_spends_its_own_money_has_a_hold_of_its_own() {
        let leg = |matrix| hold(&[("TOLLGATE_MATRIX", matrix), ("GITHUB_RUN_ATTEMPT", "1")], "n");
        assert_eq!(hold(&[], "n"), "ghe.example/5/77/1/test/n");
        assert_eq!(leg("null"), hold(&[("GITHUB_RUN_ATTEMPT", "1")], "n"), "no matrix is no leg");
        let (one, other) = (leg(r#"{"os":"linux","v":[1,2]}"#), leg(r#"{"os":"mac","v":[1,2]}"#));
        assert!(one.starts_with("ghe.example/5/77/1/test."), "{one}");
        assert_ne!(one, other);
        assert_eq!(one, leg("{ \"v\": [1, 2],\n \"os\": \"linux\" }"), "the layout does not matter");
        assert_ne!(leg("[1]"), leg("[\"1\"]"));
        assert_ne!(hold(&[], "n"), hold(&[], "m"), "two runs in one step");
        assert_ne!(hold(&[], "n"), hold(&[("GITHUB_RUN_ATTEMPT", "2")], "n"), "a re-run");
        assert_eq!(hold(&[], "n"), hold(&[], "n"), "a retry of the same attempt");
    }
}
