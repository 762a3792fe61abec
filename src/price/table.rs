//! The price table: which models there are, and what they cost when.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::load::{TableError, load};
use super::rates::{Band, Rates, Row, TERMS, place};
use super::{Unpriced, When};
use crate::model::{Limits, ModelId, Thinking};
use crate::money::Usd;
use crate::tokens::{Counts, Terms};

/// The table that is built in.
const EMBEDDED: &str = include_str!("prices.json");
/// After so many days a table says that it is old.
const STALE_DAYS: i32 = 60;
/// The name under which a model without a price is counted, see [`Table::dearest_known`].
const DEAREST: &str = "unknown-model";

/// Who sells a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Anthropic, first party.
    Anthropic,
}

/// A model with its prices.
#[derive(Clone, Debug)]
pub struct Model {
    /// The id under which the table keeps it, whatever alias was asked for.
    pub id: ModelId,
    /// Who sells it.
    pub provider: Provider,
    /// What it can do at most.
    pub limits: Limits,
    /// Its prices, oldest first; every day has exactly one row.
    pub rows: Vec<Row>,
}

impl Model {
    /// The rates that hold at `when` for a prompt of exactly this length; where two rows count, the
    /// dearer rate of each kind.
    pub fn rates(&self, when: When, terms: &Terms, prompt: u64) -> Result<Rates, Unpriced> {
        self.select(when, terms, |row, place| row.exact(place, prompt))
    }

    /// The dearest rates that hold at `when` for any prompt of at most this length.
    pub(super) fn dearest(&self, when: When, terms: &Terms, prompt_max: u64) -> Result<Rates, Unpriced> {
        self.select(when, terms, |row, place| row.dearest(place, prompt_max))
    }

    fn select(
        &self,
        when: When,
        terms: &Terms,
        pick: impl Fn(&Row, usize) -> Option<Rates>,
    ) -> Result<Rates, Unpriced> {
        let unpriced = || Unpriced::terms(&self.id, terms);
        let place = place(terms).ok_or_else(unpriced)?;
        let (first, last) = when.days();
        let rows = self.rows.iter().filter(|row| row.touches(first, last));
        rows.filter_map(|row| pick(row, place)).reduce(Rates::dearer).ok_or_else(unpriced)
    }
}

/// All prices that are known.
#[derive(Clone, Debug)]
pub struct Table {
    as_of: Date,
    web_search: BTreeMap<Provider, Usd>,
    models: Vec<Model>,
    names: HashMap<String, usize>,
    dearest: Model,
}

impl Table {
    /// The table that is built in, read once.
    ///
    /// # Panics
    /// Never: a test loads the same text.
    #[must_use]
    pub fn embedded() -> &'static Table {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Table::parse(EMBEDDED).expect("a test loads the embedded table"))
    }

    /// Reads a table and checks all of it.
    ///
    /// # Errors
    /// When anything in it is missing, unknown, inexact, or leaves a day without a price.
    pub fn parse(text: &str) -> Result<Table, TableError> {
        load(text)
    }

    pub(super) fn assemble(
        as_of: Date,
        web_search: BTreeMap<Provider, Usd>,
        models: Vec<Model>,
        names: HashMap<String, usize>,
    ) -> Table {
        let dearest = dearest_of(&models);
        Table { as_of, web_search, models, names, dearest }
    }

    /// The day whose prices the table knows.
    #[must_use]
    pub fn as_of(&self) -> Date {
        self.as_of
    }

    /// Whether the table is more than 60 days old.
    #[must_use]
    pub fn stale(&self, today: Date) -> bool {
        (today - self.as_of).get_days() > STALE_DAYS
    }

    /// All models, in the table's order.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model of that name: an id, an alias, or either with a snapshot's date (`-20260416`) or
    /// Claude Code's mark of the long window (`[1m]`) behind it. Anything else is unknown; a name that
    /// merely begins like a known one is never taken for it.
    #[must_use]
    pub fn find(&self, id: &ModelId) -> Option<&Model> {
        let name = id.as_str();
        if name == DEAREST {
            return Some(&self.dearest);
        }
        let name = name.strip_suffix("[1m]").unwrap_or(name);
        let index = self.names.get(name).or_else(|| self.names.get(without_date(name)?))?;
        self.models.get(*index)
    }

    /// What a model can do at most.
    #[must_use]
    pub fn limits(&self, id: &ModelId) -> Option<Limits> {
        self.find(id).map(|model| model.limits)
    }

    /// A model that does not exist: every rate of it is the dearest that any model has had, and its
    /// limits are the widest. Where policy lets models without a price through, lines of theirs take
    /// its id (which [`Table::find`] knows), in the ceiling and in the usage alike.
    #[must_use]
    pub fn dearest_known(&self) -> &Model {
        &self.dearest
    }

    /// Whether `a` costs more than `b`: per token of input or output, or of cache read where those are
    /// the same, on standard terms and short prompts. `None` where one of them is unknown.
    #[must_use]
    pub fn is_dearer(&self, a: &ModelId, b: &ModelId, when: When) -> Option<bool> {
        let rates = |id| self.find(id)?.rates(when, &Terms::default(), 0).ok();
        let (a, b) = (rates(a)?, rates(b)?);
        if (a.input, a.output) == (b.input, b.output) {
            return Some(a.cache_read > b.cache_read);
        }
        Some(a.input > b.input || a.output > b.output)
    }

    /// What these tokens cost with that model on standard terms and short prompts: for comparisons.
    /// Sums over many requests do not tell their bands, so this never says too much.
    ///
    /// # Errors
    /// When the model has no price.
    pub fn list_cost(&self, model: &ModelId, counts: &Counts, when: When) -> Result<Usd, Unpriced> {
        Ok(self.known(model)?.rates(when, &Terms::default(), 0)?.price(counts))
    }

    /// What the cached tokens would have cost more without a cache, on the terms of [`Table::list_cost`].
    ///
    /// # Errors
    /// When the model has no price.
    pub fn cache_read_saving(&self, model: &ModelId, counts: &Counts, when: When) -> Result<Usd, Unpriced> {
        let rates = self.known(model)?.rates(when, &Terms::default(), 0)?;
        Ok((rates.input * counts.cache_read).minus_or_zero(rates.cache_read * counts.cache_read))
    }

    pub(super) fn known(&self, id: &ModelId) -> Result<&Model, Unpriced> {
        self.find(id).ok_or_else(|| Unpriced::UnknownModel(id.clone()))
    }

    /// What so many web searches cost with the provider of that model.
    pub(super) fn search_fee(&self, model: Option<&ModelId>, searches: u64) -> Result<Usd, Unpriced> {
        if searches == 0 {
            return Ok(Usd::ZERO);
        }
        let model = model.ok_or(Unpriced::OwnerlessSearches(searches))?;
        let fee = self.web_search.get(&self.known(model)?.provider).copied();
        // The loader refuses a model whose provider has no fees.
        let fee = fee.ok_or(Unpriced::OwnerlessSearches(searches))?;
        Ok(Usd::from_pico(fee.pico().saturating_mul(i128::from(searches))))
    }
}

/// The name without a snapshot's date (`-20260416`) at its end; `None` where there is none.
fn without_date(name: &str) -> Option<&str> {
    let (stem, date) = name.rsplit_once('-')?;
    let is_date = date.len() == 8 && date.starts_with("20") && date.bytes().all(|b| b.is_ascii_digit());
    is_date.then_some(stem)
}

/// See [`Table::dearest_known`].
fn dearest_of(models: &[Model]) -> Model {
    let mut priced: [Option<Rates>; TERMS] = [None; TERMS];
    let mut limits = Limits { window: 0, output: 0, thinking: Thinking::Budgeted, image: 0 };
    for model in models {
        limits.window = limits.window.max(model.limits.window);
        limits.output = limits.output.max(model.limits.output);
        limits.image = limits.image.max(model.limits.image);
        for band in model.rows.iter().flat_map(|row| &row.bands) {
            for (slot, rates) in priced.iter_mut().zip(band.priced) {
                *slot = (*slot).into_iter().chain(rates).reduce(Rates::dearer);
            }
        }
    }
    let row = Row {
        from: None,
        until: None,
        source: "the dearest of all other rows".to_owned(),
        bands: vec![Band { above: 0, priced }],
    };
    let provider = models.first().map_or(Provider::Anthropic, |model| model.provider);
    Model { id: ModelId::new(DEAREST), provider, limits, rows: vec![row] }
}
