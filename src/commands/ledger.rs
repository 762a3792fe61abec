//! `tollgate ledger`: look after the ledger.

mod mend;
mod transfer;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::Shell;
use crate::exit::{self, Failure};
use crate::id::HoldId;
use crate::ledger::event::{Event, Kind, Reserve};
use crate::ledger::hold::{Hold, Phase};
use crate::ledger::store::{HeadProblem, Options, Store, StoreError, Verified};
use crate::ledger::{Balance, Enforce};
use crate::money::Usd;
use crate::pipeline::place::{self, Place};
use crate::pipeline::{books, inputs};
use crate::report::defuse;
use crate::report::spend::exact;
use crate::report::spend::runs::{Corrections, Passed, Run, Runs};

pub use mend::{AdjustArgs, DoctorArgs};
pub use transfer::ImportArgs;

/// Runs that are shown at most, the newest.
const RUNS_SHOWN_MAX: usize = 20;

/// Look after the ledger.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The folder of the file ledger, instead of the one that the budget file names
    #[arg(long, global = true, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
    /// The ledger of simulated runs
    #[arg(long, global = true)]
    pub simulate: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with the ledger.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Show what is spent and held, live holds and recent runs
    Show(ShowArgs),
    /// Read everything there is and check it; exit code 6 when it is damaged
    Verify,
    /// Print every run, one a line, as it stands now; or every event, to move the ledger
    Export(ExportArgs),
    /// Bring the events of another ledger into this one, which must be empty
    Import(ImportArgs),
    /// Give up a live hold that spent nothing
    Void(VoidArgs),
    /// Make the tables of a PostgreSQL ledger, or bring them up to date
    Migrate(MigrateArgs),
    /// Correct what a closed hold is charged, on a person's word
    Adjust(AdjustArgs),
    /// Say what of a damaged ledger can be kept, and mend it with --yes; exit code 6 while it is damaged
    Doctor(DoctorArgs),
}

/// What `tollgate ledger migrate` does besides.
#[derive(clap::Args, Clone, Debug)]
pub struct MigrateArgs {
    /// Let this role do what runs in CI need: read, hold, settle; nothing that rewrites what is recorded
    #[arg(long, value_name = "ROLE")]
    pub grant: Option<String>,
}

/// What `tollgate ledger show` shows, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct ShowArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Show runs from this day on, as in 2026-11-01, or from this instant; without it, of this month
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub since: Option<Timestamp>,
}

/// What `tollgate ledger export` prints, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct ExportArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub format: ExportFormat,
    /// Print runs from this day on, as in 2026-11-01, or from this instant; without it, all of them
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub since: Option<Timestamp>,
}

/// A form of runs.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line
    Jsonl,
    /// A table for spreadsheets
    Csv,
    /// The ledger's own lines, all of them: what `tollgate ledger import` reads
    Events,
}

/// A form of output.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table for people
    Table,
    /// JSON for scripts
    Json,
}

/// Which hold `tollgate ledger void` gives up.
#[derive(clap::Args, Clone, Debug)]
pub struct VoidArgs {
    /// The hold's key, as `tollgate ledger show` prints it
    pub hold: String,
    /// Why: it is recorded
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let day: jiff::civil::Date = text
        .parse()
        .map_err(|_| "expected a day such as 2026-11-01, or an instant such as 2026-11-01T12:00:00Z")?;
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_err(|error| error.to_string())
}

/// Runs the command on the ledger of the repository at hand; returns the exit code.
///
/// # Errors
/// A [`crate::exit::Failure`] with exit code 2 where the budget file has to say which ledger and is invalid;
/// another error where the output cannot be written.
pub fn run(mut args: Args, shell: &mut Shell) -> anyhow::Result<u8> {
    name_whoever_asks(&mut args.command, shell)?;
    let place = match &args.ledger {
        Some(folder) => Place::File(folder.clone()),
        None => {
            let root = super::top_folder(shell)?;
            let budget = inputs::working_tree_budget(None, &root)?;
            Place::find(shell, &budget, &root, args.simulate)?
        }
    };
    match place {
        Place::File(folder) => {
            run_with(&args.command, &folder, place::options(args.simulate), &mut shell.out, &mut shell.err)
        }
        Place::Git(_) | Place::Postgres(_) => {
            run_on(&args.command, place.open_existing(args.simulate), None, &mut shell.out, &mut shell.err)
        }
    }
}

/// A correction is on somebody's word: the actor's in Actions, else the user's.
fn name_whoever_asks(command: &mut Command, shell: &Shell) -> Result<(), Failure> {
    let by = match command {
        Command::Adjust(adjust) => &mut adjust.by,
        Command::Doctor(DoctorArgs { yes: true, by }) => by,
        _ => return Ok(()),
    };
    let known = ["GITHUB_ACTOR", "USER", "LOGNAME"].iter().find_map(|name| shell.var(name));
    *by = by.take().or_else(|| known.map(str::to_owned));
    match by {
        Some(_) => Ok(()),
        None => Err(Failure::usage(
            "nobody is known to run this\n\nhint: say who with `--by NAME`: it is recorded",
        )),
    }
}

/// As [`run`], on the ledger in this folder. Results go to `out`, messages to `err`.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn run_with(
    command: &Command,
    ledger: &Path,
    options: Options,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let folder = options.namespace.iter().fold(ledger.to_owned(), |folder, name| folder.join(name));
    let opened = match command {
        Command::Import(_) => Store::open(ledger, options),
        _ => Store::open_existing(ledger, options),
    };
    run_on(command, opened, Some(&folder), out, err)
}

/// As [`run_with`], on a ledger that was opened. `folder` is where its head can be removed by hand.
fn run_on(
    command: &Command,
    opened: Result<Store, StoreError>,
    folder: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    if let Command::Migrate(args) = command {
        return migrate(args, opened, out, err);
    }
    let done = opened.and_then(|store| match command {
        Command::Show(show) => gather(&store, show.since).map(|shown| Done::Shown(shown, show.format)),
        Command::Verify => {
            let tables = matches!(store, Store::Postgres(_));
            Ok(Done::Verified(store.verify()?, root(&store)?, tables))
        }
        Command::Void(void) => {
            let hold = HoldId::from_text(&void.hold);
            store.void(&hold, &void.reason).map(|settlement| Done::Voided(hold, settlement.cap))
        }
        // Done above.
        Command::Migrate(_) => Ok(Done::Nothing),
        Command::Adjust(args) => {
            mend::adjust(&store, args).map(|(hold, before, after)| Done::Adjusted(hold, before, after))
        }
        Command::Doctor(args) => Ok(Done::Doctor(store, args)),
        Command::Import(args) => Ok(Done::Import(store, args)),
        Command::Export(args) if args.format == ExportFormat::Events => Ok(Done::Events(store)),
        Command::Export(args) => {
            corrections(&store, args.since).map(|known| Done::Export(store, known, args))
        }
    });
    match done {
        Ok(Done::Shown(shown, Format::Table)) => print_tables(&shown, out)?,
        Ok(Done::Shown(shown, Format::Json)) => writeln!(out, "{:#}", as_json(&shown))?,
        Ok(Done::Verified(verified, root, tables)) => {
            if let Some(root) = root {
                writeln!(out, "the branch begins with {root}")?;
            }
            return print_verified(folder, &verified, tables, out, err);
        }
        Ok(Done::Nothing) => {}
        Ok(Done::Export(store, known, args)) => return export(&store, known, args, out, err),
        Ok(Done::Events(store)) => return transfer::export(&store, out),
        Ok(Done::Import(store, args)) => return transfer::import(&store, args, out, err),
        Ok(Done::Doctor(store, args)) => return mend::doctor(&store, args, out, err),
        Ok(Done::Adjusted(hold, before, after)) => {
            writeln!(out, "adjusted {hold}: {} instead of {}", after.shown(), before.shown())?;
        }
        Ok(Done::Voided(hold, cap)) => writeln!(out, "voided {hold}: {} is free again", cap.shown())?,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(if matches!(error, StoreError::Refused(_)) { exit::USAGE } else { exit::LEDGER });
        }
    }
    Ok(exit::PASS)
}

enum Done<'a> {
    Shown(Shown, Format),
    /// With the first commit of a branch, and whether the head is tables.
    Verified(Verified, Option<String>, bool),
    Voided(HoldId, Usd),
    Export(Store, Corrections, &'a ExportArgs),
    Nothing,
    Events(Store),
    Import(Store, &'a ImportArgs),
    Doctor(Store, &'a DoctorArgs),
    /// From what to what.
    Adjusted(HoldId, Usd, Usd),
}

/// Makes or changes the tables of a ledger that has any.
fn migrate(
    args: &MigrateArgs,
    opened: Result<Store, StoreError>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let postgres = match opened {
        Ok(Store::Postgres(postgres)) => postgres,
        _ => {
            let hint = "hint: write `ledger: postgres` in the budget file, and set TOLLGATE_DATABASE_URL";
            writeln!(err, "error: this ledger has no tables\n\n{hint}")?;
            return Ok(exit::USAGE);
        }
    };
    let done = postgres.migrate().and_then(|versions| {
        args.grant.as_deref().map_or(Ok(()), |role| postgres.grant(role)).map(|()| versions)
    });
    match done {
        Ok((0, to)) => writeln!(out, "made the tables, version {to}")?,
        Ok((from, to)) if from == to => {
            writeln!(out, "the tables are up to date, version {to}, and the functions made anew")?
        }
        Ok((from, to)) => writeln!(out, "brought the tables from version {from} to version {to}")?,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(exit::LEDGER);
        }
    }
    if let Some(role) = &args.grant {
        writeln!(out, "the role {role} may hold and settle, and rewrite nothing")?;
    }
    Ok(exit::PASS)
}

/// What runs were corrected to after they were closed.
fn corrections(store: &Store, since: Option<Timestamp>) -> Result<Corrections, StoreError> {
    let mut runs = Runs::default();
    for event in store.events(since)? {
        runs.take(event?);
    }
    Ok(match runs.finish() {
        Ok((_, known)) | Err(known) => known,
    })
}

/// Prints each run as it is read, in the order in which they were closed, and then those under way.
fn export(
    store: &Store,
    known: Corrections,
    args: &ExportArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut out = io::BufWriter::new(out);
    if args.format == ExportFormat::Csv {
        write!(out, "{}", exact::RUNS_HEAD)?;
    }
    let mut print = |run: &Run| match args.format {
        ExportFormat::Jsonl | ExportFormat::Events => writeln!(out, "{}", exact::run_json(run)),
        ExportFormat::Csv => write!(out, "{}", exact::run_csv(run)),
    };
    let mut runs = Runs::knowing(known);
    for event in store.events(args.since).map_err(books::unavailable)? {
        if let Some(Passed::Run(run)) = runs.take(event.map_err(books::unavailable)?) {
            print(&run)?;
        }
    }
    match runs.finish() {
        Ok((live, known)) => {
            live.iter().try_for_each(&mut print)?;
            if known.beyond > 0 {
                writeln!(
                    err,
                    "warning: {} corrections are beyond what is followed, and are missing",
                    known.beyond
                )?;
            }
        }
        Err(_) => writeln!(err, "warning: runs were corrected while they were read: export them again")?,
    }
    out.flush()?;
    Ok(exit::PASS)
}

/// The first commit of a ledger on a branch.
fn root(store: &Store) -> Result<Option<String>, StoreError> {
    match store {
        Store::File(_) | Store::Postgres(_) => Ok(None),
        Store::Git(git) => git.root(),
    }
}

/// What `show` shows.
struct Shown {
    accounts: Vec<Balance>,
    live: Vec<Hold>,
    runs: Vec<Hold>,
    earlier_runs: usize,
}

fn gather(store: &Store, since: Option<Timestamp>) -> Result<Shown, StoreError> {
    let now = store.now();
    let month = TimeZone::UTC.to_datetime(now).date().first_of_month();
    let since = since.or_else(|| TimeZone::UTC.to_timestamp(month.at(0, 0, 0, 0)).ok());
    let mut accounts = store.accounts()?;
    accounts.retain(|balance| balance.limit.window.contains(now));
    accounts.sort_by(|a, b| (&a.limit.purse, a.limit.window).cmp(&(&b.limit.purse, b.limit.window)));
    let live = store.holds()?;
    let (runs, earlier_runs) = closed_runs(store.events(since)?)?;
    Ok(Shown { accounts, live, runs, earlier_runs })
}

/// The newest runs that were reserved and closed in these events, oldest first, and the number of earlier
/// ones, which are let go of as others come.
fn closed_runs(
    events: impl Iterator<Item = Result<Event, StoreError>>,
) -> Result<(Vec<Hold>, usize), StoreError> {
    let mut live: BTreeMap<HoldId, (Timestamp, Reserve)> = BTreeMap::new();
    let mut runs: VecDeque<Hold> = VecDeque::new();
    let mut earlier = 0;
    for event in events {
        let event = event?;
        if let Kind::Reserve(terms) = event.kind {
            live.insert(event.hold, (event.at, terms));
            continue;
        }
        if let Kind::Refuse(_) | Kind::Note(_) = event.kind {
            continue;
        }
        if let (Kind::Extend(body), Some((_, terms))) = (&event.kind, live.get_mut(&event.hold)) {
            terms.cap = body.cap;
            continue;
        }
        let closed = live.remove(&event.hold).map(|(at, terms)| Hold::new(event.hold.clone(), at, terms));
        let known = match closed {
            Some(hold) => {
                runs.push_back(hold);
                if runs.len() > RUNS_SHOWN_MAX {
                    runs.pop_front();
                    earlier += 1;
                }
                runs.back_mut()
            }
            None => runs.iter_mut().rev().find(|hold| hold.id == event.hold),
        };
        // An event of a hold from before the first one here says nothing about a run in this span. That a
        // step is legal is for `verify` to say.
        let _ = known.map(|hold| hold.step(&event.kind));
    }
    Ok((runs.into(), earlier))
}

fn table(header: &[&str], amounts: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.to_vec());
    for column in amounts {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn print_tables(shown: &Shown, out: &mut dyn Write) -> io::Result<()> {
    if shown.accounts.is_empty() && shown.live.is_empty() && shown.runs.is_empty() {
        return writeln!(out, "The ledger is empty.");
    }
    let mut budgets = table(&["budget", "per", "settled", "held", "limit", "left"], &[2, 3, 4, 5]);
    for balance in &shown.accounts {
        let limit = &balance.limit;
        budgets.add_row(vec![
            defuse::plain(&limit.purse),
            limit.per.clone(),
            balance.settled.shown().to_string(),
            balance.held.shown().to_string(),
            format!("{} {}", limit.usd.shown(), enforce(limit.enforce)),
            balance.left().shown().to_string(),
        ]);
    }
    section(out, "Budgets", shown.accounts.len(), &budgets)?;
    let mut live = table(&["hold", "since", "expires", "task", "model", "cap"], &[5]);
    for hold in &shown.live {
        live.add_row(vec![
            hold.id.to_string(),
            minute(hold.reserved),
            minute(hold.terms.expires),
            hold.terms.about.task.clone(),
            hold.terms.about.model.clone(),
            hold.terms.cap.shown().to_string(),
        ]);
    }
    writeln!(out)?;
    section(out, "Live holds", shown.live.len(), &live)?;
    let mut runs = table(&["run", "began", "task", "model", "ended", "cost", "cap"], &[5, 6]);
    for hold in &shown.runs {
        runs.add_row(vec![
            hold.id.to_string(),
            minute(hold.reserved),
            hold.terms.about.task.clone(),
            hold.terms.about.model.clone(),
            ending(hold),
            hold.spend.usd.shown().to_string(),
            hold.terms.cap.shown().to_string(),
        ]);
    }
    writeln!(out)?;
    section(out, "Runs", shown.runs.len(), &runs)?;
    if shown.earlier_runs > 0 {
        writeln!(out, "and {} earlier ones", shown.earlier_runs)?;
    }
    Ok(())
}

fn section(out: &mut dyn Write, title: &str, rows: usize, table: &Table) -> io::Result<()> {
    if rows == 0 {
        return writeln!(out, "{title}: none");
    }
    writeln!(out, "{title}")?;
    table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
}

/// How a run ended, with what is unusual about it.
fn ending(hold: &Hold) -> String {
    let mut words = vec![hold.phase.as_str()];
    if hold.overrun() {
        words.push("overrun");
    }
    if hold.adjusted {
        words.push("adjusted");
    }
    if hold.phase == Phase::Expired && hold.spend.estimated > Usd::ZERO {
        words.push("unproven");
    }
    words.join(", ")
}

const fn enforce(enforce: Enforce) -> &'static str {
    match enforce {
        Enforce::Hard => "hard",
        Enforce::Soft => "soft",
        Enforce::Count => "counted",
    }
}

fn minute(at: Timestamp) -> String {
    TimeZone::UTC.to_datetime(at).strftime("%Y-%m-%d %H:%M").to_string()
}

fn as_json(shown: &Shown) -> Value {
    let hold = |hold: &Hold| {
        json!({
            "hold": hold.id, "phase": hold.phase, "reserved": hold.reserved, "expires": hold.terms.expires,
            "cap_usd": hold.terms.cap, "spend_usd": hold.spend.usd, "estimated_usd": hold.spend.estimated,
            "overrun": hold.overrun(), "adjusted": hold.adjusted, "purses": hold.terms.purses,
            "about": hold.terms.about, "models": hold.spend.models,
        })
    };
    let account = |balance: &Balance| {
        let limit = &balance.limit;
        json!({
            "purse": limit.purse, "per": limit.per, "window": limit.window, "enforce": limit.enforce,
            "limit_usd": limit.usd, "settled_usd": balance.settled, "held_usd": balance.held,
            "left_usd": balance.left(),
        })
    };
    json!({
        "budgets": shown.accounts.iter().map(account).collect::<Vec<_>>(),
        "live": shown.live.iter().map(hold).collect::<Vec<_>>(),
        "runs": shown.runs.iter().map(hold).collect::<Vec<_>>(),
        "earlier_runs": shown.earlier_runs,
    })
}

fn print_verified(
    folder: Option<&Path>,
    verified: &Verified,
    tables: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let plural = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let head = match &verified.head {
        Ok(()) => "head equals fold".to_owned(),
        Err(HeadProblem::Mismatch(_)) => "head differs".to_owned(),
        Err(problem @ (HeadProblem::Missing | HeadProblem::Unreadable(_))) => {
            format!("{problem}, and the next write makes it again")
        }
    };
    writeln!(out, "{}, chain intact, {head}", plural(verified.events, "event"))?;
    let holds = plural(verified.holds, "hold");
    writeln!(out, "{holds}, {} live, {} charged in all", verified.live, verified.charged.shown())?;
    if verified.torn {
        writeln!(out, "the last line is unfinished, and the next write cuts it off")?;
    }
    let Err(HeadProblem::Mismatch(mismatch)) = &verified.head else { return Ok(exit::PASS) };
    if tables {
        let hint = "hint: somebody changed the database by hand: `tollgate ledger doctor` says what can be made again";
        writeln!(err, "error: {mismatch}\n\n{hint}")?;
        return Ok(exit::LEDGER);
    }
    let head = folder.unwrap_or(Path::new("")).join("head.json");
    writeln!(
        err,
        "error: {mismatch}\n\nhint: remove `{}`: it is made again from the events",
        head.display()
    )?;
    Ok(exit::LEDGER)
}
