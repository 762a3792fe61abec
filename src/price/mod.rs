//! Prices: [`Usage`] and [`Ceiling`](crate::tokens::Ceiling) to [`Usd`](crate::money::Usd), exactly.
//!
//! The table is embedded (`prices.json`), effective-dated and read by a strict loader: `load` refuses a
//! gap, an overlap, or a product that is no whole number of pico-dollars, so that pricing itself can
//! only fail where no price exists. `table` finds models, `cost` prices what was used, `bound` the most
//! that could be used, `over` lays newer prices over these, `changes` says what is new in them. What has no
//! price is an error and never zero.

mod bound;
mod changes;
mod cost;
mod load;
mod names;
mod over;
mod rates;
mod table;

pub use bound::Bound;
pub use changes::{Change, Direction, changes};
pub use cost::Cost;
pub use load::TableError;
pub use over::{Own, OwnError, OwnPrice};
pub use rates::{Rates, Row};
pub use table::{Model, Provider, Table};

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::ModelId;
#[cfg(doc)]
use crate::tokens::Usage;
use crate::tokens::{ServiceTier, Terms};

/// Which day's price holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The price of that day in UTC, exactly; of a model that is dearer at some hours, the dearer one.
    On(Date),
    /// The price of that instant, exactly.
    At(Timestamp),
    /// The price of that day in UTC outside of the hours in which some models are dearer.
    OffPeak(Date),
    /// The price around that instant: where a price changes within 24 hours of it, the dearer one, rate
    /// by rate. A request must be bounded and priced with the same instant, the one of its admission.
    Around(Timestamp),
}

impl When {
    /// The days whose rows count, first and last.
    fn days(self) -> (Date, Date) {
        match self {
            When::On(day) | When::OffPeak(day) => (day, day),
            When::At(instant) => {
                let day = TimeZone::UTC.to_datetime(instant).date();
                (day, day)
            }
            When::Around(instant) => {
                let day = SignedDuration::from_hours(24);
                let date = |instant: Timestamp| TimeZone::UTC.to_datetime(instant).date();
                let first = instant.checked_sub(day).unwrap_or(Timestamp::MIN);
                let last = instant.checked_add(day).unwrap_or(Timestamp::MAX);
                (date(first), date(last))
            }
        }
    }

    /// Whether it is certain that no model is dearer because of the hour.
    ///
    /// DeepSeek's pricing page: 01:00 to 04:00 and 06:00 to 10:00 UTC, Monday to Friday. Chinese holidays
    /// are not known here and count as other days.
    fn off_peak(self) -> bool {
        match self {
            When::On(_) | When::Around(_) => false,
            When::OffPeak(_) => true,
            When::At(instant) => {
                let time = TimeZone::UTC.to_datetime(instant);
                let weekend = matches!(time.weekday(), Weekday::Saturday | Weekday::Sunday);
                weekend || !matches!(time.hour(), 1..4 | 6..10)
            }
        }
    }
}

/// Why something has no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    /// The table has no such model.
    #[error("the price table has no model `{0}`")]
    UnknownModel(ModelId),
    /// The model is not offered on these terms, or the terms are not known.
    #[error("the price table has no price for `{model}` at {terms}")]
    Terms {
        /// The model.
        model: ModelId,
        /// The terms, in words.
        terms: String,
    },
    /// Web searches were counted, and there is no line that says whose.
    #[error("{0} web searches were counted, but no model that ran them")]
    OwnerlessSearches(u64),
    /// Calls were counted that the model's provider has no price for.
    #[error("the price table has no price for {0} run by the provider of `{1}`")]
    NoFee(&'static str, ModelId),
}

impl Unpriced {
    fn terms(model: &ModelId, terms: &Terms) -> Self {
        use crate::tokens::{Region, Speed};
        let tier = match &terms.tier {
            ServiceTier::Standard => "standard",
            ServiceTier::Priority => "priority",
            ServiceTier::UltraFast => "ultrafast",
            ServiceTier::Flex => "flex",
            ServiceTier::Batch => "batch",
            ServiceTier::Other(text) => text,
        };
        let speed = match &terms.speed {
            Speed::Standard => "standard",
            Speed::Fast => "fast",
            Speed::Other(text) => text,
        };
        let region = match &terms.region {
            Region::Global => "global",
            Region::Us => "us",
            Region::Regional => "regional",
            Region::UsGov => "us-gov",
            Region::Other(text) => text,
        };
        let terms = format!("service tier `{tier}`, speed `{speed}`, region `{region}`");
        Unpriced::Terms { model: model.clone(), terms }
    }
}

#[cfg(test)]
mod tests;
