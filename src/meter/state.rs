//! The run's state behind one lock: the account, the journal, the totals, and who waits.
//!
//! `forward` enters here before a request leaves and again when it has ended. The lock is never held
//! across an await; those who waited are answered after it is let go, since dropping an answer that
//! nobody takes comes back here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::account::{Account, Ask, Decision, Note, Outcome, Reason, RequestId, Spend, Ticket, Woken, Worst};
use super::journal::{Entry, Journal};
use super::{Allowance, Phase, Policy, Snapshot, Totals, say};
use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::Counts;

/// Different notes that are kept; further ones only say that there were more.
const NOTES_MAX: usize = 64;
/// Characters of a note.
const NOTE_CHARS_MAX: usize = 300;

/// The state of one run.
#[derive(Debug)]
pub(super) struct State {
    inner: Mutex<Inner>,
    snapshot: watch::Sender<Snapshot>,
}

#[derive(Debug)]
struct Inner {
    account: Account,
    journal: Journal,
    totals: Totals,
    counts: Counts,
    /// Requests that left, ended or not.
    requests: u64,
    /// Who waits, and for which model.
    waiting: BTreeMap<Ticket, (oneshot::Sender<Admission>, Going)>,
    /// To which model each request in flight went, and its worst case at list prices where a subscription
    /// pays for it.
    models: BTreeMap<RequestId, (ModelId, Option<Usd>)>,
    last_text: Option<String>,
    /// Tokens by which a counted input turned out larger than its bound said.
    count_margin: u64,
    /// An answer to a request that named no region has said that there is no surcharge for it.
    region_known: bool,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) struct Going {
    pub(super) model: ModelId,
    /// Its worst case at list prices, where a subscription pays for it.
    pub(super) notional: Option<Worst>,
}

/// What became of a request at the gate.
#[derive(Debug)]
pub(super) enum Admission {
    /// It may leave.
    Go(Admitted),
    /// It has to wait.
    Wait(Waiting),
    /// Its input is to be counted first.
    Count,
    /// It does not leave.
    Stop(Stop),
    /// The journal cannot be written, so nothing may leave.
    NoJournal(String),
}

/// A request that does not leave, with what is to be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) reason: Reason,
    pub(super) allowance: Allowance,
    pub(super) spent: Spend,
}

/// A request that may leave. Dropped without [`close`](Admitted::close), it counts as never sent, until
/// [`left`](Admitted::left) was called: then as lost, at its worst case.
#[derive(Debug)]
pub(super) struct Admitted {
    state: Arc<State>,
    pub(super) id: RequestId,
    pub(super) output: u64,
    pub(super) note: Option<Note>,
    left: bool,
    closed: bool,
}

impl Admitted {
    /// Bytes of it may have left from here on.
    pub(super) fn left(&mut self) {
        self.left = true;
    }

    /// Closes the request. `entry` says what it consists of, as far as that is known.
    pub(super) fn close(mut self, outcome: Outcome, entry: Option<Entry>) {
        self.closed = true;
        self.state.close(self.id, outcome, entry);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.closed {
            let outcome = if self.left { Outcome::Lost { spend: None } } else { Outcome::NotSent };
            self.state.close(self.id, outcome, None);
        }
    }
}

/// A place in the queue; dropped, it is given up.
#[derive(Debug)]
pub(super) struct Waiting {
    state: Arc<State>,
    ticket: Ticket,
    answer: oneshot::Receiver<Admission>,
}

impl Waiting {
    /// Waits for the answer. `None` when the run was dropped meanwhile.
    pub(super) async fn answer(mut self) -> Option<Admission> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.state.leave(self.ticket);
    }
}

impl State {
    pub(super) fn new(allowance: Allowance, policy: Policy, journal: Journal) -> Self {
        let account = Account::new(allowance, policy.steer_at, policy.enforce);
        let inner = Inner {
            account,
            journal,
            totals: Totals::default(),
            counts: Counts::default(),
            requests: 0,
            waiting: BTreeMap::new(),
            models: BTreeMap::new(),
            last_text: None,
            count_margin: 0,
            region_known: false,
        };
        let snapshot = watch::Sender::new(inner.snapshot());
        Self { inner: Mutex::new(inner), snapshot }
    }

    /// The account stays true when a thread that held it panicked: each change is made whole before
    /// anything else is called.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request to the gate.
    pub(super) fn admit(self: &Arc<Self>, ask: Ask, going: Going) -> Admission {
        let mut inner = self.lock();
        let decision = inner.account.admit(ask);
        let (admission, rest) = match decision {
            Decision::Wait(ticket) => {
                let (sender, answer) = oneshot::channel();
                inner.waiting.insert(ticket, (sender, going));
                (Admission::Wait(Waiting { state: self.clone(), ticket, answer }), Vec::new())
            }
            other => self.carry_out(&mut inner, other, &going),
        };
        self.publish(inner, rest);
        admission
    }

    /// Makes a decision known to the journal and the totals. Where the journal fails the request is
    /// taken back, which may let others go.
    fn carry_out(
        self: &Arc<Self>,
        inner: &mut Inner,
        decision: Decision,
        going: &Going,
    ) -> (Admission, Woken) {
        match decision {
            Decision::Send { id, output, note, worst } => {
                if let Err(error) = inner.journal.admit(id, worst.usd) {
                    let closed = inner.account.close(id, Outcome::NotSent);
                    return (Admission::NoJournal(error.to_string()), closed.woken);
                }
                inner.requests += 1;
                let notional = going.notional.map(|worst| worst.at(output).usd);
                inner.models.insert(id, (going.model.clone(), notional));
                let admitted = Admitted { state: self.clone(), id, output, note, left: false, closed: false };
                (Admission::Go(admitted), Vec::new())
            }
            Decision::Count => (Admission::Count, Vec::new()),
            // Only `admit` makes tickets, and it handles them itself.
            Decision::Wait(_) => (Admission::Count, Vec::new()),
            Decision::Stop(reason) => {
                inner.totals.stopped_requests += 1;
                let stop =
                    Stop { reason, allowance: inner.account.allowance(), spent: inner.account.settled() };
                (Admission::Stop(stop), Vec::new())
            }
        }
    }

    /// Publishes the new state, lets the lock go and answers those who waited.
    fn publish(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>, woken: Woken) {
        let mut answers = Vec::new();
        let mut queue = std::collections::VecDeque::from(woken);
        while let Some((ticket, decision)) = queue.pop_front() {
            // Whoever left the map has left the queue with it.
            let Some((sender, going)) = inner.waiting.remove(&ticket) else { continue };
            let (admission, more) = self.carry_out(&mut inner, decision, &going);
            queue.extend(more);
            answers.push((sender, admission));
        }
        inner.note_phase();
        self.snapshot.send_replace(inner.snapshot());
        drop(inner);
        for (waiting, admission) in answers {
            // Who has left meanwhile does not take the answer; dropping it gives the room back.
            drop(waiting.send(admission));
        }
    }

    /// Closes a request, once: a second time changes nothing. Without an `entry`, what is charged is put
    /// down to the request's model, without tokens.
    pub(super) fn close(self: &Arc<Self>, id: RequestId, outcome: Outcome, entry: Option<Entry>) {
        let mut inner = self.lock();
        let closed = inner.account.close(id, outcome);
        let model = inner.models.remove(&id);
        let (Some(charged), Some((model, notional))) = (closed.charged, model) else { return };
        let lost = matches!(outcome, Outcome::Lost { .. });
        let entry = entry.unwrap_or_else(|| {
            // What is lost on a subscription counts at its worst case there as well.
            let usd = notional.filter(|_| lost).unwrap_or(charged.usd);
            let lines = vec![(model, Counts::default(), usd)];
            Entry { usd, lines, web_searches: 0, notional: notional.is_some() }
        });
        let written = match outcome {
            Outcome::Answered { .. } | Outcome::NotBilled => {
                inner.add(&entry, false);
                inner.journal.settle(id, &entry)
            }
            Outcome::Lost { .. } => {
                inner.add(&entry, true);
                inner.journal.lose(id, &entry)
            }
            Outcome::NotSent => {
                inner.requests = inner.requests.saturating_sub(1);
                inner.journal.release(id)
            }
        };
        if let Err(error) = written {
            inner.note(&format!("the journal could not be written: {error}"));
        }
        if let Some(overrun) = closed.overrun {
            let text = say::overrun(&overrun);
            inner.totals.overrun.get_or_insert(text);
        }
        self.publish(inner, closed.woken);
    }

    fn leave(self: &Arc<Self>, ticket: Ticket) {
        let mut inner = self.lock();
        if inner.waiting.remove(&ticket).is_none() {
            return;
        }
        let woken = inner.account.leave(ticket);
        self.publish(inner, woken);
    }

    /// Another allowance.
    pub(super) fn grow(self: &Arc<Self>, allowance: Allowance) {
        let mut inner = self.lock();
        let woken = inner.account.grow(allowance);
        self.publish(inner, woken);
    }

    /// So much of the allowance is held on the ledger.
    pub(super) fn grant(self: &Arc<Self>, usd: Usd) {
        let mut inner = self.lock();
        let woken = inner.account.grant(usd);
        self.publish(inner, woken);
    }

    /// No more is ever held than is now.
    pub(super) fn land(self: &Arc<Self>) {
        let mut inner = self.lock();
        let woken = inner.account.land();
        self.publish(inner, woken);
    }

    /// Nothing leaves any more.
    pub(super) fn seal(self: &Arc<Self>) {
        let mut inner = self.lock();
        let woken = inner.account.seal();
        self.publish(inner, woken);
    }

    /// Counts everything that is still in flight at its worst case, and ends the journal.
    pub(super) fn finish(self: &Arc<Self>) -> Totals {
        let open: Vec<RequestId> = self.lock().account.in_flight().collect();
        for id in open {
            self.close(id, Outcome::Lost { spend: None }, None);
        }
        let mut inner = self.lock();
        if let Err(error) = inner.journal.end() {
            inner.note(&format!("the journal could not be ended: {error}"));
        }
        Totals { fresh: inner.account.settled().fresh, ..inner.totals.clone() }
    }

    /// The state, for others to watch.
    pub(super) fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.subscribe()
    }

    /// Whether nothing is taken any more.
    pub(super) fn is_sealed(&self) -> bool {
        self.lock().account.phase() == Phase::Sealed
    }

    /// Remembers something that was seen, once.
    pub(super) fn note(&self, text: &str) {
        self.lock().note(text);
    }

    /// Remembers the agent's last text.
    pub(super) fn say_last(&self, text: String) {
        self.lock().last_text = Some(text);
    }

    /// The agent's last text.
    pub(super) fn last_text(&self) -> Option<String> {
        self.lock().last_text.clone()
    }

    /// Allowance, and what is spent.
    pub(super) fn spent(&self) -> (Allowance, Spend) {
        let inner = self.lock();
        (inner.account.allowance(), inner.account.settled())
    }

    /// The margin on counted input that this run has shown it needs, in tokens.
    pub(super) fn count_margin(&self) -> u64 {
        self.lock().count_margin
    }

    /// Whether it is known that requests which name no region are served without a surcharge.
    pub(super) fn region_known(&self) -> bool {
        self.lock().region_known
    }

    /// An answer has said so.
    pub(super) fn learn_region(&self) {
        self.lock().region_known = true;
    }

    /// A counted input was `tokens` larger than its bound.
    pub(super) fn widen_count_margin(&self, tokens: u64) {
        let mut inner = self.lock();
        inner.count_margin = inner.count_margin.saturating_add(tokens);
    }
}

impl Inner {
    fn add(&mut self, entry: &Entry, estimated: bool) {
        self.totals.add(entry, estimated);
        for (_, counts, _) in &entry.lines {
            self.counts += *counts;
        }
    }

    fn note(&mut self, text: &str) {
        let notes = &mut self.totals.notes;
        let text: String = text.chars().take(NOTE_CHARS_MAX).collect();
        if notes.len() > NOTES_MAX || notes.contains(&text) {
            return;
        }
        notes.push(if notes.len() == NOTES_MAX {
            "more was seen than is noted here".to_owned()
        } else {
            text
        });
    }

    /// How far the run came by itself: the seal at its orderly end says nothing of that.
    fn note_phase(&mut self) {
        let phase = self.account.phase();
        if phase != Phase::Sealed || self.totals.overrun.is_some() {
            self.totals.phase = phase;
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            cap: self.account.allowance().usd,
            wanted: self.account.wanted(),
            settled: self.account.settled().usd,
            in_flight: self.account.held().usd,
            open_requests: u32::try_from(self.account.in_flight().len()).unwrap_or(u32::MAX),
            requests: self.requests,
            counts: self.counts,
            fresh: self.account.settled().fresh,
            fresh_cap: self.account.allowance().fresh_tokens,
            notional: self.totals.notional,
            phase: self.account.phase(),
        }
    }
}
