//! The book: what admission needs to know, folded from the events.
//!
//! It is small whatever the length of the history: the live holds, a bounded number of accounts with
//! what is settled on each, the purses seen last, and the keys closed last. Everything in it can be
//! computed again from the events, which are the truth; `audit` does. An account that the book does not
//! follow is summed once from the history by the store, and followed from then on.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Event, Kind, Line, LineHash, Origin, Reserve};
use super::hold::{Hold, Illegal, Phase, counts_towards};
use super::lately::{Closed, Touched};
use super::{Balance, Limit, Window};
use crate::id::HoldId;
use crate::money::Usd;

/// Accounts that a book follows at most; the one not asked for longest makes room.
pub const ACCOUNTS_MAX: usize = 128;
/// Purses whose last reserve a book remembers at most.
pub const PURSES_MAX: usize = 1_024;
/// Closed holds whose keys a book remembers.
pub const CLOSED_MAX: usize = 512;
/// Holds that may be live at once.
pub const LIVE_MAX: usize = 1_024;

/// Whose spend is summed over which time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The purse.
    pub purse: String,
    /// The window.
    pub window: Window,
}

impl Account {
    /// The account that a limit is a limit of.
    #[must_use]
    pub fn of(limit: &Limit) -> Self {
        Self { purse: limit.purse.clone(), window: limit.window }
    }

    /// Whether spend with this origin counts towards the account.
    #[must_use]
    pub fn counts(&self, origin: &Origin) -> bool {
        counts_towards(origin.reserved, &origin.purses, &self.purse, &self.window)
    }
}

/// What is settled on an account, and the limit that last named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The limit.
    pub limit: Limit,
    /// What is settled.
    pub settled: Usd,
    /// The sequence number at which a reserve last named it.
    used: u64,
}

/// The fold of the events, as far as admission needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    seq: u64,
    at: Option<Timestamp>,
    hash: LineHash,
    live: BTreeMap<HoldId, Hold>,
    closed: Closed,
    counters: Vec<Counter>,
    touched: Touched,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            seq: 0,
            at: None,
            hash: LineHash::genesis(),
            live: BTreeMap::new(),
            closed: Closed::default(),
            counters: Vec::new(),
            touched: Touched::default(),
        }
    }
}

/// Why a line does not continue the book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discord {
    /// A line is missing, or there twice.
    #[error("the event has number {found} where {expected} comes next")]
    Sequence {
        /// What comes next.
        expected: u64,
        /// What the line says.
        found: u64,
    },
    /// The line before is not the one it was written after.
    #[error("the line does not follow the line before it: one of the two was changed")]
    Chain,
    /// Time runs backwards.
    #[error("the event's time {found} is not after {before}, the time of the event before it")]
    Time {
        /// The time of the event before.
        before: Timestamp,
        /// What the line says.
        found: Timestamp,
    },
    /// A hold would take a step it cannot take.
    #[error("hold `{hold}` {why}")]
    Hold {
        /// The hold.
        hold: HoldId,
        /// Why, in words that follow the hold's name.
        why: Illegal,
    },
    /// More was granted than a hard limit had left.
    #[error("hold `{hold}` was granted {cap} where its {per} limit on `{purse}` had {left} left")]
    Overshoot {
        /// The hold.
        hold: HoldId,
        /// What it was granted.
        cap: Usd,
        /// How often the limit starts anew.
        per: String,
        /// Whose limit it is.
        purse: String,
        /// What it had left.
        left: Usd,
    },
}

impl Discord {
    pub(super) fn hold(hold: &HoldId, why: &str) -> Self {
        Self::Hold { hold: hold.clone(), why: Illegal(why.to_owned()) }
    }
}

/// Whether a line is the next one of a chain: number, hash and time.
///
/// # Errors
/// When it is not.
pub(super) fn check_next(
    line: &Line,
    seq: u64,
    hash: &LineHash,
    at: Option<Timestamp>,
) -> Result<(), Discord> {
    if line.prev != *hash {
        return Err(Discord::Chain);
    }
    if line.event.seq != seq + 1 {
        return Err(Discord::Sequence { expected: seq + 1, found: line.event.seq });
    }
    match at {
        Some(before) if line.event.at <= before => Err(Discord::Time { before, found: line.event.at }),
        _ => Ok(()),
    }
}

impl Book {
    /// A book made from what an audit has found.
    pub(super) fn restored<'a>(
        seq: u64,
        at: Option<Timestamp>,
        hash: LineHash,
        live: BTreeMap<HoldId, Hold>,
        lately: &VecDeque<(HoldId, Phase)>,
        purses: impl Iterator<Item = (&'a str, Timestamp)>,
    ) -> Self {
        let mut closed = Closed::default();
        lately.iter().for_each(|(hold, phase)| closed.push(hold, *phase));
        let mut touched = Touched::default();
        purses.for_each(|(purse, at)| touched.touch(purse, at));
        touched.forget();
        Self { seq, at, hash, live, closed, counters: Vec::new(), touched }
    }

    /// Whether it would not take a purse for untouched that was reserved for at `last`.
    pub(super) fn knows_of(&self, purse: &str, last: Timestamp) -> bool {
        self.touched.last(purse).is_some_and(|known| known >= last)
    }

    /// The number of the last event; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The hash of the last line.
    #[must_use]
    pub fn hash(&self) -> &LineHash {
        &self.hash
    }

    /// The time of the last event.
    #[must_use]
    pub fn last_at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Holds that are live.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &Hold> {
        self.live.values()
    }

    /// A live hold.
    #[must_use]
    pub fn live_hold(&self, id: &HoldId) -> Option<&Hold> {
        self.live.get(id)
    }

    /// How a hold ended, if it did so lately.
    #[must_use]
    pub fn closed_lately(&self, id: &HoldId) -> Option<Phase> {
        self.closed.find(id)
    }

    /// The accounts it follows, each under the limit that last named it.
    pub fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.counters.iter()
    }

    /// The time of the next event: the store's clock, but always after the event before.
    #[must_use]
    pub fn next_time(&self, now: Timestamp) -> Timestamp {
        let tick = jiff::SignedDuration::from_nanos(1);
        match self.at {
            Some(at) => now.max(at.saturating_add(tick).unwrap_or(Timestamp::MAX)),
            None => now,
        }
    }

    /// What live holds take from an account.
    #[must_use]
    pub fn held(&self, purse: &str, window: &Window) -> Usd {
        self.live.values().filter(|hold| hold.counts_towards(purse, window)).map(Hold::held).sum()
    }

    /// A limit with what has been taken from it; `None` where the history must be asked first, with
    /// [`Book::follow`] to bring the answer.
    #[must_use]
    pub fn balance(&self, limit: &Limit) -> Option<Balance> {
        let settled = match self.counter(&limit.purse, &limit.window) {
            Some(counter) => counter.settled,
            None if self.is_untouched(&limit.purse, &limit.window) => Usd::ZERO,
            None => return None,
        };
        let held = self.held(&limit.purse, &limit.window);
        Some(Balance { limit: limit.clone(), settled, held })
    }

    /// Follows the account of a limit from now on; `settled` is what the history says up to here.
    pub fn follow(&mut self, limit: &Limit, settled: Usd) {
        let found = self
            .counters
            .iter_mut()
            .find(|counter| counter.limit.purse == limit.purse && counter.limit.window == limit.window);
        if let Some(counter) = found {
            counter.settled = settled;
            return;
        }
        self.counters.push(Counter { limit: limit.clone(), settled, used: self.seq });
        while self.counters.len() > ACCOUNTS_MAX {
            let oldest = self.counters.iter().enumerate().min_by_key(|(_, counter)| counter.used);
            let Some((index, _)) = oldest else { break };
            self.counters.remove(index);
        }
    }

    /// Takes the next line in.
    ///
    /// # Errors
    /// When the line is not the next one, or a hold cannot take the step; the book is unchanged then.
    pub fn apply(&mut self, line: &Line) -> Result<(), Discord> {
        check_next(line, self.seq, &self.hash, self.at)?;
        let event = &line.event;
        match &event.kind {
            Kind::Reserve(terms) => self.open(event, terms)?,
            Kind::Settle(_) | Kind::Void(_) | Kind::Expire(_) => self.close(event)?,
            Kind::Extend(_) => {
                let Some(hold) = self.live.get_mut(&event.hold) else {
                    return Err(Discord::hold(&event.hold, "is extended, though it is not live"));
                };
                let stepped = hold.step(&event.kind);
                stepped.map_err(|why| Discord::Hold { hold: event.hold.clone(), why })?;
            }
            Kind::Adjust(body) => {
                if self.live.contains_key(&event.hold) {
                    return Err(Discord::hold(&event.hold, "is held, and cannot take a `adjust`"));
                }
                self.charge(&body.of, body.delta);
            }
            Kind::Refuse(_) | Kind::Note(_) => {}
        }
        self.seq = event.seq;
        self.at = Some(event.at);
        self.hash = line.hash.clone();
        Ok(())
    }

    fn open(&mut self, event: &Event, terms: &Reserve) -> Result<(), Discord> {
        if self.live.contains_key(&event.hold) || self.closed_lately(&event.hold).is_some() {
            return Err(Discord::hold(&event.hold, "was granted before"));
        }
        for limit in &terms.limits {
            // Spend that nobody has seen yet is nothing, which has to be noted before the purse is seen.
            if self.counter(&limit.purse, &limit.window).is_none()
                && self.is_untouched(&limit.purse, &limit.window)
            {
                self.follow(limit, Usd::ZERO);
            }
            let named = self
                .counters
                .iter_mut()
                .find(|counter| counter.limit.purse == limit.purse && counter.limit.window == limit.window);
            if let Some(counter) = named {
                counter.limit = limit.clone();
                counter.used = event.seq;
            }
        }
        for purse in &terms.purses {
            self.touched.touch(purse, event.at);
        }
        self.touched.forget();
        let hold = Hold::new(event.hold.clone(), event.at, terms.clone());
        self.live.insert(event.hold.clone(), hold);
        Ok(())
    }

    fn close(&mut self, event: &Event) -> Result<(), Discord> {
        let Some(mut hold) = self.live.get(&event.hold).cloned() else {
            return Err(Discord::hold(&event.hold, "is closed, though it is not live"));
        };
        let delta = hold.step(&event.kind).map_err(|why| Discord::Hold { hold: event.hold.clone(), why })?;
        self.live.remove(&event.hold);
        self.charge(&hold.origin(), delta);
        self.closed.push(&hold.id, hold.phase);
        Ok(())
    }

    fn charge(&mut self, origin: &Origin, delta: Usd) {
        for counter in &mut self.counters {
            if counts_towards(origin.reserved, &origin.purses, &counter.limit.purse, &counter.limit.window) {
                counter.settled += delta;
            }
        }
    }

    fn counter(&self, purse: &str, window: &Window) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.limit.purse == purse && counter.limit.window == *window)
    }

    /// Whether it is certain that no reserve for `purse` lies in `window`.
    fn is_untouched(&self, purse: &str, window: &Window) -> bool {
        self.touched.last(purse).is_none_or(|last| last < window.start)
    }
}
