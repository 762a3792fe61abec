//! One hold, and the only ways in which it can change.
//!
//! none → held, extended while it is → settled | voided | expired, then adjusted. What is held leaves
//! exactly once. `book`,
//! `audit` and the look-up in the history all step holds through here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Kind, Origin, Reserve};
use super::{Balance, Limit, Spend, Window};
use crate::id::HoldId;
use crate::money::Usd;

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Granted; its run may be spending.
    Held,
    /// Its run is over, and said what it spent.
    Settled,
    /// Given up without spend.
    Voided,
    /// Nobody settled it: it was charged.
    Expired,
}

impl Phase {
    /// The phase's name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Held => "held",
            Phase::Settled => "settled",
            Phase::Voided => "voided",
            Phase::Expired => "expired",
        }
    }
}

/// A hold with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its key.
    pub id: HoldId,
    /// When it was granted, by the store's clock.
    pub reserved: Timestamp,
    /// The terms it was granted on.
    pub terms: Reserve,
    /// Where it stands.
    pub phase: Phase,
    /// What it is charged: nothing while it is held.
    pub spend: Spend,
    /// Evidence came after it was closed.
    pub adjusted: bool,
}

/// A step that a hold cannot take, in words that follow the hold's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Illegal(pub String);

impl Hold {
    /// A hold that was just granted.
    #[must_use]
    pub fn new(id: HoldId, reserved: Timestamp, terms: Reserve) -> Self {
        Self { id, reserved, terms, phase: Phase::Held, spend: Spend::default(), adjusted: false }
    }

    /// Whose spend its spend is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin { reserved: self.reserved, purses: self.terms.purses.clone() }
    }

    /// What it holds back from every limit it counts towards.
    #[must_use]
    pub fn held(&self) -> Usd {
        if self.phase == Phase::Held { self.terms.cap } else { Usd::ZERO }
    }

    /// It is charged more than it was granted.
    #[must_use]
    pub fn overrun(&self) -> bool {
        self.spend.usd > self.terms.cap
    }

    /// Whether its run is still taken at its word, should it settle after all: it never said what it spent, and
    /// nobody else did. A correction that is a bound in full, as `tollgate reconcile` makes it, says only what it
    /// cannot have been above; what a person says stands.
    #[must_use]
    pub fn awaits_its_run(&self) -> bool {
        let bound = self.spend.usd > Usd::ZERO && self.spend.estimated == self.spend.usd;
        match self.phase {
            Phase::Expired => !self.adjusted || bound,
            Phase::Voided => !self.adjusted,
            Phase::Held | Phase::Settled => false,
        }
    }

    /// Whether its spend counts towards a purse in a window.
    #[must_use]
    pub fn counts_towards(&self, purse: &str, window: &Window) -> bool {
        counts_towards(self.reserved, &self.terms.purses, purse, window)
    }

    /// The limit that cut its cap, as it stood then.
    #[must_use]
    pub fn cut_by(&self) -> Option<Balance> {
        let cut = self.terms.cut_by.as_ref()?;
        let limit: Limit = self.terms.limits.get(cut.limit)?.clone();
        Some(Balance { limit, settled: cut.settled, held: cut.held })
    }

    /// Takes the step an event says; returns by how much that changes what the hold is charged.
    ///
    /// # Errors
    /// When the hold cannot take the step; it is unchanged then.
    pub fn step(&mut self, kind: &Kind) -> Result<Usd, Illegal> {
        let (origin, spend, phase) = match kind {
            Kind::Reserve(_) => return Err(Illegal("was granted before".to_owned())),
            Kind::Refuse(_) => return Err(Illegal("was granted, and cannot be refused".to_owned())),
            Kind::Note(_) => return Err(Illegal("is a hold, and no note".to_owned())),
            Kind::Settle(body) => (&body.of, body.spend.clone(), Phase::Settled),
            Kind::Void(body) => (&body.of, Spend::default(), Phase::Voided),
            Kind::Expire(body) => (&body.of, body.spend.clone(), Phase::Expired),
            Kind::Adjust(body) => (&body.of, body.spend.clone(), self.phase),
            Kind::Extend(body) => (&body.of, self.spend.clone(), self.phase),
        };
        if origin.reserved != self.reserved || origin.purses != self.terms.purses {
            return Err(Illegal("is said to come from another reserve than it does".to_owned()));
        }
        let adjusts = matches!(kind, Kind::Adjust(_));
        if adjusts == (self.phase == Phase::Held) {
            let now = self.phase.as_str();
            return Err(Illegal(format!("is {now}, and cannot take a `{}`", kind.as_str())));
        }
        let delta = spend.usd - self.spend.usd;
        match kind {
            Kind::Extend(body) if body.cap <= self.terms.cap => {
                return Err(Illegal("is extended to no more than it has".to_owned()));
            }
            Kind::Extend(body) => self.terms.cap = body.cap,
            Kind::Adjust(body) if body.delta != delta => {
                let wrong = format!("is adjusted by {} where {delta} is right", body.delta);
                return Err(Illegal(wrong));
            }
            Kind::Settle(body) if body.overrun != (body.spend.usd > self.terms.cap) => {
                return Err(Illegal("has an overrun flag that contradicts its spend".to_owned()));
            }
            _ => {}
        }
        self.phase = phase;
        self.spend = spend;
        self.adjusted |= adjusts;
        Ok(delta)
    }
}

/// Whether the spend of a hold granted at `reserved` for `purses` counts towards `purse` in `window`.
pub(super) fn counts_towards(reserved: Timestamp, purses: &[String], purse: &str, window: &Window) -> bool {
    window.contains(reserved) && purses.iter().any(|own| own == purse)
}
