//! The invariants of the ledger, I1 to I12, as one checker.
//!
//! It folds the events by itself, in the plainest way there is, and shares nothing with `book` and `audit`.
//! The model of the protocol, the state machines, the faulty disk and the killed processes all end every
//! step here. What only the world knows, how much a run has truly spent, comes as a [`Run`].

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::id::HoldId;
use crate::ledger::book::Book;
use crate::ledger::decide::SKEW;
use crate::ledger::event::{Event, Kind, Origin};
use crate::ledger::hold::Phase;
use crate::ledger::store::Store;
use crate::ledger::{Enforce, Limit, Window};
use crate::money::Usd;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) name: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

fn broken<T>(name: &'static str, what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { name, what: what.into() })
}

/// What is true of one run, whatever the ledger says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Its holds: one, or a piece for each step that it grew by.
    pub(crate) holds: Vec<HoldId>,
    /// What it was told that it may spend; nothing before it was told anything.
    pub(crate) granted: Usd,
    /// What its meter lets through.
    pub(crate) allowance: Usd,
    /// What it has truly spent.
    pub(crate) spent: Usd,
    /// The worst case of its requests in flight.
    pub(crate) in_flight: Usd,
    /// It was told that it is settled, at all it has spent.
    pub(crate) settled: bool,
    /// It will never settle.
    pub(crate) dead: bool,
    /// It ended without ever having been granted anything.
    pub(crate) refused: bool,
}

/// A hold, as far as its own events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    pub(crate) reserved: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) cap: Usd,
    pub(crate) charged: Usd,
    pub(crate) phase: Phase,
    pub(crate) overrun: bool,
    purses: Vec<String>,
    limits: Vec<Limit>,
}

impl Folded {
    fn taken(&self) -> Usd {
        if self.phase == Phase::Held { self.cap } else { self.charged }
    }

    fn counts(&self, purse: &str, window: &Window) -> bool {
        window.contains(self.reserved) && self.purses.iter().any(|own| own == purse)
    }
}

/// What all events come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fold {
    pub(crate) holds: BTreeMap<HoldId, Folded>,
    limits: Vec<Limit>,
    /// Notes, which are of no hold, and how often each is there.
    pub(crate) notes: BTreeMap<HoldId, u64>,
    events: u64,
    at: Option<Timestamp>,
}

impl Fold {
    /// Folds all events; I1, I3, I6 and I10 are looked at on the way.
    pub(crate) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, Broken> {
        let mut fold = Self::default();
        events.into_iter().try_for_each(|event| fold.take(event))?;
        Ok(fold)
    }

    /// Takes the next event in.
    pub(crate) fn take(&mut self, event: &Event) -> Result<(), Broken> {
        let Event { seq, at, hold, kind } = event;
        if *seq != self.events + 1 || self.at.is_some_and(|before| *at <= before) {
            return broken("I6", format!("event {seq} at {at} comes after event {}", self.events));
        }
        self.events = *seq;
        self.at = Some(*at);
        match kind {
            Kind::Reserve(terms) => {
                self.has_room(hold, &terms.limits, terms.cap)?;
                self.limits.retain(|limit| !terms.limits.iter().any(|new| same(new, limit)));
                self.limits.extend(terms.limits.iter().cloned());
                let folded = Folded {
                    reserved: *at,
                    expires: terms.expires,
                    cap: terms.cap,
                    charged: Usd::ZERO,
                    phase: Phase::Held,
                    overrun: false,
                    purses: terms.purses.clone(),
                    limits: terms.limits.clone(),
                };
                match self.holds.insert(hold.clone(), folded) {
                    None => Ok(()),
                    Some(_) => broken("I3", format!("{hold} was reserved twice")),
                }
            }
            Kind::Settle(body) => self.close(hold, Phase::Settled, body.spend.usd, &body.of),
            Kind::Void(body) => self.close(hold, Phase::Voided, Usd::ZERO, &body.of),
            Kind::Expire(body) => self.close(hold, Phase::Expired, body.spend.usd, &body.of),
            Kind::Adjust(body) => match self.holds.get_mut(hold) {
                Some(folded) if folded.phase != Phase::Held => {
                    folded.charged += body.delta;
                    folded.overrun = folded.charged > folded.cap;
                    match folded.charged == body.spend.usd {
                        true => Ok(()),
                        false => broken("I3", format!("{hold} was adjusted by the wrong amount")),
                    }
                }
                _ => broken("I3", format!("{hold} was adjusted and not closed")),
            },
            Kind::Extend(body) => match self.holds.get(hold) {
                Some(folded) if folded.phase == Phase::Held && folded.cap < body.cap => {
                    if body.of.reserved != folded.reserved || body.of.purses != folded.purses {
                        return broken("I3", format!("{hold} was extended as somebody else's"));
                    }
                    self.has_room(hold, &folded.limits, body.cap - folded.cap)?;
                    self.holds.entry(hold.clone()).and_modify(|folded| folded.cap = body.cap);
                    Ok(())
                }
                _ => broken("I3", format!("{hold} was extended and not held, or to no more than it has")),
            },
            Kind::Note(_) => {
                *self.notes.entry(hold.clone()).or_default() += 1;
                Ok(())
            }
            Kind::Refuse(body) => match self.denies(&body.by, body.least) {
                true => Ok(()),
                false => broken("I10", format!("{hold} was refused by `{}`, which had room", body.by.purse)),
            },
        }
    }

    /// I1: whether hard limits have room for so much more.
    fn has_room(&self, hold: &HoldId, limits: &[Limit], more: Usd) -> Result<(), Broken> {
        for limit in limits.iter().filter(|limit| limit.enforce == Enforce::Hard) {
            let (taken, most) = (self.taken(limit), limit.usd);
            if taken + more > most {
                return broken("I1", format!("{hold} got {more} of {most} with {taken} taken"));
            }
        }
        Ok(())
    }

    fn close(&mut self, hold: &HoldId, phase: Phase, charged: Usd, of: &Origin) -> Result<(), Broken> {
        let Some(folded) = self.holds.get_mut(hold).filter(|folded| folded.phase == Phase::Held) else {
            return broken("I3", format!("{hold} was closed, and not held"));
        };
        if of.reserved != folded.reserved || of.purses != folded.purses {
            return broken("I3", format!("{hold} was closed as somebody else's"));
        }
        folded.phase = phase;
        folded.charged = charged;
        folded.overrun = charged > folded.cap;
        Ok(())
    }

    /// Settled and held on a limit's account.
    pub(crate) fn taken(&self, limit: &Limit) -> Usd {
        let counted = self.holds.values().filter(|hold| hold.counts(&limit.purse, &limit.window));
        counted.map(Folded::taken).sum()
    }

    fn settled(&self, limit: &Limit) -> Usd {
        let counted = self.holds.values().filter(|hold| hold.counts(&limit.purse, &limit.window));
        counted.filter(|hold| hold.phase != Phase::Held).map(|hold| hold.charged).sum()
    }

    /// Whether a limit has a reason to refuse a hold of `least` or more.
    pub(crate) fn denies(&self, limit: &Limit, least: Usd) -> bool {
        let left = limit.usd.minus_or_zero(self.taken(limit));
        match limit.enforce {
            Enforce::Hard => left < least || left <= Usd::ZERO,
            Enforce::Soft => self.settled(limit) >= limit.usd,
            Enforce::Count => false,
        }
    }

    /// I2, I4, I5, I8, I9, I11 and I12, for runs of which the truth is known. `swept` is when a sweep last
    /// looked at everything.
    pub(crate) fn check(&self, runs: &[Run], swept: Option<Timestamp>) -> Result<(), Broken> {
        for run in runs {
            self.check_run(run)?;
        }
        let overran = self.holds.values().any(|hold| hold.overrun);
        for limit in self.limits.iter().filter(|limit| limit.enforce == Enforce::Hard && !overran) {
            let counts = |run: &&Run| {
                let mut own = run.holds.iter().filter_map(|hold| self.holds.get(hold));
                own.any(|hold| hold.counts(&limit.purse, &limit.window))
            };
            let spent: Usd = runs.iter().filter(counts).map(|run| run.spent).sum();
            if spent > limit.usd {
                return broken("I2", format!("{spent} of {} was spent on `{}`", limit.usd, limit.purse));
            }
        }
        if !runs.is_empty() && runs.iter().all(|run| run.settled || run.refused) {
            let charged: Usd = self.holds.values().map(Folded::taken).sum();
            let spent: Usd = runs.iter().map(|run| run.spent).sum();
            if charged != spent {
                return broken(
                    "I9",
                    format!("all runs have ended and spent {spent}, and {charged} is taken"),
                );
            }
        }
        let stale = |hold: &Folded, at: Timestamp| {
            hold.phase == Phase::Held && at.duration_since(hold.expires) > SKEW
        };
        if let Some((hold, _)) = swept.and_then(|at| self.holds.iter().find(|(_, hold)| stale(hold, at))) {
            return broken("I11", format!("{hold} is held long after its lease"));
        }
        Ok(())
    }

    fn check_run(&self, run: &Run) -> Result<(), Broken> {
        let own = || run.holds.iter().filter_map(|hold| self.holds.get(hold));
        let named = || run.holds.first().map_or_else(|| "a run".to_owned(), ToString::to_string);
        if run.granted == Usd::ZERO && run.spent + run.in_flight > Usd::ZERO {
            return broken("I12", format!("{} was told nothing, and spends", named()));
        }
        if run.granted > own().map(|hold| hold.cap).sum() {
            return broken("I5", format!("{} was granted {}, which is nowhere", named(), run.granted));
        }
        // Spend above a hold is the provider's surprise, recorded in full and flagged.
        let overran = own().any(|hold| hold.overrun);
        if !overran && (run.spent + run.in_flight > run.allowance || run.allowance > run.granted) {
            return broken("I8", format!("{} spends beyond what it was told", named()));
        }
        let taken: Usd = own().map(Folded::taken).sum();
        if run.spent > taken {
            return broken("I4", format!("{} spent {}, and {taken} is taken", named(), run.spent));
        }
        if run.settled && own().any(|hold| hold.phase == Phase::Held) {
            return broken("I5", format!("{} was told that it is settled, and is held", named()));
        }
        Ok(())
    }

    /// I7: whether a book says the same.
    pub(crate) fn check_book(&self, book: &Book) -> Result<(), Broken> {
        if book.seq() != self.events || book.last_at() != self.at {
            return broken("I7", "the head ends elsewhere");
        }
        let live: Vec<&HoldId> =
            self.holds.iter().filter(|(_, hold)| hold.phase == Phase::Held).map(|(id, _)| id).collect();
        if !book.live().map(|hold| &hold.id).eq(live) {
            return broken("I7", "the head's live holds are others");
        }
        for counter in book.counters() {
            let (head, events) = (counter.settled, self.settled(&counter.limit));
            if head != events {
                return broken("I7", format!("{head} settled on `{}`, not {events}", counter.limit.purse));
            }
        }
        Ok(())
    }
}

fn same(a: &Limit, b: &Limit) -> bool {
    (&a.purse, a.window) == (&b.purse, b.window)
}

/// All of them, on a store: its events, its head, its balances, and the runs.
pub(crate) fn check_store(store: &Store, runs: &[Run], swept: Option<Timestamp>) -> Result<Fold, Broken> {
    let unreadable = |error| Broken { name: "I6", what: format!("{error}") };
    let events: Result<Vec<Event>, _> = store.events(None).map_err(unreadable)?.collect();
    let fold = Fold::of(&events.map_err(unreadable)?)?;
    fold.check(runs, swept)?;
    let verified = store.verify().map_err(unreadable)?;
    if verified.events != fold.events {
        return broken("I6", "the audit counts other events");
    }
    for balance in store.balances(&fold.limits).map_err(unreadable)? {
        let (settled, taken) = (fold.settled(&balance.limit), fold.taken(&balance.limit));
        if balance.settled != settled || balance.settled + balance.held != taken {
            let purse = &balance.limit.purse;
            return broken("I7", format!("`{purse}` has {} and {}", balance.settled, balance.held));
        }
    }
    Ok(fold)
}
