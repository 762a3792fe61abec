//! Amounts in both of the units that cap a run: dollars and new tokens.

use std::ops::{Add, AddAssign};

use crate::money::{Rate, Usd};

/// Dollars and new tokens that go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Dollars.
    pub usd: Usd,
    /// New tokens: everything but cache reads.
    pub fresh: u64,
}

impl Spend {
    /// Nothing.
    pub const ZERO: Spend = Spend { usd: Usd::ZERO, fresh: 0 };

    /// What is left after `other` is taken away, in each unit, and nothing rather than a debt.
    #[must_use]
    pub fn minus_or_zero(self, other: Spend) -> Spend {
        Spend { usd: self.usd.minus_or_zero(other.usd), fresh: self.fresh.saturating_sub(other.fresh) }
    }

    /// The amount times `part / whole`, rounded down: by their dollars, or by their tokens where they have
    /// none. Unchanged where `whole` is nothing.
    #[must_use]
    pub fn scaled(self, part: Spend, whole: Spend) -> Spend {
        let (part, whole) = match whole.usd {
            Usd::ZERO => (i128::from(part.fresh), i128::from(whole.fresh)),
            usd => (part.usd.pico(), usd.pico()),
        };
        if whole <= 0 || part >= whole {
            return self;
        }
        let of = |amount: i128| amount.checked_mul(part).map_or(amount, |product| product / whole);
        let fresh = u64::try_from(of(i128::from(self.fresh))).unwrap_or(self.fresh);
        Spend { usd: Usd::from_pico(of(self.usd.pico())), fresh }
    }

    /// A `divisor`-th of the amount, rounded down. `divisor` is not zero.
    #[must_use]
    pub fn divided(self, divisor: u32) -> Spend {
        let usd = Usd::from_pico(self.usd.pico() / i128::from(divisor.max(1)));
        Spend { usd, fresh: self.fresh / u64::from(divisor.max(1)) }
    }
}

impl Add for Spend {
    type Output = Spend;
    fn add(self, other: Spend) -> Spend {
        Spend { usd: self.usd + other.usd, fresh: self.fresh.saturating_add(other.fresh) }
    }
}

impl AddAssign for Spend {
    fn add_assign(&mut self, other: Spend) {
        *self = *self + other;
    }
}

/// What may still be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Dollars, never negative.
    pub usd: Usd,
    /// New tokens; `None` without a limit.
    pub fresh: Option<u64>,
}

impl Room {
    /// The room that is left once `spend` is set aside.
    #[must_use]
    pub fn without(self, spend: Spend) -> Room {
        Room {
            usd: self.usd.minus_or_zero(spend.usd),
            fresh: self.fresh.map(|fresh| fresh.saturating_sub(spend.fresh)),
        }
    }

    /// Whether `spend` fits, in dollars and in tokens.
    #[must_use]
    pub fn holds(self, spend: Spend) -> bool {
        spend.usd <= self.usd && self.fresh.is_none_or(|fresh| spend.fresh <= fresh)
    }
}

/// The worst case of a request, as a line over its output cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worst {
    /// The part that does not depend on the output cap.
    pub fixed: Spend,
    /// Dollars for each token of the output cap.
    pub usd_per_output: Rate,
    /// New tokens for each token of the output cap: how many samplings the request may cause.
    pub fresh_per_output: u64,
}

impl Worst {
    /// The worst case with an output cap of `output` tokens.
    #[must_use]
    pub fn at(&self, output: u64) -> Spend {
        let fresh = self.fresh_per_output.saturating_mul(output);
        self.fixed + Spend { usd: self.usd_per_output * output, fresh }
    }

    /// The largest output cap whose worst case fits in `room`; `None` when not even the input fits.
    #[must_use]
    pub fn output_within(&self, room: Room) -> Option<u64> {
        if !room.holds(self.fixed) {
            return None;
        }
        let rest = room.without(self.fixed);
        let by_usd = self.usd_per_output.tokens_for(rest.usd).unwrap_or(u64::MAX);
        let by_fresh = match (rest.fresh, self.fresh_per_output) {
            (None, _) | (_, 0) => u64::MAX,
            (Some(fresh), each) => fresh / each,
        };
        Some(by_usd.min(by_fresh))
    }

    /// The same worst case of a request that costs no dollars.
    #[must_use]
    pub fn without_dollars(self) -> Worst {
        let fixed = Spend { usd: Usd::ZERO, ..self.fixed };
        Worst { fixed, usd_per_output: Rate::ZERO, ..self }
    }

    /// The same worst case with `more` added to the part that does not depend on the output cap.
    #[must_use]
    pub fn plus(self, more: Spend) -> Worst {
        Worst { fixed: self.fixed + more, ..self }
    }
}
