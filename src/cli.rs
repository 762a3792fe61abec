//! The command line: which commands there are, and how what they return becomes an exit code.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::commands;
use crate::exit::{self, Failure};

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
    /// Price usage objects or event streams
    Cost(commands::cost::Args),
}

/// The process's surroundings: read once, so that everything below is given its environment.
pub struct Shell {
    /// The environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Results.
    pub out: Box<dyn Write>,
    /// Everything for people.
    pub err: Box<dyn Write>,
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
    match dispatch(cli.command, &mut shell) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => exit::PASS,
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
        Command::Cost(args) => commands::cost::run(&args, &mut shell.out, &mut shell.err),
    }
}

