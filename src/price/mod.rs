//! Prices: [`Usage`] and [`Ceiling`](crate::tokens::Ceiling) to [`Usd`](crate::money::Usd), exactly.
//!
//! The table is embedded (`prices.json`), effective-dated and read by a strict loader: `load` refuses a
//! gap, an overlap, or a product that is no whole number of pico-dollars, so that pricing itself can
//! only fail where no price exists. `table` finds models, `cost` prices what was used, `bound` the most
//! that could be used. What has no price is an error and never zero.

mod bound;
mod cost;
mod load;
mod rates;
mod table;

pub use bound::Bound;
pub use cost::Cost;
pub use load::TableError;
pub use rates::{Rates, Row};
pub use table::{Model, Provider, Table};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::ModelId;
#[cfg(doc)]
use crate::tokens::Usage;
use crate::tokens::{ServiceTier, Terms};

/// Which day's price holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The price of that day in UTC, exactly.
    On(Date),
    /// The price around that instant: where a price changes within 24 hours of it, the dearer one, rate
    /// by rate. A request must be bounded and priced with the same instant, the one of its admission.
    Around(Timestamp),
}

impl When {
    /// The days whose rows count, first and last.
    fn days(self) -> (Date, Date) {
        match self {
            When::On(day) => (day, day),
            When::Around(instant) => {
                let day = SignedDuration::from_hours(24);
                let date = |instant: Timestamp| TimeZone::UTC.to_datetime(instant).date();
                let first = instant.checked_sub(day).unwrap_or(Timestamp::MIN);
                let last = instant.checked_add(day).unwrap_or(Timestamp::MAX);
                (date(first), date(last))
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
}

impl Unpriced {
    fn terms(model: &ModelId, terms: &Terms) -> Self {
        use crate::tokens::{Region, Speed};
        let tier = match &terms.tier {
            ServiceTier::Standard => "standard",
            ServiceTier::Priority => "priority",
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
            Region::Other(text) => text,
        };
        let terms = format!("service tier `{tier}`, speed `{speed}`, region `{region}`");
        Unpriced::Terms { model: model.clone(), terms }
    }
}

#[cfg(test)]
mod tests;
