//! `tollgate start` and `tollgate finish`: the main job around somebody else's step.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::Shell;
use crate::commands::run::Premise;
use crate::exit::Failure;
use crate::pipeline::{self, Finish, Outcome, Request};

/// Begin a run around somebody else's step: reserve, and leave the meter running.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    #[command(flatten)]
    premise: Premise,
    /// Use the embedded provider: no key, no network, nothing is posted
    #[arg(long)]
    simulate: bool,
    /// Where to write the summary as JSON when nothing is begun
    #[arg(long, value_name = "FILE")]
    summary_json: Option<PathBuf>,
    /// Hand the agent's variables, ANTHROPIC_BASE_URL and the like, to every later step through $GITHUB_ENV
    #[arg(long)]
    export_env: bool,
    /// How standard output says what the next step needs
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The forms of what the next step is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One `name=value` a line; nothing where a runner has a file for them
    Text,
    /// One JSON object
    Json,
}

/// End a run that `start` began: settle, report, and say whether the check passes.
#[derive(Debug, clap::Args)]
pub struct FinishArgs {
    /// What `start` gave as its output `state`, instead of $TOLLGATE_STATE
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// How the step between ended
    #[arg(long, value_enum, default_value = "success")]
    outcome: Outcome,
    /// Where to write the summary as JSON
    #[arg(long, value_name = "FILE")]
    summary_json: Option<PathBuf>,
}

/// Begins a run.
///
/// # Errors
/// What a person can mend is a [`Failure`] with its exit code; anything else is tollgate's own failure.
pub async fn start(args: StartArgs, shell: &mut Shell) -> anyhow::Result<u8> {
    if args.simulate && args.premise.names_provider() {
        let message = "`--simulate` brings its own provider: leave out `--upstream`, or `--simulate`";
        return Err(Failure::usage(message).into());
    }
    let StartArgs { premise, simulate, summary_json, export_env, format } = args;
    let request = Request { simulate, summary_json, around: true, ..premise.into_request() };
    // Standard output is for the next step: a report is for people here.
    let mut out = std::mem::replace(&mut shell.out, Box::new(io::stderr()));
    let started = pipeline::start(request, export_env, shell).await?;
    match format {
        // A runner's log is no place for a token, not even one that it hides.
        Format::Text if shell.var("GITHUB_OUTPUT").is_some() => {}
        Format::Text => {
            for (name, value) in &started.outputs {
                writeln!(out, "{name}={value}")?;
            }
        }
        Format::Json => {
            let object: serde_json::Map<_, _> =
                started.outputs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            writeln!(out, "{}", serde_json::Value::Object(object))?;
        }
    }
    out.flush()?;
    Ok(started.code)
}

/// Ends a run.
///
/// # Errors
/// What a person can mend is a [`Failure`] with its exit code; anything else is tollgate's own failure.
pub async fn finish(args: FinishArgs, shell: &mut Shell) -> anyhow::Result<u8> {
    let FinishArgs { state, outcome, summary_json } = args;
    pipeline::finish(Finish { state, outcome, summary_json }, shell).await
}
