//! The audit: folds every event there is, and trusts nothing.
//!
//! It checks the chain, every step of every hold, and at every grant that the hard limits had room; a
//! head is compared with it, and a lost head is made again from it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use jiff::Timestamp;

use super::book::{ACCOUNTS_MAX, Account, Book, CLOSED_MAX, Discord, check_next};
use super::event::{Event, Extend, Kind, Line, LineHash, Reserve};
use super::hold::{Hold, Phase};
use super::{Enforce, Limit, Window};
use crate::id::HoldId;
use crate::money::Usd;

/// The fold of all events, with every hold there ever was.
#[derive(Debug, Default)]
pub struct Audit {
    seq: u64,
    at: Option<Timestamp>,
    hash: Option<LineHash>,
    first_at: Option<Timestamp>,
    live: BTreeMap<HoldId, Hold>,
    past: Vec<Past>,
    index: HashMap<HoldId, usize>,
    by_purse: HashMap<String, Vec<usize>>,
    open_accounts: HashMap<String, Vec<Sum>>,
    named: VecDeque<Limit>,
    closed: VecDeque<(HoldId, Phase)>,
    overran: bool,
}

/// What the audit keeps of a hold, live or closed.
#[derive(Debug)]
struct Past {
    reserved: Timestamp,
    cap: Usd,
    held: Usd,
    charged: Usd,
    phase: Phase,
    purses: Vec<String>,
}

/// A running sum of a window that has not ended.
#[derive(Debug)]
struct Sum {
    window: Window,
    taken: Usd,
}

/// How a head differs from what its events come to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It ends elsewhere.
    #[error("the head ends at event {head}, the events at {events}, or with another hash")]
    End {
        /// The head's last event.
        head: u64,
        /// The last event there is.
        events: u64,
    },
    /// Its live holds are others.
    #[error("the head's live holds are not those of the events")]
    Live,
    /// An account is wrong.
    #[error("the head has {head} settled on `{purse}` since {since}, the events {events}")]
    Settled {
        /// Whose account it is.
        purse: String,
        /// The window's start.
        since: Timestamp,
        /// What the head says.
        head: Usd,
        /// What the events say.
        events: Usd,
    },
    /// It takes a purse for untouched that is not.
    #[error("the head missed a reserve for `{purse}`")]
    Purse {
        /// The purse.
        purse: String,
    },
    /// A hold is another.
    #[error("hold `{hold}` is not what its events make it")]
    Hold {
        /// The hold.
        hold: HoldId,
    },
    /// Holds are missing.
    #[error("there are {head} holds, and events of {events}")]
    Missing {
        /// The holds there are.
        head: u64,
        /// The holds that the events know.
        events: u64,
    },
}

impl Audit {
    /// The number of events folded.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.seq
    }

    /// The number of holds there ever were.
    #[must_use]
    pub fn holds(&self) -> u64 {
        self.past.len() as u64
    }

    /// The number of holds that are live.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live.len() as u64
    }

    /// The times of the first and the last event.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.first_at.zip(self.at)
    }

    /// Everything that was ever charged.
    #[must_use]
    pub fn charged(&self) -> Usd {
        self.past.iter().map(|past| past.charged).sum()
    }

    /// Whether a hold was ever charged more than it was granted.
    #[must_use]
    pub fn overran(&self) -> bool {
        self.overran
    }

    /// What is settled on an account.
    #[must_use]
    pub fn settled(&self, account: &Account) -> Usd {
        self.in_window(&account.purse, &account.window).map(|past| past.charged).sum()
    }

    /// The hash of the last line.
    pub(super) fn hash(&self) -> LineHash {
        self.hash.clone().unwrap_or_else(LineHash::genesis)
    }

    /// What live holds take from an account.
    pub(super) fn held(&self, account: &Account) -> Usd {
        self.in_window(&account.purse, &account.window).map(|past| past.held).sum()
    }

    /// A hold's phase, its cap, and what it is charged.
    pub(super) fn hold(&self, id: &HoldId) -> Option<(Phase, Usd, Usd)> {
        let past = &self.past[*self.index.get(id)?];
        Some((past.phase, past.cap, past.charged))
    }

    /// Takes the next line in.
    ///
    /// # Errors
    /// When the line is not the next one, a hold cannot take the step, or a hard limit had no room.
    pub fn apply(&mut self, line: &Line) -> Result<(), Discord> {
        let genesis = LineHash::genesis();
        check_next(line, self.seq, self.hash.as_ref().unwrap_or(&genesis), self.at)?;
        let event = &line.event;
        match &event.kind {
            Kind::Reserve(terms) => self.open(event, terms)?,
            Kind::Settle(_) | Kind::Void(_) | Kind::Expire(_) => self.close(event)?,
            Kind::Adjust(_) => self.adjust(event)?,
            Kind::Extend(body) => self.extend(event, body)?,
            Kind::Refuse(_) | Kind::Note(_) => {}
        }
        self.seq = event.seq;
        self.first_at.get_or_insert(event.at);
        self.at = Some(event.at);
        self.hash = Some(line.hash.clone());
        Ok(())
    }

    fn open(&mut self, event: &Event, terms: &Reserve) -> Result<(), Discord> {
        if self.index.contains_key(&event.hold) {
            return Err(Discord::hold(&event.hold, "was granted before"));
        }
        if let Some(why) = terms.lift.as_ref().and_then(|lift| lift.wrong(&terms.limits, event.at)) {
            return Err(Discord::hold(&event.hold, &why));
        }
        for limit in terms.limits.iter().filter(|limit| limit.enforce == Enforce::Hard) {
            let left = limit.usd.minus_or_zero(self.taken(limit, event.at));
            if terms.cap > left {
                let Limit { per, purse, .. } = limit.clone();
                return Err(Discord::Overshoot {
                    hold: event.hold.clone(),
                    cap: terms.cap,
                    per,
                    purse,
                    left,
                });
            }
        }
        for limit in &terms.limits {
            self.named.retain(|named| Account::of(named) != Account::of(limit));
            self.named.push_back(limit.clone());
            if self.named.len() > ACCOUNTS_MAX / 2 {
                self.named.pop_front();
            }
        }
        let place = self.past.len();
        self.index.insert(event.hold.clone(), place);
        for purse in &terms.purses {
            let places = self.by_purse.entry(purse.clone()).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
        self.past.push(Past {
            reserved: event.at,
            cap: terms.cap,
            held: terms.cap,
            charged: Usd::ZERO,
            phase: Phase::Held,
            purses: terms.purses.clone(),
        });
        self.live.insert(event.hold.clone(), Hold::new(event.hold.clone(), event.at, terms.clone()));
        self.take(place, terms.cap);
        Ok(())
    }

    fn close(&mut self, event: &Event) -> Result<(), Discord> {
        let place = self.place(event)?;
        let Some(mut hold) = self.live.remove(&event.hold) else {
            let phase = self.past[place].phase.as_str();
            let why = format!("is {phase}, and cannot take a `{}`", event.kind.as_str());
            return Err(Discord::hold(&event.hold, &why));
        };
        let charged =
            hold.step(&event.kind).map_err(|why| Discord::Hold { hold: event.hold.clone(), why })?;
        self.overran |= hold.overrun();
        self.take(place, charged - hold.terms.cap);
        let past = &mut self.past[place];
        past.held = Usd::ZERO;
        past.charged = charged;
        past.phase = hold.phase;
        self.closed.push_back((hold.id, hold.phase));
        if self.closed.len() > CLOSED_MAX {
            self.closed.pop_front();
        }
        Ok(())
    }

    fn extend(&mut self, event: &Event, body: &Extend) -> Result<(), Discord> {
        let place = self.place(event)?;
        let Some(mut hold) = self.live.get(&event.hold).cloned() else {
            let phase = self.past[place].phase.as_str();
            return Err(Discord::hold(&event.hold, &format!("is {phase}, and cannot take a `extend`")));
        };
        let before = hold.terms.cap;
        hold.step(&event.kind).map_err(|why| Discord::Hold { hold: event.hold.clone(), why })?;
        for limit in hold.terms.limits.iter().filter(|limit| limit.enforce == Enforce::Hard) {
            let left = limit.usd.minus_or_zero(self.taken(limit, event.at));
            if body.cap - before > left {
                let Limit { per, purse, .. } = limit.clone();
                let cap = body.cap - before;
                return Err(Discord::Overshoot { hold: event.hold.clone(), cap, per, purse, left });
            }
        }
        self.live.insert(event.hold.clone(), hold);
        let past = &mut self.past[place];
        (past.cap, past.held) = (body.cap, body.cap);
        self.take(place, body.cap - before);
        Ok(())
    }

    fn adjust(&mut self, event: &Event) -> Result<(), Discord> {
        let place = self.place(event)?;
        let Kind::Adjust(body) = &event.kind else { return Ok(()) };
        let past = &mut self.past[place];
        let wrong = match past.phase {
            Phase::Held => Some("is held, and cannot take a `adjust`"),
            _ if body.spend.usd - past.charged != body.delta => {
                Some("is adjusted by another amount than its evidence makes")
            }
            _ if body.of.reserved != past.reserved || body.of.purses != past.purses => {
                Some("is said to come from another reserve than it does")
            }
            _ => None,
        };
        if let Some(why) = wrong {
            return Err(Discord::hold(&event.hold, why));
        }
        past.charged = body.spend.usd;
        self.overran |= past.charged > past.cap;
        self.take(place, body.delta);
        Ok(())
    }

    fn place(&self, event: &Event) -> Result<usize, Discord> {
        let place = self.index.get(&event.hold).copied();
        place.ok_or_else(|| Discord::hold(&event.hold, "was never granted"))
    }

    /// The holds of a purse whose reserve lies in a window; they are in the order of time.
    fn in_window<'a>(&'a self, purse: &str, window: &'a Window) -> impl Iterator<Item = &'a Past> {
        let places = self.by_purse.get(purse).map_or(&[][..], Vec::as_slice);
        let newest_first = places.iter().rev().map(|place| &self.past[*place]);
        newest_first
            .take_while(|past| past.reserved >= window.start)
            .filter(|past| window.contains(past.reserved))
    }

    /// Settled and held on a limit's account; from its first use on as a running sum.
    fn taken(&mut self, limit: &Limit, at: Timestamp) -> Usd {
        let sums = self.open_accounts.get(&limit.purse);
        let known = sums.and_then(|sums| sums.iter().find(|sum| sum.window == limit.window));
        if let Some(sum) = known {
            return sum.taken;
        }
        let taken = self.in_window(&limit.purse, &limit.window).map(|past| past.held + past.charged).sum();
        let sums = self.open_accounts.entry(limit.purse.clone()).or_default();
        // No grant can come for a window that is over.
        sums.retain(|sum| sum.window.end.is_none_or(|end| end > at));
        sums.push(Sum { window: limit.window, taken });
        taken
    }

    fn take(&mut self, place: usize, amount: Usd) {
        let past = &self.past[place];
        let own: HashSet<&String> = past.purses.iter().collect();
        for purse in own {
            let Some(sums) = self.open_accounts.get_mut(purse) else { continue };
            for sum in sums.iter_mut().filter(|sum| sum.window.contains(past.reserved)) {
                sum.taken += amount;
            }
        }
    }

    /// Whether a book says what the events say.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, book: &Book) -> Result<(), Mismatch> {
        if book.seq() != self.seq || *book.hash() != self.hash.clone().unwrap_or_else(LineHash::genesis) {
            return Err(Mismatch::End { head: book.seq(), events: self.seq });
        }
        if !book.live().eq(self.live.values()) {
            return Err(Mismatch::Live);
        }
        for counter in book.counters() {
            let events = self.settled(&Account::of(&counter.limit));
            if events != counter.settled {
                let Limit { purse, window, .. } = counter.limit.clone();
                return Err(Mismatch::Settled { purse, since: window.start, head: counter.settled, events });
            }
        }
        for (purse, places) in &self.by_purse {
            let last = places.last().map(|place| self.past[*place].reserved);
            if last.is_some_and(|last| !book.knows_of(purse, last)) {
                return Err(Mismatch::Purse { purse: purse.clone() });
            }
        }
        Ok(())
    }

    /// The book of these events, which follows the accounts that were named last.
    #[must_use]
    pub fn into_book(self) -> Book {
        let accounts: Vec<(Limit, Usd)> =
            self.named.iter().map(|limit| (limit.clone(), self.settled(&Account::of(limit)))).collect();
        let purses = self
            .by_purse
            .iter()
            .filter_map(|(purse, places)| Some((purse.as_str(), self.past.get(*places.last()?)?.reserved)));
        let hash = self.hash.unwrap_or_else(LineHash::genesis);
        let mut book = Book::restored(self.seq, self.at, hash, self.live, &self.closed, purses);
        for (limit, settled) in accounts {
            book.follow(&limit, settled);
        }
        book
    }
}
