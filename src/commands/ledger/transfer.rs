//! `tollgate ledger export --format events` and `import`: a ledger's lines, out and in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use crate::exit;
use crate::ledger::store::{ImportError, Store};
use crate::pipeline::books;

/// What `tollgate ledger import` reads.
#[derive(clap::Args, Clone, Debug)]
pub struct ImportArgs {
    /// The events, as `tollgate ledger export --format events` prints them; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Prints every line as it stands.
pub(super) fn export(store: &Store, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut out = io::BufWriter::new(out);
    let mut events = store.events(None).map_err(books::unavailable)?;
    while let Some(line) = events.next_line() {
        writeln!(out, "{}", line.map_err(books::unavailable)?)?;
    }
    out.flush()?;
    Ok(exit::PASS)
}

/// Brings lines into the ledger.
pub(super) fn import(
    store: &Store,
    args: &ImportArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let source: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        match File::open(&args.file) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => {
                writeln!(err, "error: cannot read `{}`: {error}", args.file.display())?;
                return Ok(exit::USAGE);
            }
        }
    };
    match store.import(source.lines()) {
        Ok(done) => {
            writeln!(out, "{} events imported, chain intact", done.events - done.before)?;
            if done.before > 0 {
                writeln!(out, "{} were there already", done.before)?;
            }
            let (holds, live) = (done.holds, done.live);
            writeln!(out, "{holds} holds, {live} live, {} charged in all", done.charged.shown())?;
            Ok(exit::PASS)
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            let usage = !matches!(error, ImportError::Store(_) | ImportError::Disturbed);
            Ok(if usage { exit::USAGE } else { exit::LEDGER })
        }
    }
}
