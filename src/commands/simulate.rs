//! The two halves of `run --simulate`, as commands of their own: the built-in agent and the provider.

use std::path::PathBuf;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::cli::Shell;
use crate::exit;
use crate::simulate::{self, agent};

/// Arguments of the built-in agent.
pub use crate::simulate::agent::Args as AgentArgs;

/// Serve the simulated provider on its own.
#[derive(Debug, clap::Args)]
pub struct ProviderArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,
    /// Where to write the address once it listens
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs the built-in agent against `ANTHROPIC_BASE_URL`.
///
/// # Errors
/// When the environment names no provider, or the provider's answer cannot be read.
pub async fn agent(args: AgentArgs, shell: &mut Shell) -> anyhow::Result<u8> {
    let endpoint = agent::Endpoint::from_env(|name| shell.var(name).map(str::to_owned))?;
    agent::run(&args, &endpoint, &mut shell.out).await
}

/// Serves the simulated provider until it is interrupted, then says what it served.
///
/// # Errors
/// When it cannot listen, or its address cannot be written.
pub async fn provider(args: ProviderArgs, shell: &mut Shell) -> anyhow::Result<u8> {
    let listener =
        TcpListener::bind(&args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    if let Some(path) = &args.ready_file {
        std::fs::write(path, &url).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    writeln!(shell.err, "serving at {url}")?;
    let provider = simulate::Provider::new(simulate::Script::demo());
    let witness = provider.witness();
    let interrupted = async {
        // Without a signal handler there is nothing to wait for, so it ends at once.
        let _ = tokio::signal::ctrl_c().await;
    };
    provider.serve(listener, interrupted).await;
    writeln!(shell.out, "{}", witness.usd())?;
    Ok(exit::PASS)
}
