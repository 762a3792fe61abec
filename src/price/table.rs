//! The price table: which models there are, and what they cost when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::load::{TableError, load};
use super::names::{plain, without_date, without_fast, without_points};
use super::rates::{Band, Factors, Rates, Row, TIERS};
use super::{Unpriced, When};
use crate::model::{Limits, ModelId, Thinking};
use crate::money::{Factor, Usd};
use crate::tokens::{Calls, Counts, Region, Speed, Terms};

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
    /// OpenAI, first party.
    Openai,
    /// Google, Gemini API.
    Google,
    /// DeepSeek.
    Deepseek,
    /// xAI.
    Xai,
    /// Moonshot AI.
    Moonshotai,
    /// Z.ai.
    Zai,
    /// Alibaba, DashScope.
    Qwen,
    /// Anybody else: a model that only the budget file knows.
    Other,
}

/// What a provider charges for one by one; `None` for what it does not offer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fees {
    pub(super) web_search: Option<Usd>,
    pub(super) preview_search: Option<Usd>,
    pub(super) file_search: Option<Usd>,
    pub(super) container: Option<Usd>,
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
    /// What a web search costs, where it is not what the provider usually takes.
    pub(super) web_search: Option<Usd>,
    /// Its prices, oldest first; every day has exactly one row.
    pub rows: Vec<Row>,
    /// The prices below which it never costs, see [`Table::over`].
    pub(super) floor: Option<Box<Model>>,
}

impl Model {
    /// The rates that hold at `when` for a prompt of exactly this length; where two rows count, the
    /// dearer rate of each kind.
    pub fn rates(&self, when: When, terms: &Terms, prompt: u64) -> Result<Rates, Unpriced> {
        self.select(when, terms, &|row, terms| row.exact(terms, prompt, when.off_peak()))
    }

    /// The dearest rates that hold at `when` for any prompt of at most this length.
    pub(super) fn dearest(&self, when: When, terms: &Terms, prompt_max: u64) -> Result<Rates, Unpriced> {
        self.select(when, terms, &|row, terms| row.dearest(terms, prompt_max))
    }

    /// Above which prompts other rates hold on that day, shortest first.
    #[must_use]
    pub fn thresholds(&self, day: Date) -> BTreeSet<u64> {
        let rows = self.all_rows().filter(|row| row.holds(day));
        rows.flat_map(Row::thresholds).collect()
    }

    /// Its own rows, and those of its floor.
    pub(super) fn all_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain(self.floor.iter().flat_map(|floor| &floor.rows))
    }

    fn select(
        &self,
        when: When,
        terms: &Terms,
        pick: &dyn Fn(&Row, &Terms) -> Option<Rates>,
    ) -> Result<Rates, Unpriced> {
        let (first, last) = when.days();
        let rows = self.all_rows().filter(|row| row.touches(first, last));
        let rates = rows.filter_map(|row| pick(row, terms)).reduce(Rates::dearer);
        rates.ok_or_else(|| Unpriced::terms(&self.id, terms))
    }
}

/// All prices that are known.
#[derive(Clone, Debug)]
pub struct Table {
    as_of: Date,
    pub(super) fees: BTreeMap<Provider, Fees>,
    pub(super) models: Vec<Model>,
    pub(super) names: HashMap<String, usize>,
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
        fees: BTreeMap<Provider, Fees>,
        models: Vec<Model>,
        names: HashMap<String, usize>,
    ) -> Table {
        let dearest = dearest_of(&models);
        Table { as_of, fees, models, names, dearest }
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

    /// The model of that name: an id, an alias, or either with a snapshot's date (`-20260416`), or with
    /// what a channel adds to it (Bedrock's region, a reseller's prefix, Claude Code's `[1m]`). Anything
    /// else is unknown; a name that merely begins like a known one is never taken for it.
    #[must_use]
    pub fn find(&self, id: &ModelId) -> Option<&Model> {
        let name = id.as_str();
        if name == DEAREST {
            return Some(&self.dearest);
        }
        let known = |name: &str| self.names.get(name).or_else(|| self.names.get(without_date(name)?));
        let plain = |name: &str| {
            let name = plain(name).0;
            known(name).or_else(|| known(&without_points(name)?))
        };
        let index = known(name).or_else(|| plain(name)).or_else(|| plain(without_fast(name)?))?;
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

    /// The table for as long as the process runs: it is made once, from what a command was given.
    #[must_use]
    pub fn kept(self) -> &'static Table {
        Box::leak(Box::new(self))
    }

    pub(super) fn known(&self, id: &ModelId) -> Result<&Model, Unpriced> {
        self.find(id).ok_or_else(|| Unpriced::UnknownModel(id.clone()))
    }

    /// The terms with the region and the speed that a channel says in the model's name.
    pub(super) fn terms_of(model: &ModelId, terms: &Terms) -> Terms {
        let mut terms = terms.clone();
        match plain(model.as_str()).1 {
            Region::Global => {}
            region => terms.region = region,
        }
        if without_fast(model.as_str()).is_some() {
            terms.speed = Speed::Fast;
        }
        terms
    }

    /// What was run by the provider of that model and is charged for one by one.
    pub(super) fn fees(
        &self,
        model: Option<&ModelId>,
        web_searches: u64,
        calls: Calls,
    ) -> Result<Usd, Unpriced> {
        if web_searches == 0 && calls == Calls::default() {
            return Ok(Usd::ZERO);
        }
        let id = model.ok_or(Unpriced::OwnerlessSearches(web_searches))?;
        let model = self.known(id)?;
        let fees = self.fees.get(&model.provider).copied().unwrap_or_default();
        let mut sum = Usd::ZERO;
        for (count, fee, what) in [
            (web_searches, model.web_search.or(fees.web_search), "web searches"),
            (calls.preview_searches, fees.preview_search, "web searches of the older kind"),
            (calls.file_searches, fees.file_search, "searches in files"),
            (calls.containers, fees.container, "containers"),
        ] {
            if count > 0 {
                let fee = fee.ok_or_else(|| Unpriced::NoFee(what, id.clone()))?;
                sum += Usd::from_pico(fee.pico().saturating_mul(i128::from(count)));
            }
        }
        Ok(sum)
    }
}

/// See [`Table::dearest_known`].
fn dearest_of(models: &[Model]) -> Model {
    let mut tiers: [Option<Rates>; TIERS] = [None; TIERS];
    let mut factors = Factors::default();
    let dearer = |kept: &mut Option<Factor>, other: Option<Factor>| {
        *kept = (*kept).into_iter().chain(other).reduce(Factor::larger);
    };
    let mut limits = Limits { window: 0, output: 0, thinking: Thinking::Budgeted, image: 0 };
    for model in models {
        limits.window = limits.window.max(model.limits.window);
        limits.output = limits.output.max(model.limits.output);
        limits.image = limits.image.max(model.limits.image);
        for row in model.all_rows() {
            dearer(&mut factors.fast, row.factors.fast);
            dearer(&mut factors.us, row.factors.us);
            dearer(&mut factors.regional, row.factors.regional);
            dearer(&mut factors.us_gov, row.factors.us_gov);
            for band in &row.bands {
                for (slot, rates) in tiers.iter_mut().zip(band.tiers) {
                    *slot = (*slot).into_iter().chain(rates).reduce(Rates::dearer);
                }
            }
        }
    }
    let row = Row {
        from: None,
        until: None,
        source: "the dearest of all other rows".to_owned(),
        bands: vec![Band { above: 0, tiers }],
        off_peak: None,
        factors,
    };
    let provider = models.first().map_or(Provider::Anthropic, |model| model.provider);
    Model { id: ModelId::new(DEAREST), provider, limits, web_search: None, rows: vec![row], floor: None }
}
