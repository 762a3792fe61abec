//! What one model costs on one stretch of days: its rates by band and by terms.

use jiff::civil::Date;

use crate::money::{Factor, Rate};
use crate::tokens::{CacheWrites, Counts, Region, ServiceTier, Speed, Terms};

/// The prices of one token of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Input that touches no cache.
    pub input: Rate,
    /// Output, thinking included.
    pub output: Rate,
    /// Input read from a cache.
    pub cache_read: Rate,
    /// Input written to a cache that lives five minutes.
    pub cache_write_5m: Rate,
    /// Input written to a cache that lives one hour.
    pub cache_write_1h: Rate,
}

impl Rates {
    /// The dearer of both, kind by kind.
    #[must_use]
    pub(crate) fn dearer(self, other: Rates) -> Rates {
        Rates {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write_5m: self.cache_write_5m.max(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
        }
    }

    /// All rates times a factor; `None` where one product is not exact.
    pub(crate) fn times(self, factor: Factor) -> Option<Rates> {
        Some(Rates {
            input: self.input.times(factor)?,
            output: self.output.times(factor)?,
            cache_read: self.cache_read.times(factor)?,
            cache_write_5m: self.cache_write_5m.times(factor)?,
            cache_write_1h: self.cache_write_1h.times(factor)?,
        })
    }

    /// What these tokens cost.
    #[must_use]
    pub fn price(&self, counts: &Counts) -> crate::money::Usd {
        self.input * counts.input
            + self.cache_read * counts.cache_read
            + self.cache_write_5m * counts.cache_write_5m
            + self.cache_write_1h * counts.cache_write_1h
            + self.output * counts.output
    }

    /// The most that one input token can cost, whatever becomes of it within what may be written.
    #[must_use]
    pub fn dearest_input(&self, writes: CacheWrites) -> Rate {
        let plain = self.input.max(self.cache_read);
        match writes {
            CacheWrites::None => plain,
            CacheWrites::FiveMinutes => plain.max(self.cache_write_5m),
            CacheWrites::OneHour => plain.max(self.cache_write_5m).max(self.cache_write_1h),
        }
    }
}

/// How many combinations of terms have a price of their own: batch or not, fast or not, US or not.
pub(crate) const TERMS: usize = 8;

/// The place of some terms in a [`Band`]; `None` for terms that this version does not know.
///
/// Committed capacity has the list price, since its own is in a contract.
pub(crate) fn place(terms: &Terms) -> Option<usize> {
    let tier = match terms.tier {
        ServiceTier::Standard | ServiceTier::Priority => 0,
        ServiceTier::Batch => 1,
        ServiceTier::Other(_) => return None,
    };
    let speed = match terms.speed {
        Speed::Standard => 0,
        Speed::Fast => 2,
        Speed::Other(_) => return None,
    };
    let region = match terms.region {
        Region::Global => 0,
        Region::Us => 4,
        Region::Other(_) => return None,
    };
    Some(tier | speed | region)
}

/// The rates of requests whose prompt is longer than `above` tokens.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    /// The prompt must be longer than this: strictly, and all of the request is repriced.
    pub(crate) above: u64,
    /// Rates by [`place`]; `None` where the combination is not offered.
    pub(crate) priced: [Option<Rates>; TERMS],
}

/// The price of a model on a stretch of days.
#[derive(Clone, Debug)]
pub struct Row {
    /// The first day; `None` since the model came out.
    pub from: Option<Date>,
    /// The last day; `None` to this day.
    pub until: Option<Date>,
    /// Where the row comes from.
    pub source: String,
    /// The bands, shortest first; the first one is above zero.
    pub(crate) bands: Vec<Band>,
}

impl Row {
    /// Whether the row holds on any day from `first` to `last`.
    pub(crate) fn touches(&self, first: Date, last: Date) -> bool {
        self.from.is_none_or(|from| from <= last) && self.until.is_none_or(|until| until >= first)
    }

    /// The rates of a prompt of this length.
    pub(crate) fn exact(&self, place: usize, prompt: u64) -> Option<Rates> {
        let band = self.bands.iter().rev().find(|band| band.above < prompt).or(self.bands.first())?;
        band.priced[place]
    }

    /// The dearest rates of a prompt of at most this length.
    pub(crate) fn dearest(&self, place: usize, prompt_max: u64) -> Option<Rates> {
        let first = self.bands.first()?.priced[place]?;
        let longer = self.bands[1..].iter().filter(|band| band.above < prompt_max);
        longer.map(|band| band.priced[place]).try_fold(first, |rates, band| Some(rates.dearer(band?)))
    }
}
