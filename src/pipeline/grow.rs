//! A hold that grows with its run: a part of the cap at first, and more in steps, so that runs which start
//! together near the end of a budget are not refused for money that none of them will use.
//!
//! The meter says what it wants, and lets nothing leave that is not held. The ledger is asked on a thread
//! of its own, and let go of after each answer: while the agent runs, nothing of it stays open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::id::HoldId;
use crate::ledger::store::{Store, StoreError};
use crate::ledger::{Answer, Balance};
use crate::money::Usd;
use crate::supervise::{Grant, Growth};

/// How long is waited for the last answer once the run is over: its settlement is more urgent.
const END_MAX: Duration = Duration::from_secs(3);

/// How far a hold has grown.
#[derive(Clone, Debug)]
pub(super) struct Grown {
    /// What is held.
    pub(super) cap: Usd,
    /// The budget that gave no more.
    pub(super) cut_by: Option<Balance>,
    /// Why the ledger could not be asked any more.
    pub(super) problem: Option<String>,
}

/// Whoever asks the ledger for more.
#[derive(Debug)]
pub(super) struct Grower {
    grown: Arc<Mutex<Grown>>,
    task: JoinHandle<()>,
}

/// A live hold, and what it may grow to.
#[derive(Clone, Debug)]
pub(super) struct Growing {
    pub(super) hold: HoldId,
    pub(super) claim: String,
    /// What is held of it.
    pub(super) cap: Usd,
    /// What it may come to.
    pub(super) most: Usd,
    /// What it grows by at least.
    pub(super) step: Usd,
}

impl Grower {
    /// Starts to ask for whatever the meter wants.
    pub(super) fn start(store: Store, growing: Growing) -> (Growth, Self) {
        let (wants, wanted) = unbounded_channel();
        let (granted, grants) = unbounded_channel();
        let grown = Grown { cap: growing.cap, cut_by: None, problem: None };
        let grown = Arc::new(Mutex::new(grown));
        let task = tokio::spawn(work(store, growing, wanted, granted, grown.clone()));
        (Growth { wants, grants }, Self { grown, task })
    }

    /// Waits for what was asked for last, and says how far the hold has grown.
    pub(super) async fn end(self) -> Grown {
        // What a panic, or a ledger that does not answer, leaves behind is what was known before.
        let _ = tokio::time::timeout(END_MAX, self.task).await;
        self.grown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn work(
    store: Store,
    growing: Growing,
    mut wanted: UnboundedReceiver<Usd>,
    granted: UnboundedSender<Grant>,
    grown: Arc<Mutex<Grown>>,
) {
    let mut held = growing.cap;
    while let Some(usd) = wanted.recv().await {
        let to = usd.max(held + growing.step).min(growing.most);
        let (store, hold, claim) = (store.clone(), growing.hold.clone(), growing.claim.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let answer = store.extend(&hold, &claim, to);
            store.rest();
            answer
        });
        let (grant, cut_by, problem) = outcome(asked.await, held, to, growing.most);
        held = match grant {
            Grant::To(usd) | Grant::Last(usd) => usd,
        };
        *grown.lock().unwrap_or_else(PoisonError::into_inner) = Grown { cap: held, cut_by, problem };
        if granted.send(grant).is_err() || matches!(grant, Grant::Last(_)) {
            return;
        }
    }
}

/// What an answer of the ledger means for the run. `held` is what it has without it.
fn outcome(
    asked: Result<Result<Answer, StoreError>, tokio::task::JoinError>,
    held: Usd,
    to: Usd,
    most: Usd,
) -> (Grant, Option<Balance>, Option<String>) {
    match asked {
        Ok(Ok(Answer::Granted { cap, cut_by })) if cap < to || cap >= most => {
            (Grant::Last(cap), cut_by, None)
        }
        Ok(Ok(Answer::Granted { cap, .. })) => (Grant::To(cap), None, None),
        Ok(Ok(Answer::Refused { by })) => (Grant::Last(held), Some(by), None),
        // It may be held all the same: what is not known to be held is not spent.
        Ok(Err(error)) => (Grant::Last(held), None, Some(error.to_string())),
        Err(panicked) => (Grant::Last(held), None, Some(panicked.to_string())),
    }
}
