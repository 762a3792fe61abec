//! What one model costs on one stretch of days: its rates by band, tier and factor.

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
    /// Input written to a cache that lives thirty minutes.
    pub cache_write_30m: Rate,
    /// Input written to a cache that lives twelve hours.
    pub cache_write_12h: Rate,
    /// Spoken input that touches no cache.
    pub audio_input: Rate,
    /// Spoken input read from a cache.
    pub audio_cache_read: Rate,
}

impl Rates {
    /// Pairs both kind by kind.
    fn zip(self, other: Rates, pair: impl Fn(Rate, Rate) -> Rate) -> Rates {
        Rates {
            input: pair(self.input, other.input),
            output: pair(self.output, other.output),
            cache_read: pair(self.cache_read, other.cache_read),
            cache_write_5m: pair(self.cache_write_5m, other.cache_write_5m),
            cache_write_1h: pair(self.cache_write_1h, other.cache_write_1h),
            cache_write_30m: pair(self.cache_write_30m, other.cache_write_30m),
            cache_write_12h: pair(self.cache_write_12h, other.cache_write_12h),
            audio_input: pair(self.audio_input, other.audio_input),
            audio_cache_read: pair(self.audio_cache_read, other.audio_cache_read),
        }
    }

    /// The dearer of both, kind by kind.
    #[must_use]
    pub(crate) fn dearer(self, other: Rates) -> Rates {
        self.zip(other, Rate::max)
    }

    /// All rates times a factor; `None` where one product is not exact.
    pub(crate) fn times(self, factor: Factor) -> Option<Rates> {
        if factor == Factor::ONE {
            return Some(self);
        }
        Some(Rates {
            input: self.input.times(factor)?,
            output: self.output.times(factor)?,
            cache_read: self.cache_read.times(factor)?,
            cache_write_5m: self.cache_write_5m.times(factor)?,
            cache_write_1h: self.cache_write_1h.times(factor)?,
            cache_write_30m: self.cache_write_30m.times(factor)?,
            cache_write_12h: self.cache_write_12h.times(factor)?,
            audio_input: self.audio_input.times(factor)?,
            audio_cache_read: self.audio_cache_read.times(factor)?,
        })
    }

    /// What these tokens cost.
    #[must_use]
    pub fn price(&self, counts: &Counts) -> crate::money::Usd {
        self.input * counts.input
            + self.cache_read * counts.cache_read
            + self.cache_write_5m * counts.cache_write_5m
            + self.cache_write_1h * counts.cache_write_1h
            + self.cache_write_30m * counts.cache_write_30m
            + self.cache_write_12h * counts.cache_write_12h
            + self.audio_input * counts.audio_input
            + self.audio_cache_read * counts.audio_cache_read
            + self.output * counts.output
    }

    /// The most that one input token can cost, whatever becomes of it within what may be written.
    #[must_use]
    pub fn dearest_input(&self, writes: CacheWrites, audio: bool) -> Rate {
        let mut plain = self.input.max(self.cache_read);
        if audio {
            plain = plain.max(self.audio_input).max(self.audio_cache_read);
        }
        match writes {
            CacheWrites::None => plain,
            CacheWrites::FiveMinutes => plain.max(self.cache_write_5m),
            CacheWrites::OneHour => plain.max(self.cache_write_5m).max(self.cache_write_1h),
            CacheWrites::ThirtyMinutes => plain.max(self.cache_write_30m),
            CacheWrites::TwelveHours => plain.max(self.cache_write_30m).max(self.cache_write_12h),
        }
    }
}

/// How many tiers have rates of their own.
pub(crate) const TIERS: usize = 5;

/// The place of a tier in a [`Band`]; `None` for one that this version does not know.
pub(crate) fn place(tier: &ServiceTier) -> Option<usize> {
    match tier {
        ServiceTier::Standard => Some(0),
        ServiceTier::Batch => Some(1),
        ServiceTier::Flex => Some(2),
        ServiceTier::Priority => Some(3),
        ServiceTier::UltraFast => Some(4),
        ServiceTier::Other(_) => None,
    }
}

/// The rates of requests whose prompt is longer than `above` tokens.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    /// The prompt must be longer than this: strictly, and all of the request is repriced.
    pub(crate) above: u64,
    /// Rates by the [`place`] of their tier; `None` where it is not offered.
    pub(crate) tiers: [Option<Rates>; TIERS],
}

/// What multiplies the rates of a row; `None` for what is not offered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Factors {
    pub(crate) fast: Option<Factor>,
    pub(crate) us: Option<Factor>,
    pub(crate) regional: Option<Factor>,
    pub(crate) us_gov: Option<Factor>,
}

impl Factors {
    /// The factors of these terms; `None` where one of them is not offered.
    ///
    /// Fast mode and batches exclude each other (Anthropic's pricing page).
    fn of(&self, terms: &Terms) -> Option<[Factor; 2]> {
        let speed = match terms.speed {
            Speed::Standard => Factor::ONE,
            Speed::Fast if terms.tier == ServiceTier::Batch => return None,
            Speed::Fast => self.fast?,
            Speed::Other(_) => return None,
        };
        let region = match terms.region {
            Region::Global => Factor::ONE,
            Region::Us => self.us?,
            Region::Regional => self.regional?,
            Region::UsGov => self.us_gov?,
            Region::Other(_) => return None,
        };
        Some([speed, region])
    }

    /// Every product of factors that is offered.
    pub(crate) fn all(&self) -> Vec<[Factor; 2]> {
        let speeds = [Some(Factor::ONE), self.fast];
        let regions = [Some(Factor::ONE), self.us, self.regional, self.us_gov];
        let both = |speed: Factor| regions.into_iter().flatten().map(move |region| [speed, region]);
        speeds.into_iter().flatten().flat_map(both).collect()
    }
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
    /// The bands outside of the hours that the model is dearest in, where it has such.
    pub(crate) off_peak: Option<Vec<Band>>,
    pub(crate) factors: Factors,
}

impl Row {
    /// Whether the row holds on any day from `first` to `last`.
    pub(crate) fn touches(&self, first: Date, last: Date) -> bool {
        self.from.is_none_or(|from| from <= last) && self.until.is_none_or(|until| until >= first)
    }

    /// Whether the row holds on that day.
    #[must_use]
    pub fn holds(&self, day: Date) -> bool {
        self.touches(day, day)
    }

    /// Above which prompts its bands begin, shortest first.
    pub fn thresholds(&self) -> impl Iterator<Item = u64> + '_ {
        self.bands.iter().map(|band| band.above)
    }

    /// The bands by the hour; where the hour is not known, the dearer ones.
    fn bands(&self, off_peak: bool) -> &[Band] {
        self.off_peak.as_ref().filter(|_| off_peak).unwrap_or(&self.bands)
    }

    /// The rates of a prompt of this length.
    pub(crate) fn exact(&self, terms: &Terms, prompt: u64, off_peak: bool) -> Option<Rates> {
        let bands = self.bands(off_peak);
        let band = bands.iter().rev().find(|band| band.above < prompt).or(bands.first())?;
        self.multiplied(band.tiers[place(&terms.tier)?]?, terms)
    }

    /// The dearest rates of a prompt of at most this length.
    pub(crate) fn dearest(&self, terms: &Terms, prompt_max: u64) -> Option<Rates> {
        let place = place(&terms.tier)?;
        let first = self.bands.first()?.tiers[place]?;
        let longer = self.bands[1..].iter().filter(|band| band.above < prompt_max);
        let dearest =
            longer.map(|band| band.tiers[place]).try_fold(first, |rates, band| Some(rates.dearer(band?)))?;
        self.multiplied(dearest, terms)
    }

    fn multiplied(&self, rates: Rates, terms: &Terms) -> Option<Rates> {
        let [speed, region] = self.factors.of(terms)?;
        // The loader has tried every product.
        rates.times(speed)?.times(region)
    }
}
