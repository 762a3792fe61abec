//! Moving a ledger: every line out as it stands, and into another ledger of any kind.
//!
//! The lines stay byte for byte what they are, so the chain does, and so does every hash that a machine has
//! seen. An import checks each line as `verify` does before it writes it, and writes in stretches; one that
//! was cut off is gone on with, since what is there is a beginning of what comes. A database takes all of it
//! in one transaction, see `postgres::fold`.

use std::io;

use super::session::Session;
use super::{Folded, Rules, Store, StoreError};
use crate::ledger::audit::Audit;
use crate::ledger::book::Discord;
use crate::ledger::commit::{Commit, Head, shard_of};
use crate::ledger::event::{self, LineError};
use crate::money::Usd;

/// Lines that are written at once.
const STRETCH_LINES: usize = 2_000;

/// What an import has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Events in the ledger now.
    pub events: u64,
    /// Those of them that were there before.
    pub before: u64,
    /// Holds there ever were.
    pub holds: u64,
    /// Holds that are live.
    pub live: u64,
    /// Everything that was ever charged.
    pub charged: Usd,
}

/// Why lines cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lines cannot be read from where they come.
    #[error("the events cannot be read: {0}")]
    Source(io::Error),
    /// A line is no event.
    #[error("line {line} cannot be imported: {what}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: LineError,
    },
    /// A line does not continue those before it.
    #[error(
        "line {line} cannot be imported: {what}\n\nhint: export with `tollgate ledger export --format events`, without `--since`"
    )]
    Discord {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: Discord,
    },
    /// The ledger has other events.
    #[error(
        "the ledger has {events} events already, and they are not the first of those that come\n\nhint: import \
         into an empty ledger; nothing was changed"
    )]
    NotEmpty {
        /// The events it has.
        events: u64,
    },
    /// Somebody else wrote.
    #[error(
        "somebody else wrote to the ledger during the import\n\nhint: stop what writes to it, empty it, and import again"
    )]
    Disturbed,
}

impl Store {
    /// Brings lines into the ledger, which must be empty or have a beginning of them.
    ///
    /// # Errors
    /// When a line is not in order, or the ledger has others; what was in order before is there then.
    pub fn import(&self, lines: impl Iterator<Item = io::Result<String>>) -> Result<Imported, ImportError> {
        match self.rules() {
            Rules::Ours(store) => store.import(lines),
            Rules::Theirs(postgres) => postgres.import(lines),
        }
    }
}

impl Folded<'_> {
    fn import(&self, lines: impl Iterator<Item = io::Result<String>>) -> Result<Imported, ImportError> {
        let (before, seen) =
            self.read(|session| Ok((session.book().seq(), session.book().hash().clone())))?;
        let other = ImportError::NotEmpty { events: before };
        let mut audit = Audit::default();
        let mut head = Head::default();
        let mut stretch: Vec<(String, String)> = Vec::new();
        let mut base = head.clone();
        for (number, text) in (1_u64..).zip(lines) {
            let text = text.map_err(ImportError::Source)?;
            let line =
                event::decode(text.as_bytes()).map_err(|what| ImportError::Line { line: number, what })?;
            let discord = |what| ImportError::Discord { line: number, what };
            audit.apply(&line).map_err(discord)?;
            let shard = shard_of(line.event.at);
            head.advance(&shard, &line, text.len() as u64).map_err(discord)?;
            if number < before {
                continue;
            }
            if number == before {
                if *head.book.hash() != seen {
                    return Err(other);
                }
                base = head.clone();
                continue;
            }
            stretch.push((shard, text));
            if stretch.len() >= STRETCH_LINES {
                self.put(&base, std::mem::take(&mut stretch), &head)?;
                base = head.clone();
            }
        }
        if audit.events() < before {
            return Err(other);
        }
        self.put(&base, stretch, &head)?;
        Ok(Imported {
            events: audit.events(),
            before,
            holds: audit.holds(),
            live: audit.live(),
            charged: audit.charged(),
        })
    }

    /// Writes lines where the ledger ends as `base` does.
    fn put(&self, base: &Head, lines: Vec<(String, String)>, head: &Head) -> Result<(), ImportError> {
        if lines.is_empty() {
            return Ok(());
        }
        let commit = Commit { lines, head: head.clone() };
        let work = |session: &mut Session| {
            let here = session.book().hash();
            if here == head.book.hash() {
                // A push whose answer was lost.
                return Ok(true);
            }
            match here == base.book.hash() {
                true => session.put(&commit).map(|()| true),
                false => Ok(false),
            }
        };
        match self.write(work)? {
            true => Ok(()),
            false => Err(ImportError::Disturbed),
        }
    }
}
