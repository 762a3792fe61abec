//! `tollgate report`: what the runs on the ledger cost, by every dimension, against every budget.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use clap::ValueEnum;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::budget::Budget;
use crate::cli::Shell;
use crate::exit::{self, Failure};
use crate::ledger::event::Event;
use crate::ledger::store::{Options, Store, StoreError};
use crate::ledger::{About, ModelSpend};
use crate::limits;
use crate::model::ModelId;
use crate::money::Usd;
use crate::pipeline::place::{self, Place};
use crate::pipeline::prices::{self, Here};
use crate::pipeline::{books, inputs};
use crate::price::{Table, When};
use crate::report::spend::runs::Corrections;
use crate::report::spend::tally::{By, Saved};
use crate::report::spend::{Fold, Spec, Spent, exact, render};
use crate::savings;

/// Events that are handed over at once, and how many times that may be read ahead.
const BATCH_EVENTS: usize = 512;
const BATCHES_AHEAD: usize = 2;
/// How often the events are read at most: again only where corrections came meanwhile.
const READINGS_MAX: usize = 4;

/// Say what runs cost, by model, task, tier and more, against every budget, with a forecast.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to tell spend apart by; may be given more than once [default: all of them]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub by: Vec<Dimension>,
    /// Count runs from this day on, as in 2026-11-01, from this instant, or of the last days, as in 7d
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Rows of each dimension in a table; the others are summed. CSV and JSON always have them all
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// The budget file [default: .github/tollgate.yml]
    #[arg(long, value_name = "FILE")]
    pub budget_file: Option<PathBuf>,
    /// The folder of the file ledger, instead of the one that the budget file names
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
    /// The ledger of simulated runs
    #[arg(long)]
    pub simulate: bool,
}

/// What spend is told apart by.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The model that served
    Model,
    /// What was asked for
    Task,
    /// The tier
    Tier,
    /// What a mistake would cost
    Stakes,
    /// The pull request
    Pr,
    /// Who caused the run
    Author,
    /// The workflow file
    Workflow,
    /// The day the run began
    Day,
}

impl Dimension {
    fn by(self) -> By {
        match self {
            Dimension::Model => By::Model,
            Dimension::Task => By::Task,
            Dimension::Tier => By::Tier,
            Dimension::Stakes => By::Stakes,
            Dimension::Pr => By::Pr,
            Dimension::Author => By::Author,
            Dimension::Workflow => By::Workflow,
            Dimension::Day => By::Day,
        }
    }
}

/// A form of output.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tables for a terminal
    Table,
    /// One object with exact amounts
    Json,
    /// One table of every row, with exact amounts
    Csv,
    /// A digest for an issue or a job summary
    Markdown,
    /// A page that needs nothing but itself
    Html,
}

/// From when on runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// An instant.
    At(Timestamp),
    /// The beginning of a day, in the budget file's time zone.
    Day(Date),
    /// So many days before now.
    Days(u16),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(instant) = text.parse() {
        return Ok(Since::At(instant));
    }
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse().ok()) {
        return Ok(Since::Days(days));
    }
    let expected = "expected a day such as 2026-11-01, an instant such as 2026-11-01T12:00:00Z, or a number of days such as 7d";
    text.parse().map(Since::Day).map_err(|_| expected.to_owned())
}

impl Since {
    fn instant(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Since::At(instant) => instant,
            Since::Day(day) => zone.to_timestamp(day.at(0, 0, 0, 0)).unwrap_or(Timestamp::UNIX_EPOCH),
            Since::Days(days) => {
                let back = SignedDuration::from_hours(24 * i64::from(days));
                now.checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }
    }
}

/// Runs the command on the ledger of the repository at hand; returns the exit code.
///
/// # Errors
/// A [`Failure`] for a budget file or a ledger that cannot be used; another error where the output cannot
/// be written.
pub fn run(args: &Args, shell: &mut Shell) -> anyhow::Result<u8> {
    let root = super::top_folder(shell)?;
    let budget = inputs::working_tree_budget(args.budget_file.as_deref(), &root)?;
    let env = |name: &str| shell.var(name).map(str::to_owned);
    let found = prices::of_budget(&budget, &Here::now(&env, &root));
    let table = match found {
        Ok(found) => found.table,
        Err(error) => {
            // What was spent is on the ledger whatever prices there are; only savings are reckoned here.
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default();
            writeln!(shell.err, "note: savings are reckoned at the built-in prices: {why}")?;
            Table::embedded()
        }
    };
    let place = match &args.ledger {
        Some(folder) => Place::File(folder.clone()),
        None => Place::find(shell, &budget, &root, args.simulate)?,
    };
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let repository = shell.var("GITHUB_REPOSITORY").map_or(name, str::to_owned);
    let width = shell.var("COLUMNS").and_then(|text| text.parse().ok());
    let sharer = place::sharer(shell, &budget, &root);
    let asked = Asked { args, budget: &budget, repository, sharer, width, table };
    let opened = place.open_existing(args.simulate);
    run_on(&asked, opened, Timestamp::now(), &mut shell.out, &mut shell.err)
}

/// What [`run_with`] goes by.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The arguments.
    pub args: &'a Args,
    /// The budget file.
    pub budget: &'a Budget,
    /// The repository's name.
    pub repository: String,
    /// What tells it from the others on a shared ledger; `None` where it shares none.
    pub sharer: Option<String>,
    /// The terminal's columns.
    pub width: Option<u16>,
    /// The prices by which savings are reckoned.
    pub table: &'static Table,
}

/// As [`run`], on the ledger in this folder. Results go to `out`, messages to `err`.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    asked: &Asked<'_>,
    ledger: &Path,
    options: Options,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let now = options.clock.now();
    run_on(asked, Store::open_existing(ledger, options), now, out, err)
}

/// As [`run_with`], on a ledger that was opened, at `now`.
fn run_on(
    asked: &Asked<'_>,
    opened: Result<Store, StoreError>,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let store = match opened {
        Ok(store) => Some(store),
        Err(StoreError::Missing(_)) => {
            writeln!(err, "note: there is no ledger yet: the first run makes one")?;
            None
        }
        Err(error) => return Err(books::unavailable(error)),
    };
    let spec = spec(asked, now);
    let spent = gather(&spec, asked.table, store.as_ref())?;
    let args = asked.args;
    let text = match args.format {
        Format::Table => render::table(&spent, args.top, asked.width),
        Format::Json => exact::json(&spent),
        Format::Csv => exact::csv(&spent),
        Format::Markdown => render::markdown(&spent, args.top),
        Format::Html => render::html(&spent, args.top),
    };
    out.write_all(text.as_bytes())?;
    Ok(exit::PASS)
}

fn spec(asked: &Asked<'_>, now: Timestamp) -> Spec {
    let Asked { args, budget, .. } = asked;
    let mut by: Vec<By> = args.by.iter().map(|dimension| dimension.by()).collect();
    if by.is_empty() {
        by = By::ALL.to_vec();
    }
    by.sort_unstable();
    by.dedup();
    Spec {
        repository: asked.repository.clone(),
        sharer: asked.sharer.clone(),
        since: args.since.map(|since| since.instant(now, &budget.timezone)),
        now,
        timezone: budget.timezone.clone(),
        simulated: args.simulate,
        by,
        budgets: limits::standing(budget, now),
        high_model: budget.tiers.high.model.to_string(),
    }
}

/// Reads the events, and once more where runs were corrected after they were closed.
fn gather(spec: &Spec, table: &Table, store: Option<&Store>) -> anyhow::Result<Spent> {
    let high = ModelId::new(&spec.high_model);
    let saved = |about: &About, used: &ModelSpend, at: Timestamp| {
        // What a subscription paid for would have been charged to nobody at any model.
        if used.usd == Usd::ZERO && used.notional > Usd::ZERO {
            return Saved::default();
        }
        let model = ModelId::new(&used.model);
        let day = When::On(TimeZone::UTC.to_datetime(at).date());
        let one = std::iter::once((&model, &used.tokens));
        let saved = savings::against(one, &ModelId::new(&about.model), &high, table, day);
        Saved { routing: saved.routing.map(|(_, usd)| usd).unwrap_or_default(), caching: saved.caching }
    };
    let mut known = Corrections::default();
    for _ in 0..READINGS_MAX {
        let mut fold = Fold::new(spec, &saved, known);
        each_event(store, spec.read_from(), |event| fold.take(event))?;
        match fold.finish() {
            Ok(spent) => return Ok(spent),
            Err(found) => known = found,
        }
    }
    Err(Failure::ledger("runs were corrected each time the ledger was read\n\nhint: try again").into())
}

/// Every event in order. The next ones are read and checked while the last ones are summed.
fn each_event(
    store: Option<&Store>,
    from: Option<Timestamp>,
    mut each: impl FnMut(Event),
) -> anyhow::Result<()> {
    let Some(store) = store else { return Ok(()) };
    let read = std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let reader = scope.spawn(move || {
            let mut batch = Vec::with_capacity(BATCH_EVENTS);
            for event in store.events(from)? {
                batch.push(event?);
                if batch.len() == BATCH_EVENTS {
                    let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_EVENTS));
                    // Nobody listens any more only where the sums have panicked.
                    if sender.send(full).is_err() {
                        return Ok(());
                    }
                }
            }
            let _ = sender.send(batch);
            Ok(())
        });
        batches.into_iter().flatten().for_each(&mut each);
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    read.map_err(books::unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_day_an_instant_or_a_number_of_days() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("a time");
        for (text, instant) in [
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z"),
            ("7d", "2026-11-18T12:00:00Z"),
        ] {
            let parsed = since(text).expect(text).instant(now, &berlin);
            assert_eq!(parsed, instant.parse().expect("a time"), "{text}");
        }
        assert!(since("last week").is_err());
        assert!(since("-7d").is_err());
    }
}
