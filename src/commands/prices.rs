//! `tollgate prices`: the price table, as a list or model by model.

use std::io::Write;

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::budget::Prices;
use crate::exit::{self, Failure};
use crate::model::ModelId;
use crate::money::Rate;
use crate::pipeline::prices::{self, Here};
use crate::price::{Model, Rates, Table, When};
use crate::tokens::{ServiceTier, Terms};

pub mod update;

/// The arguments of `tollgate prices`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the table.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// List all models with their prices of a day
    List(ListArgs),
    /// Show every price of one model on a day, with where it comes from
    Show(ShowArgs),
    /// Install a newer table, and say what changes with it
    Update(update::Args),
}

/// The arguments of `tollgate prices list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// The day, instead of today
    #[arg(long, value_name = "DATE")]
    pub on: Option<Date>,
    /// How to write the answer
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// The arguments of `tollgate prices show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// The model, by any name that requests use for it
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The day, instead of today
    #[arg(long, value_name = "DATE")]
    pub on: Option<Date>,
    /// How to write the answer
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people
    Text,
    /// JSON, one object a model
    Json,
}

/// The tiers, in the order in which they are shown.
const TIERS: [(&str, ServiceTier); 5] = [
    ("standard", ServiceTier::Standard),
    ("batch", ServiceTier::Batch),
    ("flex", ServiceTier::Flex),
    ("priority", ServiceTier::Priority),
    ("ultrafast", ServiceTier::UltraFast),
];

/// Runs the command.
///
/// # Errors
/// A [`Failure`] with exit code 2 for a model that the table does not know; another error where the output
/// cannot be written.
pub(crate) async fn run(
    args: &Args,
    here: &Here<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    if let Action::Update(args) = &args.action {
        return update::run(args, here, out, err).await;
    }
    let in_force = prices::in_force(&Prices::default(), here)?;
    for note in &in_force.notes {
        writeln!(err, "note: {note}")?;
    }
    look(&args.action, in_force.table, here.today, out, err)?;
    Ok(exit::PASS)
}

/// Lists or shows prices of a table.
///
/// # Errors
/// See [`run`].
pub fn look(
    action: &Action,
    table: &Table,
    today: Date,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    let age = if table.stale(today) { ", more than 60 days ago" } else { "" };
    writeln!(err, "prices as of {}{age}, in dollars per million tokens", table.as_of())?;
    match action {
        Action::List(args) => list(table, args.on.unwrap_or(today), args.format, out),
        Action::Show(args) => show(table, args, args.on.unwrap_or(today), out),
        Action::Update(_) => Ok(()),
    }
}

fn list(table: &Table, day: Date, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    if format == Format::Text {
        writeln!(out, "{:<28} {:>10} {:>10} {:>10}", "model", "input", "cached", "output")?;
    }
    for model in table.models() {
        // Every model has a price at the standard terms on every day: the loader sees to it.
        let Ok(rates) = model.rates(When::On(day), &Terms::default(), 0) else { continue };
        let [input, cached, output] = [rates.input, rates.cache_read, rates.output].map(per_mtok);
        match format {
            Format::Text => writeln!(out, "{:<28} {input:>10} {cached:>10} {output:>10}", model.id.as_str())?,
            Format::Json => {
                let line = json!({ "model": model.id.as_str(), "input": input, "cache_read": cached, "output": output });
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

fn show(table: &Table, args: &ShowArgs, day: Date, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(model) = table.find(&ModelId::new(&args.model)) else {
        let message = format!(
            "the price table has no model `{}`\n\nhint: `tollgate prices list` names those it has",
            args.model
        );
        return Err(Failure::usage(message).into());
    };
    let rows = bands(model, day);
    if args.format == Format::Json {
        let limits = json!({ "window": model.limits.window, "output": model.limits.output });
        writeln!(
            out,
            "{}",
            json!({ "model": model.id.as_str(), "on": day, "limits": limits, "prices": rows })
        )?;
        return Ok(());
    }
    writeln!(out, "{} on {day}", model.id)?;
    for row in &rows {
        let above = row["above"].as_u64().filter(|above| *above > 0);
        let prompt = above.map_or_else(String::new, |above| format!(", prompts above {above} tokens"));
        writeln!(out, "{}{prompt}", row["tier"].as_str().unwrap_or_default())?;
        for (kind, price) in row["rates"].as_object().into_iter().flatten() {
            writeln!(out, "  {kind:<18} {:>12}", price.as_str().unwrap_or_default())?;
        }
    }
    for row in model.rows.iter().filter(|row| row.holds(day)) {
        let from = row.from.map_or_else(String::new, |from| format!(" from {from}"));
        let until = row.until.map_or_else(String::new, |until| format!(" until {until}"));
        writeln!(out, "source{from}{until}: {}", row.source)?;
    }
    Ok(())
}

/// The rates of a day by tier and band.
fn bands(model: &Model, day: Date) -> Vec<Value> {
    let mut shown = Vec::new();
    for (name, tier) in TIERS {
        let terms = Terms { tier, ..Terms::default() };
        for above in model.thresholds(day) {
            // A prompt one token above the threshold is the shortest of the band.
            if let Ok(rates) = model.rates(When::On(day), &terms, above + 1) {
                shown.push(json!({ "tier": name, "above": above, "rates": kinds(&rates) }));
            }
        }
    }
    shown
}

fn kinds(rates: &Rates) -> Value {
    json!({
        "input": per_mtok(rates.input),
        "cache_read": per_mtok(rates.cache_read),
        "cache_write_5m": per_mtok(rates.cache_write_5m),
        "cache_write_1h": per_mtok(rates.cache_write_1h),
        "cache_write_30m": per_mtok(rates.cache_write_30m),
        "cache_write_12h": per_mtok(rates.cache_write_12h),
        "audio_input": per_mtok(rates.audio_input),
        "audio_cache_read": per_mtok(rates.audio_cache_read),
        "output": per_mtok(rates.output),
    })
}

/// Exact dollars for a million tokens.
fn per_mtok(rate: Rate) -> String {
    (rate * 1_000_000).to_string()
}
