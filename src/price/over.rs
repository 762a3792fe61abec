//! One table over another: newer prices, and prices of one's own, over those that are built in.
//!
//! Whoever can replace a price table could make a model look cheap, and a cap buy more than it says. So what
//! lies over never makes a known model cheaper, unless it is told that it may.

use std::collections::HashMap;

use super::rates::{Band, Factors, Rates, Row, TIERS};
use super::table::{Fees, Model, Provider, Table};
use crate::model::{Limits, ModelId, Thinking};
use crate::money::{Factor, Rate, Usd};

/// A price, or another name, that the budget file gives a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The model's name in requests and answers.
    pub model: ModelId,
    /// What is said of it.
    pub is: OwnPrice,
}

/// What the budget file says of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnPrice {
    /// It costs and can do what another model does, such as one behind a deployment of that name.
    SameAs(ModelId),
    /// Rates of short prompts at the standard tier, and limits.
    Rates {
        /// Input.
        input: Rate,
        /// Output.
        output: Rate,
        /// Input read from a cache; like input where it is not said.
        cache_read: Option<Rate>,
        /// Input written to a cache of the usual lifetime; 1.25 times the input where it is not said.
        cache_write: Option<Rate>,
        /// Input written to a longer-lived cache; twice the input where it is not said.
        cache_write_long: Option<Rate>,
        /// The context window, in tokens.
        window: Option<u64>,
        /// The longest answer, in tokens.
        output_max: Option<u64>,
    },
}

/// Why what the budget file says of a model cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnError {
    /// The other model is not known.
    #[error(
        "prices.models.{0}: the price table has no model `{1}`\n\nhint: `tollgate prices list` names those it has"
    )]
    NoSuchModel(ModelId, ModelId),
    /// The model has a price already.
    #[error(
        "prices.models.{0}: the price table has a model of that name, which cannot stand for `{1}`\n\n\
         hint: write its price, as `input` and `output`, or leave it out"
    )]
    Known(ModelId, ModelId),
    /// A product of a rate and a factor is finer than a pico-dollar.
    #[error(
        "prices.models.{0}: a rate times a factor of its tiers is finer than a pico-dollar\n\n\
         hint: write the rates with fewer decimal places"
    )]
    Inexact(ModelId),
}

/// Tokens that a model of one's own takes and gives where that is not said: the widest that is sold.
const WINDOW: u64 = 1_050_000;
const OUTPUT_MAX: u64 = 131_072;
/// Tokens of an image where nothing is known of the model.
const IMAGE: u64 = 24_600;

impl Table {
    /// This table with a newer one over it. Models that only one of them has are taken from that one. A
    /// model of both costs what the newer one says, but never less than this one says, unless `cheaper`; nor
    /// may a name that this table knows come to mean something cheaper.
    #[must_use]
    pub fn over(&self, newer: &Table, cheaper: bool) -> Table {
        let mut models: Vec<Model> = Vec::with_capacity(newer.models.len() + self.models.len());
        let mut names: HashMap<String, usize> = HashMap::new();
        // By what each table takes a name for, which need not be the same for all names of one model.
        let mut meant: HashMap<(Option<&ModelId>, Option<&ModelId>), usize> = HashMap::new();
        for name in newer.names_in_order().into_iter().chain(self.names_in_order()) {
            if names.contains_key(name) {
                continue;
            }
            let id = ModelId::new(name);
            let new = newer.find(&id);
            let old = self.find(&id).or_else(|| self.find(&new?.id)).filter(|_| new.is_none() || !cheaper);
            let key = (new.map(|new| &new.id), old.map(|old| &old.id));
            let at = *meant.entry(key).or_insert(models.len());
            if at == models.len() {
                // One of the tables has the name.
                models.extend(new.map(|new| floored(new, old)).or_else(|| old.cloned()));
            }
            names.insert(name.to_owned(), at);
        }
        let mut fees = newer.fees.clone();
        for (provider, own) in &self.fees {
            let fee = fees.entry(*provider).or_default();
            *fee = if cheaper { own.under(*fee) } else { own.dearer(*fee) };
        }
        Table::assemble(newer.as_of(), fees, models, names)
    }

    /// This table with prices of one's own; and what is to be told of them.
    ///
    /// # Errors
    /// When a model is to stand for one that is not known, or has a price of its own.
    pub fn with_own(&self, own: &[Own], cheaper: bool) -> Result<(Table, Vec<String>), OwnError> {
        let mut table = self.clone();
        let mut notes = Vec::new();
        for Own { model: id, is } in own {
            match is {
                OwnPrice::SameAs(other) => {
                    if self.find(id).is_some() {
                        return Err(OwnError::Known(id.clone(), other.clone()));
                    }
                    let Some(model) = self.find(other) else {
                        return Err(OwnError::NoSuchModel(id.clone(), other.clone()));
                    };
                    table.add(id, model.clone());
                }
                OwnPrice::Rates { .. } => {
                    let (model, held) = own_model(id, is, self.find(id), cheaper)?;
                    if held {
                        notes.push(format!(
                            "the budget file's price of `{id}` is below the price table's, which counts; \
                             `prices: {{ cheaper: allow }}` lets it be cheaper"
                        ));
                    }
                    table.add(id, model);
                }
            }
        }
        Ok((Table::assemble(table.as_of(), table.fees, table.models, table.names), notes))
    }

    /// Every name, in the order of the models; of each its id first.
    fn names_in_order(&self) -> Vec<&str> {
        let mut names: Vec<(usize, bool, &str)> = self
            .names
            .iter()
            .map(|(name, at)| {
                (*at, self.models.get(*at).is_none_or(|model| model.id.as_str() != name), name.as_str())
            })
            .collect();
        names.sort_unstable();
        names.into_iter().map(|(_, _, name)| name).collect()
    }

    fn add(&mut self, name: &ModelId, model: Model) {
        self.names.insert(name.as_str().to_owned(), self.models.len());
        self.models.push(model);
    }
}

/// The model with the older one below it, and the wider limits of both.
fn floored(model: &Model, older: Option<&Model>) -> Model {
    let mut model = model.clone();
    if let Some(older) = older {
        model.limits.window = model.limits.window.max(older.limits.window);
        model.limits.output = model.limits.output.max(older.limits.output);
        model.limits.image = model.limits.image.max(older.limits.image);
        model.web_search = match (model.web_search, older.web_search) {
            (None, None) => None,
            (newer, older) => Some(newer.unwrap_or(Usd::ZERO).max(older.unwrap_or(Usd::ZERO))),
        };
        model.floor = Some(Box::new(older.clone()));
    }
    model
}

/// A model at prices of one's own; and whether a price was held because the table's is dearer.
fn own_model(
    id: &ModelId,
    own: &OwnPrice,
    known: Option<&Model>,
    cheaper: bool,
) -> Result<(Model, bool), OwnError> {
    let OwnPrice::Rates { input, output, cache_read, cache_write, cache_write_long, window, output_max } =
        own
    else {
        return Err(OwnError::Inexact(id.clone()));
    };
    let inexact = || OwnError::Inexact(id.clone());
    let times = |factor: &str| Factor::parse(factor).ok().and_then(|factor| input.times(factor));
    let Some(known) = known else {
        let usual = cache_write.or_else(|| times("1.25")).ok_or_else(inexact)?;
        let long = cache_write_long.or_else(|| times("2")).ok_or_else(inexact)?.max(usual);
        let rates = rates_of(*input, *output, cache_read.unwrap_or(*input), usual, long);
        let mut tiers = [None; TIERS];
        tiers[0] = Some(rates);
        let row = Row {
            from: None,
            until: None,
            source: "the budget file".to_owned(),
            bands: vec![Band { above: 0, tiers }],
            off_peak: None,
            factors: Factors::default(),
        };
        let limits = Limits {
            window: window.unwrap_or(WINDOW),
            output: output_max.unwrap_or(OUTPUT_MAX),
            thinking: Thinking::Adaptive,
            image: IMAGE,
        };
        let provider = Provider::Other;
        let model =
            Model { id: id.clone(), provider, limits, web_search: None, rows: vec![row], floor: None };
        return Ok((model, false));
    };
    let mut model = known.clone();
    let mut held = false;
    let limit =
        |known: u64, own: &Option<u64>| own.map_or(known, |own| if cheaper { own } else { own.max(known) });
    model.limits.window = limit(known.limits.window, window);
    model.limits.output = limit(known.limits.output, output_max);
    for row in &mut model.rows {
        let factors = row.factors;
        for bands in [Some(&mut row.bands), row.off_peak.as_mut()].into_iter().flatten() {
            let mut own = None;
            for (place, band) in bands.iter_mut().enumerate() {
                for (tier, slot) in band.tiers.iter_mut().enumerate() {
                    let Some(rates) = slot else { continue };
                    let usual = cache_write.unwrap_or(rates.cache_write_5m);
                    let long = cache_write_long.unwrap_or(rates.cache_write_1h);
                    let read = cache_read.unwrap_or(rates.cache_read);
                    let said = *own.get_or_insert_with(|| rates_of(*input, *output, read, usual, long));
                    // What is said is said of short prompts at the standard tier; nothing else gets cheaper.
                    let first = place == 0 && tier == 0;
                    held |= first && said.dearer(*rates) != said && !cheaper;
                    *rates = if first && cheaper { said } else { said.dearer(*rates) };
                    let exact = |[speed, region]: [Factor; 2]| rates.times(speed)?.times(region);
                    if factors.all().into_iter().any(|both| exact(both).is_none()) {
                        return Err(inexact());
                    }
                }
            }
        }
    }
    if cheaper {
        model.floor = None;
    }
    Ok((model, held))
}

fn rates_of(input: Rate, output: Rate, cache_read: Rate, usual: Rate, long: Rate) -> Rates {
    Rates {
        input,
        output,
        cache_read,
        cache_write_5m: usual,
        cache_write_1h: long,
        cache_write_30m: usual,
        cache_write_12h: long,
        audio_input: input,
        audio_cache_read: cache_read,
    }
}

impl Fees {
    fn zip(self, other: Fees, pair: impl Fn(Option<Usd>, Option<Usd>) -> Option<Usd>) -> Fees {
        Fees {
            web_search: pair(self.web_search, other.web_search),
            preview_search: pair(self.preview_search, other.preview_search),
            file_search: pair(self.file_search, other.file_search),
            container: pair(self.container, other.container),
        }
    }

    /// The dearer of both, one by one.
    fn dearer(self, other: Fees) -> Fees {
        self.zip(other, |a, b| a.into_iter().chain(b).max())
    }

    /// The other's, and these where it has none.
    fn under(self, other: Fees) -> Fees {
        self.zip(other, |own, newer| newer.or(own))
    }
}

#[cfg(test)]
mod tests;
