//! `tollgate run`: the main job.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::Shell;
use crate::commands::meter::UpstreamArg;
use crate::exit::Failure;
use crate::pipeline;
use crate::task::Task;

/// What a run starts from, also one around somebody else's step.
#[derive(Debug, clap::Args)]
pub(super) struct Premise {
    /// What the agent is to do, instead of what the classifier says: implementation, review or docs
    #[arg(long, value_name = "TASK", value_parser = parse_task)]
    task: Option<Task>,
    /// The budget file, instead of .github/tollgate.yml
    #[arg(long, value_name = "FILE")]
    budget_file: Option<PathBuf>,
    /// An event payload, instead of $GITHUB_EVENT_PATH or the local repository
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// Where requests go, instead of the provider: anthropic=https://host, openai=…, gemini=…, vertex=… or bedrock=…
    #[arg(long, value_name = "API=URL")]
    upstream: Vec<UpstreamArg>,
}

impl Premise {
    /// Whether the provider is another than the usual one.
    pub(super) fn names_provider(&self) -> bool {
        !self.upstream.is_empty()
    }

    /// A request that starts from it, with everything else left out.
    pub(super) fn into_request(self) -> pipeline::Request {
        let Self { task, budget_file, event, upstream } = self;
        let upstreams =
            upstream.into_iter().map(|UpstreamArg(vendor, upstream)| (vendor, upstream)).collect();
        pipeline::Request { task, budget_file, event, upstreams, ..pipeline::Request::default() }
    }
}

/// Run an agent under a cap, settle, report, and say whether the check passes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    premise: Premise,
    /// Use the embedded provider and the built-in agent: no key, no network, nothing is posted
    #[arg(long)]
    simulate: bool,
    /// Where to write the summary as JSON
    #[arg(long, value_name = "FILE")]
    summary_json: Option<PathBuf>,
    /// The agent's command line, instead of the budget file's preset
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs it.
///
/// # Errors
/// What a person can mend is a [`Failure`] with its exit code; anything else is tollgate's own failure.
pub async fn run(args: Args, shell: &mut Shell) -> anyhow::Result<u8> {
    if args.simulate && (!args.command.is_empty() || args.premise.names_provider()) {
        let message =
            "`--simulate` brings its own agent and provider: leave out CMD and `--upstream`, or `--simulate`";
        return Err(Failure::usage(message).into());
    }
    let Args { premise, simulate, summary_json, command } = args;
    let request = pipeline::Request { simulate, summary_json, command, ..premise.into_request() };
    pipeline::run(request, shell).await
}

/// A task by its name.
fn parse_task(text: &str) -> Result<Task, String> {
    text.parse().map_err(|()| "expected implementation, review or docs".to_owned())
}
