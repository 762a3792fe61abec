//! The strict loader of a price table: text in, a [`Table`] that cannot misprice out.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use serde::Deserialize;

use super::rates::{Band, Rates, Row, TERMS};
use super::table::{Model, Provider, Table};
use crate::model::{Limits, ModelId, Thinking};
use crate::money::{AmountError, Factor, Rate, Usd};

/// Why a price table is refused. The table is ours: whoever edited it last has to mend it.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is not the JSON that is expected.
    #[error("the price table cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is written for another version.
    #[error("the price table has format {0}, this version reads format 1")]
    Format(u32),
    /// A price or a factor is not a plain decimal number.
    #[error("the price table, {place}: `{text}`: {error}")]
    Amount {
        /// Model and field.
        place: String,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: AmountError,
    },
    /// A rate times its factors is no whole number of pico-dollars.
    #[error("the price table, `{0}`: a rate times its factors is finer than a pico-dollar")]
    Inexact(String),
    /// The rows of a model do not follow one another day by day.
    #[error("the price table, `{0}`: its rows leave a gap or overlap")]
    Days(String),
    /// Bands that do not ascend, or a limit that is zero.
    #[error("the price table, `{0}`: {1}")]
    Shape(String, &'static str),
    /// Two models answer to one name.
    #[error("the price table has two models that answer to `{0}`")]
    Twice(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    format: u32,
    #[serde(rename = "about")]
    _about: String,
    as_of: Date,
    fees: Vec<RawFees>,
    models: Vec<RawModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFees {
    provider: Provider,
    web_search: String,
    #[serde(rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    provider: Provider,
    id: String,
    aliases: Vec<String>,
    limits: RawLimits,
    rows: Vec<RawRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    window: u64,
    output: u64,
    thinking: RawThinking,
    image: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawThinking {
    Budgeted,
    Adaptive,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    from: Option<Date>,
    until: Option<Date>,
    rates: RawRates,
    #[serde(default)]
    long: Vec<RawBand>,
    factors: RawFactors,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBand {
    above: u64,
    rates: RawRates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRates {
    input: String,
    output: String,
    cache_read: String,
    cache_write_5m: String,
    cache_write_1h: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFactors {
    batch: Option<String>,
    fast: Option<String>,
    us: Option<String>,
}

/// The factors of a row; `None` for what is not offered.
struct Factors {
    batch: Option<Factor>,
    fast: Option<Factor>,
    us: Option<Factor>,
}

/// Reads and checks a table.
pub(super) fn load(text: &str) -> Result<Table, TableError> {
    let raw: RawTable = serde_json::from_str(text)?;
    if raw.format != 1 {
        return Err(TableError::Format(raw.format));
    }
    let mut web_search = BTreeMap::new();
    for fees in raw.fees {
        let text = fees.web_search;
        let fee: Usd = text.parse().map_err(|error| amount("fees", "web_search", &text, error))?;
        web_search.insert(fees.provider, fee);
    }
    let mut models = Vec::with_capacity(raw.models.len() + 1);
    let mut names = HashMap::new();
    for raw in raw.models {
        if !web_search.contains_key(&raw.provider) {
            return Err(TableError::Shape(raw.id, "its provider has no fees"));
        }
        for name in raw.aliases.iter().chain([&raw.id]) {
            if names.insert(name.clone(), models.len()).is_some() {
                return Err(TableError::Twice(name.clone()));
            }
        }
        models.push(model(raw)?);
    }
    Ok(Table::assemble(raw.as_of, web_search, models, names))
}

fn amount(model: &str, field: &str, text: &str, error: AmountError) -> TableError {
    TableError::Amount { place: format!("`{model}`, {field}"), text: text.to_owned(), error }
}

fn model(raw: RawModel) -> Result<Model, TableError> {
    let limits = Limits {
        window: raw.limits.window,
        output: raw.limits.output,
        thinking: match raw.limits.thinking {
            RawThinking::Budgeted => Thinking::Budgeted,
            RawThinking::Adaptive => Thinking::Adaptive,
        },
        image: raw.limits.image,
    };
    if limits.window == 0 || limits.output == 0 || limits.image == 0 {
        return Err(TableError::Shape(raw.id, "a limit is zero"));
    }
    let mut rows = Vec::with_capacity(raw.rows.len());
    for row in &raw.rows {
        rows.push(read_row(&raw.id, row)?);
    }
    check_days(&raw.id, &rows)?;
    Ok(Model { id: ModelId::new(&raw.id), provider: raw.provider, limits, rows })
}

/// The first row is open to the past, the last one to the future, and each begins the day after the
/// one before it ended: every day has exactly one row.
fn check_days(id: &str, rows: &[Row]) -> Result<(), TableError> {
    let wrong = || TableError::Days(id.to_owned());
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Err(wrong()) };
    let open = first.from.is_none() && last.until.is_none();
    let follow = rows.windows(2).all(|pair| match (pair[0].until, pair[1].from) {
        (Some(until), Some(from)) => {
            until.tomorrow().is_ok_and(|day| day == from) && pair[0].from.is_none_or(|f| f <= until)
        }
        _ => false,
    });
    if open && follow { Ok(()) } else { Err(wrong()) }
}

fn read_row(id: &str, raw: &RawRow) -> Result<Row, TableError> {
    let factor = |field: &str, text: &Option<String>| {
        let read = |text: &String| Factor::parse(text).map_err(|error| amount(id, field, text, error));
        text.as_ref().map(read).transpose()
    };
    let factors = Factors {
        batch: factor("factors.batch", &raw.factors.batch)?,
        fast: factor("factors.fast", &raw.factors.fast)?,
        us: factor("factors.us", &raw.factors.us)?,
    };
    let mut bands = vec![Band { above: 0, priced: priced(id, read_rates(id, &raw.rates)?, &factors)? }];
    for band in &raw.long {
        if bands.last().is_some_and(|shorter| shorter.above >= band.above) {
            return Err(TableError::Shape(id.to_owned(), "its bands do not ascend"));
        }
        let rates = read_rates(id, &band.rates)?;
        bands.push(Band { above: band.above, priced: priced(id, rates, &factors)? });
    }
    Ok(Row { from: raw.from, until: raw.until, source: raw.source.clone(), bands })
}

fn read_rates(id: &str, raw: &RawRates) -> Result<Rates, TableError> {
    let rate = |field: &str, text: &str| Rate::per_mtok(text).map_err(|error| amount(id, field, text, error));
    Ok(Rates {
        input: rate("input", &raw.input)?,
        output: rate("output", &raw.output)?,
        cache_read: rate("cache_read", &raw.cache_read)?,
        cache_write_5m: rate("cache_write_5m", &raw.cache_write_5m)?,
        cache_write_1h: rate("cache_write_1h", &raw.cache_write_1h)?,
    })
}

/// The rates at every combination of terms, in the order of [`place`](super::rates::place).
///
/// Factors multiply one another. Fast mode and batches exclude each other (Anthropic's pricing page).
fn priced(id: &str, rates: Rates, factors: &Factors) -> Result<[Option<Rates>; TERMS], TableError> {
    let mut priced = [None; TERMS];
    for (place, slot) in priced.iter_mut().enumerate() {
        let (batch, fast, us) = (place & 1 != 0, place & 2 != 0, place & 4 != 0);
        let asked = [(batch, factors.batch), (fast, factors.fast), (us, factors.us)];
        let offered = !(batch && fast) && asked.iter().all(|(asked, factor)| !asked || factor.is_some());
        if !offered {
            continue;
        }
        let mut product = rates;
        for factor in asked.iter().filter(|(asked, _)| *asked).filter_map(|(_, factor)| *factor) {
            product = product.times(factor).ok_or_else(|| TableError::Inexact(id.to_owned()))?;
        }
        *slot = Some(product);
    }
    Ok(priced)
}
