//! The command line: which commands there are, and how what they return becomes an exit code.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::budget::Prices;
use crate::commands;
use crate::exit::{self, Failure};
use crate::pipeline::{self, inputs, prices};
use crate::price::Table;

/// The cost gate for AI agents in CI.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 pass · 1 tollgate failed · 2 usage, budget file or key · 3 a budget · \
4 the run's cap · 5 the agent · 6 the ledger · 130, 143 cancelled";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an agent under a cap, settle, report, and say whether the check passes
    Run(commands::run::Args),
    /// Begin a run around somebody else's step: reserve, and leave the meter running
    Start(commands::around::StartArgs),
    /// End a run that `start` began: settle, report, and say whether the check passes
    Finish(commands::around::FinishArgs),
    /// Say what is asked for and what a mistake would cost, with the reasons
    Classify(commands::classify::Args),
    /// Price usage objects or event streams
    Cost(commands::cost::Args),
    /// Look at the price table
    Prices(commands::prices::Args),
    /// Check the budget file, and say in plain words what it means
    Check(commands::check::Args),
    /// Write a starter budget file and workflow
    Init(commands::init::Args),
    /// Say whether this event's budgets are within their limits; runs no agent
    Gate(commands::gate::Args),
    /// Plan described work: tier, tokens, dollars, and whether the budgets have room
    Plan(commands::plan::Args),
    /// Say what runs cost, against every budget, with a forecast
    Report(commands::report::Args),
    /// Look after the ledger
    Ledger(commands::ledger::Args),
    /// Compare the ledger with the provider's own bill, by day and model
    Reconcile(commands::reconcile::Args),
    /// Run the meter alone
    Meter(commands::meter::Args),
    /// The meter that `start` leaves running
    #[command(hide = true)]
    Attend,
    /// The built-in agent of `run --simulate`
    #[command(hide = true)]
    SimulateAgent(commands::simulate::AgentArgs),
    /// Serve the simulated provider on its own
    #[command(hide = true)]
    SimulateProvider(commands::simulate::ProviderArgs),
    /// Say which package the budget file's agent is, for installers
    #[command(hide = true)]
    Preset(commands::preset::Args),
    /// Print the JSON Schema of the budget file
    #[command(hide = true)]
    Schema,
}

impl Command {
    /// Whether its exit code is a verdict, which stands whether or not anybody reads what it prints.
    fn judges(&self) -> bool {
        matches!(
            self,
            Command::Run(_) | Command::Start(_) | Command::Finish(_) | Command::Gate(_) | Command::Ledger(_)
        )
    }
}

/// A stream whose reader may go away: what is written after that is dropped, and is no error.
struct Unheard(Box<dyn Write + Send>);

impl Write for Unheard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}

/// The process's surroundings: read once, so that everything below is given its environment.
pub struct Shell {
    /// The environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Results.
    pub out: Box<dyn Write + Send>,
    /// Everything for people.
    pub err: Box<dyn Write + Send>,
}

impl Shell {
    /// A variable that is set, not empty, and text.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(OsStr::new(name)).and_then(|value| value.to_str()).filter(|value| !value.is_empty())
    }
}

/// Runs the command line and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>, mut shell: Shell) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render();
            let to_out = !error.use_stderr();
            let stream = if to_out { &mut shell.out } else { &mut shell.err };
            let _ = write!(stream, "{text}");
            return if to_out { exit::PASS } else { exit::USAGE };
        }
    };
    shell.err = Box::new(Unheard(shell.err));
    let judges = cli.command.judges();
    if judges {
        shell.out = Box::new(Unheard(shell.out));
    }
    match dispatch(cli.command, &mut shell) {
        Ok(code) => code,
        Err(error) if !judges && is_broken_pipe(&error) => exit::PASS,
        Err(error) => {
            let _ = writeln!(shell.err, "error: {error:#}");
            error.downcast_ref::<Failure>().map_or(exit::INTERNAL, |failure| failure.code)
        }
    }
}

/// Whoever read our output has seen enough: a normal end.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn dispatch(command: Command, shell: &mut Shell) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => block_on(commands::run::run(args, shell)),
        Command::Start(args) => block_on(commands::around::start(args, shell)),
        Command::Finish(args) => block_on(commands::around::finish(args, shell)),
        Command::Attend => block_on(pipeline::attend(shell, io::stdin())),
        Command::Classify(args) => classify(&args, shell),
        Command::Cost(args) => {
            let table = installed_prices(shell)?;
            commands::cost::run(&args, table, &mut shell.out, &mut shell.err)
        }
        Command::Prices(args) => {
            let root = commands::top_folder(shell)?;
            let Shell { env, out, err } = shell;
            let var = |name: &str| lookup(env, name);
            block_on(commands::prices::run(&args, &prices::Here::now(&var, &root), out, err))
        }
        Command::Check(args) => {
            let root = commands::top_folder(shell)?;
            commands::check::run(&args, &root, &mut shell.out, &mut shell.err)
        }
        Command::Init(args) => commands::init::run(&args, &mut shell.out, &mut shell.err),
        Command::Gate(args) => block_on(commands::gate::run(&args, shell)),
        Command::Plan(args) => commands::plan::run(&args, shell),
        Command::Report(args) => commands::report::run(&args, shell),
        Command::Ledger(args) => commands::ledger::run(args, shell),
        Command::Reconcile(args) => block_on(commands::reconcile::run(args, shell)),
        Command::Meter(args) => {
            let table = installed_prices(shell)?;
            let Shell { env, err, .. } = shell;
            block_on(commands::meter::run(&args, table, &|name| lookup(env, name), err))
        }
        Command::SimulateAgent(args) => block_on(commands::simulate::agent(args, shell)),
        Command::SimulateProvider(args) => block_on(commands::simulate::provider(args, shell)),
        Command::Preset(args) => block_on(commands::preset::run(&args, shell)),
        Command::Schema => {
            write!(shell.out, "{}", crate::budget::schema::json())?;
            Ok(exit::PASS)
        }
    }
}

fn lookup(env: &BTreeMap<OsString, OsString>, name: &str) -> Option<String> {
    env.get(OsStr::new(name)).and_then(|value| value.to_str()).map(str::to_owned)
}

/// The prices that hold where no budget file is read.
fn installed_prices(shell: &mut Shell) -> anyhow::Result<&'static Table> {
    let root = commands::top_folder(shell)?;
    let found =
        prices::in_force(&Prices::default(), &prices::Here::now(&|name| lookup(&shell.env, name), &root))?;
    for note in &found.notes {
        writeln!(shell.err, "note: {note}")?;
    }
    Ok(found.table)
}

/// The classifier, with the rules of the budget file that a run here would go by.
fn classify(args: &commands::classify::Args, shell: &mut Shell) -> anyhow::Result<u8> {
    let root = commands::top_folder(shell)?;
    let Shell { env, out, err } = shell;
    let var = |name: &str| env.get(OsStr::new(name)).and_then(|value| value.to_str()).map(str::to_owned);
    let dir = std::env::current_dir()?;
    let rules = match (&args.budget_file, &args.input) {
        // Events from elsewhere are not this repository's.
        (None, Some(_)) => Vec::new(),
        (given, _) => inputs::working_tree_budget(given.as_deref(), &root)?.rules,
    };
    let around = commands::classify::Around { env: &var, dir: &dir, stdin: &mut io::stdin() };
    commands::classify::run(args, &rules, around, out, err)
}

/// One thread: a proxy on loopback is faster on one than on two, and nothing here computes for long.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
