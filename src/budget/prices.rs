//! Prices of one's own, and what newer price tables may do. As for the rest of the file: what may be written,
//! and what it means.

use serde_json::{Value, json};

use super::error::{Mistake, quoted};
use super::read::{At, Keys, Named, Place, Read, Words, mapping, text, word, word_schema, words};
use super::scalar::Tokens;
use super::tree::Node;
use crate::model::ModelId;
use crate::money::Rate;

/// What the budget file says of prices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Which installed price table counts.
    pub table: TableChoice,
    /// Whether a newer table, or a price of one's own, may make a known model cheaper.
    pub cheaper: bool,
    /// Prices and names of one's own, in the file's order.
    pub models: Vec<(ModelId, ModelPrice)>,
}

/// Which price table counts besides the one that is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TableChoice {
    /// The file does not say: an installed one, but not on a runner, where others could have put it.
    #[default]
    Default,
    /// None.
    BuiltIn,
    /// An installed one, wherever this runs.
    Installed,
    /// The one with this digest, in 64 hexadecimal digits, which has to be installed.
    Digest(String),
}

/// What is said of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPrice {
    /// It is another model under a name of one's own.
    SameAs(ModelId),
    /// Its rates and limits.
    Rates(Box<ModelRates>),
}

/// Rates of a model at short prompts, and its limits where they are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRates {
    /// Input.
    pub input: Rate,
    /// Output.
    pub output: Rate,
    /// Input read from a cache.
    pub cache_read: Option<Rate>,
    /// Input written to a cache.
    pub cache_write: Option<Rate>,
    /// Input written to a cache of a longer lifetime.
    pub cache_write_long: Option<Rate>,
    /// The context window, in tokens.
    pub window: Option<u64>,
    /// The longest answer, in tokens.
    pub max_output: Option<u64>,
}

mapping! {
    /// Prices of your own, and what newer price tables may do.
    PricesKeys {
        /// Which price table counts besides the one that is built in: built_in for none, installed for one that
        /// `tollgate prices update` has written, or `sha256:` with the digest that it prints.
        "table" => table: TableChoice,
        /// Whether a newer table, or a price below, may make a known model cheaper.
        "cheaper" => cheaper: AllowOrDeny,
        /// Prices by model, in dollars per million tokens; or another model's name.
        "models" => models: Named<ModelKeys>,
    }
    required {}
    later {}
}

mapping! {
    /// The price of one model, or the model that it is.
    ModelKeys {
        /// The model of the price table that this name stands for, such as that of a deployment.
        "same_as" => same_as: String,
        /// Dollars per million tokens of input.
        "input" => input: PerMillion,
        /// Dollars per million tokens of output.
        "output" => output: PerMillion,
        /// Dollars per million tokens that are read from a cache; those of input where it is missing.
        "cache_read" => cache_read: PerMillion,
        /// Dollars per million tokens that are written to a cache; 1.25 times those of input where it is missing.
        "cache_write" => cache_write: PerMillion,
        /// The same for a cache of a longer lifetime; twice those of input where it is missing.
        "cache_write_long" => cache_write_long: PerMillion,
        /// The context window, in tokens.
        "window" => window: Tokens,
        /// The longest answer, in tokens.
        "max_output" => max_output: Tokens,
    }
    required {}
    later {}
}

/// Whether something may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AllowOrDeny {
    Allow,
    Deny,
}

words! {
    AllowOrDeny, "choice here" { "deny" => AllowOrDeny::Deny, "allow" => AllowOrDeny::Allow, }
    later {}
}

/// Digits of a digest.
const DIGEST_DIGITS: usize = 64;
/// The dearest rate that a file may name, in dollars per million tokens.
const RATE_MAX: Rate = Rate::from_pico_per_token(1_000_000_000_000);
/// Decimal places of a rate.
const RATE_PLACES: usize = 4;

impl Read for TableChoice {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        const HINT: &str =
            "write `built_in`, `installed`, or `sha256:` and the digest that `tollgate prices update` prints";
        let written = text(node, place, mistakes)?;
        match written.strip_prefix("sha256:") {
            None if written == "built_in" => return Some(Self::BuiltIn),
            None if written == "installed" => return Some(Self::Installed),
            None => mistakes.push(place.mistake(format!("{} is no choice here", quoted(written)), HINT)),
            Some(digest) => {
                let hex = digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
                if hex && digest.len() == DIGEST_DIGITS {
                    return Some(Self::Digest(digest.to_owned()));
                }
                let problem =
                    format!("a digest has {DIGEST_DIGITS} digits, 0 to 9 and a to f, not {}", quoted(digest));
                mistakes.push(place.mistake(problem, HINT));
            }
        }
        None
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(built_in|installed|sha256:[0-9a-f]{64})$" })
    }
}

/// Dollars per million tokens, zero included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerMillion(pub(super) Rate);

impl Read for PerMillion {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let written = text(node, place, mistakes)?;
        let fine = written.split_once('.').map_or(0, |(_, places)| places.trim_end_matches('0').len());
        let octal = written.len() > 1 && written.starts_with('0') && !written.starts_with("0.");
        let (problem, hint) = match Rate::per_mtok(written) {
            Ok(rate) if fine <= RATE_PLACES && !octal && rate <= RATE_MAX => return Some(Self(rate)),
            Ok(rate) if rate > RATE_MAX => (
                format!("{} is above $1,000,000 per million tokens", quoted(written)),
                "write dollars per million tokens, as providers publish them".to_owned(),
            ),
            _ if fine > RATE_PLACES => (
                format!("{} has more than {RATE_PLACES} decimal places", quoted(written)),
                format!(
                    "write {RATE_PLACES} decimal places or fewer, so that every surcharge on it is exact"
                ),
            ),
            _ => (
                format!("{} is no price", quoted(written)),
                "write dollars per million tokens, such as `2.50`".to_owned(),
            ),
        };
        mistakes.push(place.mistake(problem, hint));
        None
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "type": "number", "minimum": 0, "maximum": 1_000_000 },
            { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,4}0*)?$" },
        ] })
    }
}

/// The prices that are meant.
pub(super) fn checked(keys: PricesKeys, mistakes: &mut Vec<Mistake>) -> Prices {
    let mut prices = Prices {
        table: keys.table.map(|at| at.value).unwrap_or_default(),
        cheaper: keys.cheaper.is_some_and(|at| at.value == AllowOrDeny::Allow),
        models: Vec::new(),
    };
    for (name, keys) in keys.models.map(|at| at.value.0).unwrap_or_default() {
        let price = model(&name, keys, mistakes);
        prices.models.extend(price.map(|price| (ModelId::new(&name.value), price)));
    }
    prices
}

fn model(name: &At<String>, keys: ModelKeys, mistakes: &mut Vec<Mistake>) -> Option<ModelPrice> {
    if name.value.trim().is_empty() || name.value.contains(char::is_whitespace) {
        mistakes.push(name.place.mistake(
            format!("{} is no name of a model", quoted(&name.value)),
            "write the name that requests and answers have for it",
        ));
        return None;
    }
    let rate = |at: Option<At<PerMillion>>| at.map(|at| at.value.0);
    let count = |at: Option<At<Tokens>>| at.map(|at| at.value.0);
    if let Some(other) = keys.same_as {
        let rates = [&keys.input, &keys.output, &keys.cache_read, &keys.cache_write, &keys.cache_write_long];
        if rates.iter().any(|rate| rate.is_some()) || keys.window.is_some() || keys.max_output.is_some() {
            mistakes.push(other.place.mistake(
                "a model that is another one has that one's price and limits",
                "write `same_as` alone, or the prices without it",
            ));
            return None;
        }
        return Some(ModelPrice::SameAs(ModelId::new(&other.value)));
    }
    let (Some(input), Some(output)) = (keys.input.as_ref(), keys.output.as_ref()) else {
        // One that is there and wrong has been told.
        let told = |mistake: &Mistake| {
            mistake.key.strip_prefix(&name.place.key).is_some_and(|rest| rest.starts_with('.'))
        };
        if mistakes.iter().any(told) {
            return None;
        }
        mistakes.push(name.place.mistake(
            "a price is missing",
            "write both `input` and `output`, or `same_as` with the model it is",
        ));
        return None;
    };
    Some(ModelPrice::Rates(Box::new(ModelRates {
        input: input.value.0,
        output: output.value.0,
        cache_read: rate(keys.cache_read),
        cache_write: rate(keys.cache_write),
        cache_write_long: rate(keys.cache_write_long),
        window: count(keys.window),
        max_output: count(keys.max_output),
    })))
}

impl Prices {
    /// What it means, in plain words, one sentence a line; nothing where the file says nothing.
    pub(super) fn explained(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.table {
            TableChoice::Default => {}
            TableChoice::BuiltIn => lines.push("Only the price table that is built in counts.".to_owned()),
            TableChoice::Installed => {
                lines.push(
                    "A newer price table counts that `tollgate prices update` has installed.".to_owned(),
                );
            }
            TableChoice::Digest(digest) => {
                lines.push(
                    "The price table counts that has this digest, and no run starts without it:".to_owned(),
                );
                lines.push(format!("sha256:{digest}"));
            }
        }
        for (id, price) in &self.models {
            lines.push(match price {
                ModelPrice::SameAs(other) => format!("`{id}` is {other} under another name."),
                ModelPrice::Rates(rates) => {
                    let usd = |rate: Rate| rate * 1_000_000;
                    format!(
                        "`{id}` costs ${} in and ${} out, per million tokens.",
                        usd(rates.input),
                        usd(rates.output)
                    )
                }
            });
        }
        if self.cheaper {
            lines.push("Both may make a model cheaper than the built-in table does.".to_owned());
        } else if *self != Self::default() {
            lines.push("Neither makes a model cheaper than the built-in table does.".to_owned());
        }
        lines
    }
}
