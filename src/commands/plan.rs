//! `tollgate plan`: tier, tokens, dollars and room in the budgets for described work, before it starts.

mod render;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};

use crate::budget::Budget;
use crate::cli::Shell;
use crate::exit::{self, Failure};
use crate::ledger::store::{Options, Store, StoreError};
use crate::ledger::{Balance, Limit};
use crate::limits::{self, Purses};
use crate::pipeline::place::{self, Place};
use crate::pipeline::prices::{self, Here};
use crate::pipeline::{books, inputs};
use crate::plan::history::History;
use crate::plan::{self, Plan, Setting};
use crate::price::Table;
use crate::task::Task;

/// How far back runs are looked at, in days.
const LOOK_BACK_DAYS: i64 = 90;
/// Descriptions that are planned at once at most.
const TASKS_MAX: usize = 100;
/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4_096;

/// Plan described work: tier, tokens, dollars, and whether the budgets have room.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Pieces of work in words, as in "review for logic errors"
    #[arg(required = true, value_name = "TASK")]
    pub tasks: Vec<String>,
    /// How many runs of each start at once
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(plan::PARALLEL_MAX)))]
    pub parallel: u32,
    /// Runs of each a day [default: the ledger's last four weeks, else one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs_per_day: Option<u32>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
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

/// A form of output.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a terminal
    Table,
    /// One object with exact amounts
    Json,
    /// For an issue
    Markdown,
}

/// Runs the command; returns the exit code.
///
/// # Errors
/// A [`Failure`] for descriptions, a budget file or a ledger that cannot be used; another error where the
/// output cannot be written.
pub fn run(args: &Args, shell: &mut Shell) -> anyhow::Result<u8> {
    let root = super::top_folder(shell)?;
    let budget = inputs::working_tree_budget(args.budget_file.as_deref(), &root)?;
    let env = |name: &str| shell.var(name).map(str::to_owned);
    let table = prices::of_budget(&budget, &Here::now(&env, &root))?.table;
    let place = match &args.ledger {
        Some(folder) => Place::File(folder.clone()),
        None => Place::find(shell, &budget, &root, args.simulate)?,
    };
    let width = shell.var("COLUMNS").and_then(|text| text.parse().ok());
    let sharer = place::sharer(shell, &budget, &root);
    let asked = Asked { args, budget: &budget, sharer, width, table };
    let opened = place.open_existing(args.simulate);
    run_on(&asked, opened, Timestamp::now(), &mut shell.out)
}

/// As [`run`], with this budget, on the ledger in this folder.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    args: &Args,
    budget: &Budget,
    ledger: &Path,
    options: Options,
    width: Option<u16>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let now = options.clock.now();
    let asked = Asked { args, budget, sharer: None, width, table: Table::embedded() };
    run_on(&asked, Store::open_existing(ledger, options), now, out)
}

/// What [`run_on`] goes by.
struct Asked<'a> {
    args: &'a Args,
    budget: &'a Budget,
    /// What tells the repository from the others on a shared ledger; `None` where it shares none.
    sharer: Option<String>,
    width: Option<u16>,
    table: &'static Table,
}

fn run_on(
    asked: &Asked<'_>,
    opened: Result<Store, StoreError>,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let Asked { args, budget, sharer, width, table } = asked;
    check(&args.tasks)?;
    let (history, balances) = match opened {
        Ok(store) => (past(&store, now)?, standing(&store, budget, sharer.as_deref(), now)?),
        // No run has spent anything yet.
        Err(StoreError::Missing(_)) => (History::default(), Vec::new()),
        Err(error) => return Err(books::unavailable(error)),
    };
    let setting = Setting {
        budget,
        table,
        history: &history,
        balances: &balances,
        now,
        parallel: args.parallel,
        runs_per_day: args.runs_per_day,
    };
    let plan = made(&args.tasks, &setting)?;
    let text = match args.format {
        Format::Table => render::table(&plan, *width),
        Format::Json => render::json(&plan),
        Format::Markdown => render::markdown(&plan),
    };
    out.write_all(text.as_bytes())?;
    Ok(exit::PASS)
}

fn check(tasks: &[String]) -> anyhow::Result<()> {
    if tasks.len() > TASKS_MAX {
        let message = format!("{} descriptions are given, and {TASKS_MAX} are planned at most", tasks.len());
        return Err(Failure::usage(message).into());
    }
    for task in tasks {
        if task.trim().is_empty() || task.len() > DESCRIPTION_BYTES_MAX {
            let message = format!(
                "a description has {} bytes\n\nhint: say in 1 to {DESCRIPTION_BYTES_MAX} bytes what is to be done, as in \"review for logic errors\"",
                task.len()
            );
            return Err(Failure::usage(message).into());
        }
    }
    Ok(())
}

fn made(tasks: &[String], setting: &Setting<'_>) -> anyhow::Result<Plan> {
    plan::plan(tasks, setting).map_err(|error| {
        let hint = "write a model of the price table in the tier, such as claude-sonnet-5-5";
        Failure::usage(format!("{error}\n\nhint: {hint}")).into()
    })
}

fn past(store: &Store, now: Timestamp) -> anyhow::Result<History> {
    let mut history = History::default();
    let since = now.checked_sub(SignedDuration::from_hours(24 * LOOK_BACK_DAYS)).ok();
    for event in store.events(since).map_err(books::unavailable)? {
        history.take(&event.map_err(books::unavailable)?, now);
    }
    Ok(history)
}

/// The budgets whose spend so far bears on any run: the repository's and the tasks'.
fn standing(
    store: &Store,
    budget: &Budget,
    sharer: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<Vec<Balance>> {
    let limits: Vec<Limit> = limits::standing(budget, now)
        .into_iter()
        .flat_map(|standing| match standing.purses {
            Purses::One(purse) if purse == "repo" => vec![standing.limit],
            Purses::Each("task:") => {
                let each = |task: Task| Limit { purse: format!("task:{task}"), ..standing.limit.clone() };
                Task::ALL.into_iter().map(each).collect()
            }
            Purses::One(_) | Purses::Each(_) => Vec::new(),
        })
        .collect();
    let on_ledger = |limit: &Limit| Limit { purse: limits::on_ledger(&limit.purse, sharer), ..limit.clone() };
    let asked: Vec<Limit> = limits.iter().map(on_ledger).collect();
    let balances = store.balances(&asked).map_err(books::unavailable)?;
    Ok(limits.into_iter().zip(balances).map(|(limit, balance)| Balance { limit, ..balance }).collect())
}
