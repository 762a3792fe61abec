//! `tollgate preset`: which package the budget file's agent is, for whoever installs it before a run.

use std::io;
use std::path::PathBuf;

use crate::agent::preset::{self, Package};
use crate::cli::Shell;
use crate::exit;
use crate::pipeline::inputs::Inputs;

/// Say which package the budget file's agent is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The budget file, instead of .github/tollgate.yml
    #[arg(long, value_name = "FILE")]
    budget_file: Option<PathBuf>,
}

/// Prints program, manager, package and version of the agent that a run here would start, and what is to be
/// installed beside it, one `name=value` a line; nothing where it is a command, which its own workflow installs.
///
/// # Errors
/// A [`crate::exit::Failure`] for a budget file or an event that cannot be used.
pub async fn run(args: &Args, shell: &mut Shell) -> anyhow::Result<u8> {
    // What there is to say of the inputs is said by the run itself.
    let mut silent = Shell { env: shell.env.clone(), out: Box::new(io::sink()), err: Box::new(io::sink()) };
    let inputs = Inputs::gather(&mut silent, None, args.budget_file.as_deref(), true).await?;
    if let Some(package) = preset::package(inputs.budget.agent.preset) {
        let Package { program, manager, name, version, with } = package;
        let (manager, with) = (manager.as_str(), with.join(" "));
        write!(
            shell.out,
            "program={program}\nmanager={manager}\npackage={name}\nversion={version}\nwith={with}\n"
        )?;
    }
    Ok(exit::PASS)
}
