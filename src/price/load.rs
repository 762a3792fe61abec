//! The strict loader of a price table: text in, a [`Table`] that cannot misprice out.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use serde::Deserialize;

use super::rates::{Band, Factors, Rates, Row, TIERS, place};
use super::table::{Fees, Model, Provider, Table};
use crate::model::{Limits, ModelId, Thinking};
use crate::money::{AmountError, Factor, Rate, Usd};
use crate::tokens::ServiceTier;

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
    web_search: Option<String>,
    preview_search: Option<String>,
    file_search: Option<String>,
    container: Option<String>,
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
    web_search: Option<String>,
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
    tiers: RawTiers,
    #[serde(default)]
    long: Vec<RawBand>,
    /// Outside of the hours in which the model is dearer.
    off_peak: Option<RawRates>,
    factors: RawFactors,
    source: String,
}

/// Rates of tiers that are published by themselves.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTiers {
    batch: Option<RawRates>,
    flex: Option<RawRates>,
    priority: Option<RawRates>,
    ultrafast: Option<RawRates>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBand {
    above: u64,
    rates: RawRates,
    #[serde(default)]
    tiers: RawTiers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRates {
    input: Option<String>,
    output: Option<String>,
    cache_read: Option<String>,
    cache_write_5m: Option<String>,
    cache_write_1h: Option<String>,
    cache_write_30m: Option<String>,
    cache_write_12h: Option<String>,
    audio_input: Option<String>,
    audio_cache_read: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFactors {
    batch: Option<String>,
    priority: Option<String>,
    fast: Option<String>,
    us: Option<String>,
    regional: Option<String>,
    us_gov: Option<String>,
}

/// Reads and checks a table.
pub(super) fn load(text: &str) -> Result<Table, TableError> {
    let raw: RawTable = serde_json::from_str(text)?;
    if raw.format != 1 {
        return Err(TableError::Format(raw.format));
    }
    let mut fees = BTreeMap::new();
    for raw in raw.fees {
        let read = Fees {
            web_search: fee("fees", "web_search", &raw.web_search)?,
            preview_search: fee("fees", "preview_search", &raw.preview_search)?,
            file_search: fee("fees", "file_search", &raw.file_search)?,
            container: fee("fees", "container", &raw.container)?,
        };
        fees.insert(raw.provider, read);
    }
    let mut models = Vec::with_capacity(raw.models.len() + 1);
    let mut names = HashMap::new();
    for raw in raw.models {
        if raw.provider != Provider::Other && !fees.contains_key(&raw.provider) {
            return Err(TableError::Shape(raw.id, "its provider has no fees"));
        }
        for name in raw.aliases.iter().chain([&raw.id]) {
            if names.insert(name.clone(), models.len()).is_some() {
                return Err(TableError::Twice(name.clone()));
            }
        }
        models.push(model(raw)?);
    }
    Ok(Table::assemble(raw.as_of, fees, models, names))
}

fn fee(owner: &str, field: &str, text: &Option<String>) -> Result<Option<Usd>, TableError> {
    let read = |text: &String| text.parse().map_err(|error| amount(owner, field, text, error));
    text.as_ref().map(read).transpose()
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
    let web_search = fee(&raw.id, "web_search", &raw.web_search)?;
    Ok(Model { id: ModelId::new(&raw.id), provider: raw.provider, limits, web_search, rows, floor: None })
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
        fast: factor("factors.fast", &raw.factors.fast)?,
        us: factor("factors.us", &raw.factors.us)?,
        regional: factor("factors.regional", &raw.factors.regional)?,
        us_gov: factor("factors.us_gov", &raw.factors.us_gov)?,
    };
    let by_factor = ByFactor {
        batch: factor("factors.batch", &raw.factors.batch)?,
        priority: factor("factors.priority", &raw.factors.priority)?,
    };
    let first = read_rates(id, &raw.rates, None)?;
    let mut bands = vec![Band { above: 0, tiers: tiers(id, first, &raw.tiers, by_factor)? }];
    for band in &raw.long {
        if bands.last().is_some_and(|shorter| shorter.above >= band.above) {
            return Err(TableError::Shape(id.to_owned(), "its bands do not ascend"));
        }
        let rates = read_rates(id, &band.rates, None)?;
        bands.push(Band { above: band.above, tiers: tiers(id, rates, &band.tiers, by_factor)? });
    }
    let off_peak = match &raw.off_peak {
        None => None,
        Some(rates) => {
            let tiers = tiers(id, read_rates(id, rates, None)?, &RawTiers::default(), by_factor)?;
            Some(vec![Band { above: 0, tiers }])
        }
    };
    let priced = bands.iter().chain(off_peak.iter().flatten()).flat_map(|band| band.tiers).flatten();
    let inexact = |rates: Rates| {
        let product = |[speed, region]: [Factor; 2]| rates.times(speed)?.times(region);
        factors.all().into_iter().any(|both| product(both).is_none())
    };
    if priced.into_iter().any(inexact) {
        return Err(TableError::Inexact(id.to_owned()));
    }
    Ok(Row { from: raw.from, until: raw.until, source: raw.source.clone(), bands, off_peak, factors })
}

/// Tiers whose rates are the standard ones times a factor.
#[derive(Clone, Copy)]
struct ByFactor {
    batch: Option<Factor>,
    priority: Option<Factor>,
}

/// The rates of a band at every tier that is offered. A tier's own rates come before a factor.
fn tiers(
    id: &str,
    standard: Rates,
    raw: &RawTiers,
    by_factor: ByFactor,
) -> Result<[Option<Rates>; TIERS], TableError> {
    let mut tiers = [None; TIERS];
    for (tier, own, factor) in [
        (ServiceTier::Standard, None, Some(Factor::ONE)),
        (ServiceTier::Batch, raw.batch.as_ref(), by_factor.batch),
        (ServiceTier::Flex, raw.flex.as_ref(), None),
        (ServiceTier::Priority, raw.priority.as_ref(), by_factor.priority),
        (ServiceTier::UltraFast, raw.ultrafast.as_ref(), None),
    ] {
        let rates = match (own, factor) {
            (Some(own), _) => Some(read_rates(id, own, Some(standard))?),
            (None, Some(factor)) => {
                let product = standard.times(factor);
                Some(product.ok_or_else(|| TableError::Inexact(id.to_owned()))?)
            }
            (None, None) => None,
        };
        if let Some(place) = place(&tier) {
            tiers[place] = rates;
        }
    }
    Ok(tiers)
}

/// Reads rates. Input and output have to be there. A kind that is missing costs
///
/// - in a tier: what it costs at the standard one;
/// - elsewhere a cache read and spoken input what plain input does, and a cache write what it does at the
///   other lifetime of its kind (short: 5 and 30 minutes; long: 1 and 12 hours), else as plain input where no
///   lifetime has a price, else at the dearest that has one.
fn read_rates(id: &str, raw: &RawRates, standard: Option<Rates>) -> Result<Rates, TableError> {
    let read = |field: &str, text: &Option<String>| {
        let rate = |text: &String| Rate::per_mtok(text).map_err(|error| amount(id, field, text, error));
        text.as_ref().map(rate).transpose()
    };
    let missing = || TableError::Shape(id.to_owned(), "a row has no price for input or output");
    let input = read("input", &raw.input)?.ok_or_else(missing)?;
    let output = read("output", &raw.output)?.ok_or_else(missing)?;
    let cache_read = read("cache_read", &raw.cache_read)?;
    let [five, hour, half, twelve] = [
        read("cache_write_5m", &raw.cache_write_5m)?,
        read("cache_write_1h", &raw.cache_write_1h)?,
        read("cache_write_30m", &raw.cache_write_30m)?,
        read("cache_write_12h", &raw.cache_write_12h)?,
    ];
    let audio_input = read("audio_input", &raw.audio_input)?;
    let audio_cache_read = read("audio_cache_read", &raw.audio_cache_read)?;
    let dearest = [five, hour, half, twelve].into_iter().flatten().max().unwrap_or(input);
    let fallback = standard.unwrap_or(Rates {
        input,
        output,
        cache_read: input,
        cache_write_5m: dearest,
        cache_write_1h: dearest,
        cache_write_30m: dearest,
        cache_write_12h: dearest,
        audio_input: input,
        audio_cache_read: input,
    });
    let cache_read = cache_read.unwrap_or(fallback.cache_read);
    // Where speech costs what text does, it does so at every tier.
    let speech = standard.filter(|rates| rates.audio_input != rates.input);
    let audio_input = audio_input.or(speech.map(|rates| rates.audio_input)).unwrap_or(input);
    let cached_speech = if audio_input == input { cache_read } else { audio_input };
    let audio_cache_read = audio_cache_read.or(speech.map(|rates| rates.audio_cache_read));
    Ok(Rates {
        input,
        output,
        cache_read,
        cache_write_5m: five.or(half).unwrap_or(fallback.cache_write_5m),
        cache_write_1h: hour.or(twelve).unwrap_or(fallback.cache_write_1h),
        cache_write_30m: half.or(five).unwrap_or(fallback.cache_write_30m),
        cache_write_12h: twelve.or(hour).unwrap_or(fallback.cache_write_12h),
        audio_input,
        audio_cache_read: audio_cache_read.unwrap_or(cached_speech),
    })
}
