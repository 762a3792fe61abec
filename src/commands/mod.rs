//! One module a command. Each turns its arguments into a request value before any work starts.

pub mod around;
pub mod check;
pub mod classify;
pub mod cost;
pub mod gate;
pub mod init;
pub mod ledger;
pub mod meter;
pub mod plan;
pub mod preset;
pub mod prices;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod simulate;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::Shell;
use crate::event::git::Git;

/// The top folder of the repository that a command was started in, or the current folder outside of one:
/// below the top a command means the same budget file and the same ledger.
///
/// # Errors
/// When the current folder cannot be told.
pub fn top_folder(shell: &Shell) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("the current folder cannot be told")?;
    let env = |name: &str| shell.var(name).map(str::to_owned);
    let top = Git::find(&env, &here).ok().and_then(|git| git.line(&["rev-parse", "--show-toplevel"]));
    Ok(top.map_or(here, PathBuf::from))
}
