//! `tollgate init`: a starter budget file and the workflow that uses it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::budget;
use crate::exit;

/// Where the starter workflow goes.
const WORKFLOW_PATH: &str = ".github/workflows/tollgate.yml";

/// The starter budget file.
pub const BUDGET: &str = include_str!("init/budget.yml");

/// The starter workflow.
pub const WORKFLOW: &str = include_str!("init/workflow.yml");

/// What `tollgate init` is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Overwrite files that exist
    #[arg(long)]
    pub force: bool,
    /// The repository to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
}

/// Writes both files, or neither where one exists and `--force` was not given.
///
/// Returns the exit code: 0, or 2 where a file is in the way.
///
/// # Errors
/// When a file cannot be written.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
    let files = [(budget::PATH, BUDGET), (WORKFLOW_PATH, WORKFLOW)];
    let exists = |path: &&str| args.directory.join(path).symlink_metadata().is_ok();
    let existing: Vec<&str> = files.iter().map(|(path, _)| *path).filter(exists).collect();
    if !existing.is_empty() && !args.force {
        let (verb, them) = if existing.len() == 1 { ("exists", "it") } else { ("exist", "them") };
        writeln!(
            err,
            "{} {verb} already; nothing was written\n\nhint: `tollgate check` says what a budget file means; \
             `tollgate init --force` overwrites {them}",
            existing.join(" and ")
        )?;
        return Ok(exit::USAGE);
    }
    for (path, text) in files {
        write(&args.directory.join(path), text, args.force)?;
        writeln!(out, "wrote {path}")?;
    }
    writeln!(
        out,
        "\nNext:\n  \
         1. Set the limits in {}; `tollgate check` says what they mean.\n  \
         2. Replace OWNER in {WORKFLOW_PATH}.\n  \
         3. Add the secret ANTHROPIC_API_KEY to the repository.\n  \
         4. Merge both files: the budget that counts is the default branch's.",
        budget::PATH
    )?;
    Ok(exit::PASS)
}

fn write(path: &Path, text: &str, overwrite: bool) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    // Without leave to overwrite, a file that has appeared since the check is not lost either.
    if overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
