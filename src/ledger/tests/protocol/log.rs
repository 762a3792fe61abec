//! The shared ledger of the model: every log that can come about, each once, made by the real decisions.
//!
//! A state names a log by its number. What a decision on a log comes to is asked of `decide` and `commit`
//! once, and remembered.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use jiff::{SignedDuration, Timestamp};

use super::super::invariants::{Broken, Fold};
use super::super::{always, id, limit, time};
use crate::id::HoldId;
use crate::ledger::commit::{self, Head};
use crate::ledger::decide::{self, Decision, Draft, Refusal};
use crate::ledger::event;
use crate::ledger::hold::Hold;
use crate::ledger::{About, Answer, Balance, Enforce, Limit, Request, Spend};
use crate::money::Usd;

/// The number of a log.
pub(super) type Log = u32;

pub(super) fn dollars(count: u8) -> Usd {
    Usd::from_dollars(u32::from(count))
}

/// A tick of the store's clock: longer than a lease with its skew.
pub(super) fn instant(tick: u8) -> Timestamp {
    time("2026-11-23T12:00:00Z") + SignedDuration::from_hours(i64::from(tick))
}

/// A log, and all that is known of it.
#[derive(Debug)]
pub(super) struct Node {
    head: Head,
    holds: BTreeMap<HoldId, Hold>,
    drafts: Vec<Draft>,
    pub(super) fold: Fold,
    /// What is wrong with it in itself.
    pub(super) broken: Option<Broken>,
}

impl Node {
    pub(super) fn hold(&self, id: &HoldId) -> Option<&Hold> {
        self.holds.get(id)
    }
}

/// A wish, small enough to be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wish {
    /// A run's hold, or the first part of it, under the key of an attempt.
    Reserve { run: u8, attempt: u8, claim: u8 },
    /// That hold, grown to so much.
    Extend { run: u8, attempt: u8, claim: u8, to: u8 },
    /// That hold is settled at this spend.
    Settle { run: u8, attempt: u8, spent: u8 },
    /// Whoever wants to charges what is over.
    Sweep(Expiry),
}

/// What a sweep does with a hold that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Expiry {
    Charges,
    /// Seeded fault.
    Releases,
    /// Seeded fault: so much was on record when it was swept.
    ChargesSoFar(u8),
    /// Seeded fault: what it was before it grew.
    ChargesFirst,
}

/// What a wish comes to on a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// The log is to become this one; with what is granted then, nothing where nothing is asked for.
    Next { log: Log, granted: u8 },
    /// It is so already; with what is granted.
    Already { granted: u8 },
    /// No.
    Refused,
    /// The hold has been granted and closed.
    Closed,
}

#[derive(Debug)]
pub(super) struct Logs {
    budget: Limit,
    first: u8,
    nodes: RwLock<Vec<Arc<Node>>>,
    known: Mutex<HashMap<(Log, Wish, u8), Outcome>>,
    /// By its newest lines, which name the ones before.
    made: Mutex<HashMap<Vec<u8>, Log>>,
}

pub(super) fn key(run: u8, attempt: u8) -> HoldId {
    id(&format!("run-{run}{}", "'".repeat(usize::from(attempt))))
}

fn claim_of(process: u8) -> String {
    format!("process {process}")
}

impl Logs {
    pub(super) fn new(budget: u8, first: u8) -> Self {
        let budget = Limit { usd: dollars(budget), ..limit("repo", always(), "0", Enforce::Hard) };
        let empty = Node {
            head: Head::default(),
            holds: BTreeMap::new(),
            drafts: Vec::new(),
            fold: Fold::default(),
            broken: None,
        };
        let nodes = RwLock::new(vec![Arc::new(empty)]);
        Self { budget, first, nodes, known: Mutex::default(), made: Mutex::default() }
    }

    pub(super) fn node(&self, log: Log) -> Arc<Node> {
        self.nodes.read().expect("no panic")[log as usize].clone()
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.read().expect("no panic").len()
    }

    /// What a wish comes to on a log at a tick.
    pub(super) fn decide(&self, log: Log, wish: Wish, tick: u8) -> Outcome {
        if let Some(outcome) = self.known.lock().expect("no panic").get(&(log, wish, tick)) {
            return *outcome;
        }
        let outcome = match wish {
            Wish::Reserve { run, attempt, claim } => self.reserve(log, key(run, attempt), claim, tick),
            Wish::Extend { run, attempt, claim, to } => self.extend(log, &key(run, attempt), claim, to, tick),
            Wish::Settle { run, attempt, spent } => self.settle(log, &key(run, attempt), spent, tick),
            Wish::Sweep(expiry) => self.sweep(log, expiry, tick),
        };
        self.known.lock().expect("no panic").insert((log, wish, tick), outcome);
        outcome
    }

    fn reserve(&self, log: Log, hold: HoldId, claim: u8, tick: u8) -> Outcome {
        let node = self.node(log);
        let request = Request {
            hold,
            claim: claim_of(claim),
            want: dollars(self.first),
            least: dollars(1),
            limits: vec![self.budget.clone()],
            purses: vec![self.budget.purse.clone()],
            expires: instant(tick) + SignedDuration::from_mins(30),
            about: About::default(),
            lift: None,
        };
        // Whoever asks again repeats what it asked first.
        let expires = node.head.book.live_hold(&request.hold).map(|hold| hold.terms.expires);
        let request = Request { expires: expires.unwrap_or(request.expires), ..request };
        let at = node.head.book.next_time(instant(tick));
        let decision = decide::reserve(&node.head.book, &request, &self.balances(&node), at);
        self.granted(log, decision, request.least, tick)
    }

    fn extend(&self, log: Log, id: &HoldId, claim: u8, to: u8, tick: u8) -> Outcome {
        let node = self.node(log);
        let Some(hold) = node.hold(id) else { return Outcome::Refused };
        let decision = decide::extend(hold, &claim_of(claim), dollars(to), &self.balances(&node));
        self.granted(log, decision, dollars(1), tick)
    }

    fn balances(&self, node: &Node) -> Vec<Balance> {
        vec![node.head.book.balance(&self.budget).expect("the only account is followed")]
    }

    fn granted(&self, log: Log, decided: Result<Decision, Refusal>, least: Usd, tick: u8) -> Outcome {
        match decided {
            Ok(Decision { answer: Answer::Granted { cap, .. }, draft }) => {
                let granted = u8::try_from(cap.pico() / dollars(1).pico()).expect("few");
                match draft.map(|draft| self.push(log, vec![draft], tick)) {
                    Some(Some(next)) => Outcome::Next { log: next, granted },
                    Some(None) => Outcome::Refused,
                    None => Outcome::Already { granted },
                }
            }
            Ok(Decision { answer: Answer::Refused { by }, .. }) => {
                let reason = self.node(log).fold.denies(&by.limit, least);
                assert!(reason, "I10: a refusal has its reason");
                Outcome::Refused
            }
            Err(Refusal::Closed { .. }) => Outcome::Closed,
            Err(_) => Outcome::Refused,
        }
    }

    fn settle(&self, log: Log, id: &HoldId, spent: u8, tick: u8) -> Outcome {
        let node = self.node(log);
        let Some(hold) = node.hold(id) else { return Outcome::Already { granted: 0 } };
        match decide::settle(hold, &Spend { usd: dollars(spent), ..Spend::default() }) {
            Ok(draft) => self.outcome(log, draft.into_iter().collect(), tick),
            Err(_) => Outcome::Refused,
        }
    }

    fn sweep(&self, log: Log, expiry: Expiry, tick: u8) -> Outcome {
        let node = self.node(log);
        let mut drafts = decide::sweep(&node.head.book, instant(tick)).expect("live holds can expire");
        for draft in &mut drafts {
            let hold = node.hold(&draft.hold).expect("a live hold");
            let charged = |usd| decide::expire(hold, Some(&Spend { usd, ..Spend::default() }));
            let changed = match expiry {
                Expiry::Charges => continue,
                Expiry::Releases => decide::void(hold, "it is over"),
                Expiry::ChargesSoFar(spent) => charged(dollars(spent)),
                Expiry::ChargesFirst => charged(hold.terms.want),
            };
            *draft = changed.expect("a live hold").expect("an event");
        }
        self.outcome(log, drafts, tick)
    }

    fn outcome(&self, log: Log, drafts: Vec<Draft>, tick: u8) -> Outcome {
        if drafts.is_empty() {
            return Outcome::Already { granted: 0 };
        }
        match self.push(log, drafts, tick) {
            Some(log) => Outcome::Next { log, granted: 0 },
            None => Outcome::Refused,
        }
    }

    /// Seeded fault: what was decided on one log is put on another. `None` where its book does not take it.
    pub(super) fn put_on(&self, decided: Log, log: Log, tick: u8) -> Option<Log> {
        let drafts = self.node(decided).drafts.clone();
        self.push(log, drafts, tick)
    }

    /// The log with more on it.
    fn push(&self, log: Log, drafts: Vec<Draft>, tick: u8) -> Option<Log> {
        let node = self.node(log);
        let commit = commit::build(&node.head, drafts.clone(), instant(tick)).ok()?;
        let text: Vec<u8> = commit.lines.iter().flat_map(|(_, line)| line.bytes()).collect();
        let mut made = self.made.lock().expect("no panic");
        if let Some(known) = made.get(&text) {
            return Some(*known);
        }
        let mut next = Node {
            head: commit.head,
            holds: node.holds.clone(),
            drafts,
            fold: node.fold.clone(),
            broken: node.broken.clone(),
        };
        for (_, line) in &commit.lines {
            let event = event::decode(line.as_bytes()).expect("a line that was just written").event;
            match (&event.kind, next.holds.get_mut(&event.hold)) {
                (event::Kind::Reserve(terms), _) => {
                    let hold = Hold::new(event.hold.clone(), event.at, terms.clone());
                    next.holds.insert(event.hold.clone(), hold);
                }
                (kind, Some(hold)) => drop(hold.step(kind).expect("a step that the book took")),
                (_, None) => {}
            }
            next.broken = next.broken.or(next.fold.take(&event).err());
        }
        let book = next.fold.check_book(&next.head.book).err();
        next.broken = next.broken.or(book);
        let mut nodes = self.nodes.write().expect("no panic");
        nodes.push(Arc::new(next));
        let number = Log::try_from(nodes.len() - 1).expect("fewer");
        made.insert(text, number);
        Some(number)
    }
}
