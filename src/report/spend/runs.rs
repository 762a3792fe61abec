//! Runs out of events: each reserve is paired with what closed it, as the events stream by.
//!
//! Only live holds are kept, of which a ledger has a bounded number. A correction may come long after its
//! run was passed on; so corrections are collected, and where there are any the events are read a second
//! time, with every run's last word known from the start.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::id::HoldId;
use crate::ledger::event::{Event, Kind, Refuse, Reserve};
use crate::ledger::hold::Phase;
use crate::ledger::{About, Spend};
use crate::money::Usd;

/// Runs whose spend was corrected that are followed at most.
pub const CORRECTIONS_MAX: usize = 100_000;

/// A run as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its hold.
    pub hold: HoldId,
    /// When that was granted: which windows and days it belongs to.
    pub reserved: Timestamp,
    /// When it was closed; `None` while it is held.
    pub closed: Option<Timestamp>,
    /// What it is.
    pub about: About,
    /// What it was granted.
    pub cap: Usd,
    /// The purse whose limit cut that, if one did.
    pub cut_by: Option<String>,
    /// Where it stands.
    pub phase: Phase,
    /// What it is charged.
    pub spend: Spend,
    /// How it ended, where its run said so.
    pub outcome: Option<String>,
    /// It is charged without evidence.
    pub unproven: bool,
    /// Evidence came after it was closed.
    pub adjusted: bool,
    /// Whose spend it is.
    pub purses: Vec<String>,
}

impl Run {
    fn of(hold: HoldId, reserved: Timestamp, terms: Reserve) -> Self {
        let cut_by = terms.cut_by.as_ref().and_then(|cut| terms.limits.get(cut.limit));
        Self {
            hold,
            reserved,
            closed: None,
            cap: terms.cap,
            cut_by: cut_by.map(|limit| limit.purse.clone()),
            about: terms.about,
            phase: Phase::Held,
            spend: Spend::default(),
            outcome: None,
            unproven: false,
            adjusted: false,
            purses: terms.purses,
        }
    }

    /// How it ended in one word: what its run said, else how its hold was closed.
    #[must_use]
    pub fn ending(&self) -> &str {
        self.outcome.as_deref().unwrap_or(match self.phase {
            Phase::Settled => "not recorded",
            phase => phase.as_str(),
        })
    }
}

/// What an event brings to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A run was closed.
    Run(Box<Run>),
    /// A run was not started.
    Refused(Timestamp, Box<Refuse>),
}

/// The last word on runs whose spend was corrected after they were closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrections {
    by_hold: HashMap<HoldId, Spend>,
    /// Corrections that are not followed, since there are too many.
    pub beyond: u64,
}

/// Pairs reserves with what closed them.
#[derive(Debug, Default)]
pub struct Runs {
    live: HashMap<HoldId, Run>,
    known: Corrections,
    found: Corrections,
}

impl Runs {
    /// A reader that knows these corrections.
    #[must_use]
    pub fn knowing(known: Corrections) -> Self {
        Self { known, ..Self::default() }
    }

    /// Takes the next event in. An event of a hold that was granted before the first one here says nothing.
    pub fn take(&mut self, event: Event) -> Option<Passed> {
        let Event { at, hold, kind, .. } = event;
        let (spend, outcome, unproven, phase) = match kind {
            Kind::Reserve(terms) => {
                self.live.insert(hold.clone(), Run::of(hold, at, terms));
                return None;
            }
            Kind::Refuse(refuse) => return Some(Passed::Refused(at, Box::new(refuse))),
            Kind::Extend(extend) => {
                if let Some(run) = self.live.get_mut(&hold) {
                    run.cap = extend.cap;
                }
                return None;
            }
            Kind::Note(_) => return None,
            Kind::Adjust(adjust) => {
                self.correct(hold, adjust.spend);
                return None;
            }
            Kind::Settle(settle) => (settle.spend, settle.outcome, false, Phase::Settled),
            Kind::Void(_) => (Spend::default(), None, false, Phase::Voided),
            Kind::Expire(expire) => (expire.spend, None, !expire.proven, Phase::Expired),
        };
        let run = self.live.remove(&hold)?;
        let corrected = self.known.by_hold.get(&hold).cloned();
        let adjusted = corrected.is_some();
        let run = Run {
            closed: Some(at),
            spend: corrected.unwrap_or(spend),
            unproven: unproven && !adjusted,
            outcome,
            phase,
            adjusted,
            ..run
        };
        Some(Passed::Run(Box::new(run)))
    }

    fn correct(&mut self, hold: HoldId, spend: Spend) {
        if self.found.by_hold.len() >= CORRECTIONS_MAX && !self.found.by_hold.contains_key(&hold) {
            self.found.beyond += 1;
        } else {
            self.found.by_hold.insert(hold, spend);
        }
    }

    /// The runs that are under way, longest first; or, where corrections came that were not known, those,
    /// to read the events again with.
    ///
    /// # Errors
    /// The corrections, where there are others than were known.
    pub fn finish(self) -> Result<(Vec<Run>, Corrections), Corrections> {
        if self.found != self.known {
            return Err(self.found);
        }
        let mut live: Vec<Run> = self.live.into_values().collect();
        live.sort_by(|a, b| (a.reserved, &a.hold).cmp(&(b.reserved, &b.hold)));
        Ok((live, self.known))
    }
}
