//! `tollgate check`: is the budget file valid, and what does it mean?

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use crate::budget::{self, Budget, explain::explain};
use crate::classify::classify;
use crate::event;
use crate::exit;
use crate::pipeline::inputs;
use crate::report::defuse::plain;

/// What `tollgate check` is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// The budget file to check [default: .github/tollgate.yml]
    #[arg(long, value_name = "F")]
    pub budget_file: Option<PathBuf>,
    /// Show which rule decides for these events, one JSON object a line as for `tollgate classify`
    #[arg(long = "try", value_name = "FILE")]
    pub try_file: Option<PathBuf>,
}

/// Checks the budget file of the repository at `root`, or the one that `args` names, and explains it on `out`.
/// Mistakes go to `err`.
///
/// Returns the exit code: 0 for a valid file and for none where the default was asked for, 2 otherwise.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn run(args: &Args, root: &Path, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
    let path = args.budget_file.as_deref().unwrap_or(Path::new(budget::PATH));
    let given = args.budget_file.is_some();
    let bytes = match inputs::read_file(&if given { path.to_owned() } else { root.join(path) }) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return absent(path, given, out, err);
        }
        Err(error) => {
            writeln!(err, "the budget file {} cannot be read: {error}", path.display())?;
            return Ok(exit::USAGE);
        }
    };
    let Ok(text) = String::from_utf8(bytes) else {
        writeln!(err, "{}", inputs::not_text(&path.display().to_string()))?;
        return Ok(exit::USAGE);
    };
    match inputs::parse(&text, &path.display().to_string()) {
        Ok(budget) if args.try_file.is_some() => {
            let file = args.try_file.as_deref().unwrap_or(Path::new("-"));
            try_rules(&budget, file, out, err)
        }
        Ok(budget) => {
            writeln!(out, "{} is valid. What it means:\n\n{}", path.display(), explain(&budget).trim_end())?;
            Ok(exit::PASS)
        }
        Err(errors) => {
            writeln!(err, "{errors}")?;
            Ok(exit::USAGE)
        }
    }
}

/// The longest file of events that is tried, in bytes.
const TRIED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Shows what the rules make of the events in `file`.
fn try_rules(budget: &Budget, file: &Path, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
    let name = file.display();
    let mut text = String::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|file| file.take(TRIED_BYTES_MAX + 1).read_to_string(&mut text));
    if let Err(error) = read {
        writeln!(err, "cannot read {name}: {error}")?;
        return Ok(exit::USAGE);
    }
    if text.len() as u64 > TRIED_BYTES_MAX {
        writeln!(
            err,
            "{name} is larger than {} MiB\n\nhint: try fewer events at once",
            TRIED_BYTES_MAX >> 20
        )?;
        return Ok(exit::USAGE);
    }
    let mut status = exit::PASS;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match event::line::parse(line) {
            Ok((id, event)) => {
                let class = classify(&event, &budget.rules);
                writeln!(out, "{}: {}, {} stakes", plain(&id), class.task, class.stakes)?;
                for reason in class.reasons.iter().take(2) {
                    writeln!(out, "  {}", plain(reason))?;
                }
            }
            Err(error) => {
                status = exit::USAGE;
                writeln!(err, "{name}:{}: {error}", index + 1)?;
            }
        }
    }
    Ok(status)
}

fn absent(path: &Path, asked_for: bool, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<u8> {
    if asked_for {
        writeln!(
            err,
            "{}: there is no such file\n\nhint: check the path, or write a budget file with `tollgate init`",
            path.display()
        )?;
        return Ok(exit::USAGE);
    }
    writeln!(
        out,
        "There is no {}, so the defaults hold. What they mean:\n\n{}",
        path.display(),
        explain(&Budget::builtin())
    )?;
    writeln!(
        out,
        "hint: to set limits of your own and enforce them, write a budget file with `tollgate init`"
    )?;
    Ok(exit::PASS)
}
