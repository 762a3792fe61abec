//! What can go wrong with a store. All but a refusal means that the ledger cannot be used as it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::git::RemoteError;
use super::lock::Holder;
use super::postgres::DatabaseError;
use crate::ledger::book::Discord;
use crate::ledger::commit::CommitError;
use crate::ledger::decide::Refusal;
use crate::ledger::event::LineError;

/// Why the ledger cannot be used, or does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The asked-for step is not one the ledger takes. The ledger is in order.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A line is damaged.
    #[error(
        "the ledger is damaged: {}:{line}: {what}\n\nhint: nothing was changed; put the folder back from a \
         backup, or let `tollgate ledger doctor` say what can be kept",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: Box<Damage>,
    },
    /// A line was written by a newer tollgate.
    #[error(
        "the ledger was written by a newer tollgate: {}:{line}: {what}\n\nhint: update tollgate here; \
         nothing was changed",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is new in it.
        what: String,
    },
    /// Another process has the lock.
    #[error(
        "the ledger `{}` is locked by {holder}, and was not free for {} s\n\nhint: wait for that process, or \
         end it if it hangs; its lock goes with it",
        path.display(), waited.as_secs()
    )]
    Locked {
        /// The ledger's folder.
        path: PathBuf,
        /// Who has it.
        holder: Holder,
        /// How long was waited for it.
        waited: Duration,
    },
    /// A file operation failed.
    #[error("the ledger cannot {what} `{}`: {source}{}", path.display(), io_hint(source))]
    Io {
        /// What was to be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The data may not have reached the disk.
    #[error(
        "the ledger could not make its last event durable: `{}`: {source}\n\nhint: check the disk, then \
         start again; a hold that is open now is charged when it expires",
        path.display()
    )]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An earlier write of this process may not have reached the disk.
    #[error(
        "the ledger is not written any more, because an earlier write failed\n\nhint: check the disk, then start again"
    )]
    Poisoned,
    /// The folder is on a network file system.
    #[error(
        "the ledger `{}` is on a network file system ({kind}), where a lock may not hold\n\nhint: put it on \
         a local disk, with `ledger: file:PATH` in the budget file",
        path.display()
    )]
    Network {
        /// The ledger's folder.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// There is no ledger here.
    #[error("there is no ledger in `{}`\n\nhint: `--ledger PATH` names another folder; the first run makes one", .0.display())]
    Missing(PathBuf),
    /// The doctor does not know this kind of ledger.
    #[error(
        "the doctor mends ledgers in files, and the tables of one in a database; a branch has its own history\n\n\
         hint: `tollgate ledger verify` names the damage, and `git log` the commit before it: set the branch back \
         to that"
    )]
    NotMendable,
    /// A git ledger cannot be used.
    #[error(transparent)]
    Git(#[from] RemoteError),
    /// A PostgreSQL ledger cannot be used.
    #[error(transparent)]
    Postgres(#[from] DatabaseError),
}

fn io_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "\n\nhint: the ledger's folder must belong to the user who runs tollgate"
        }
        std::io::ErrorKind::StorageFull => "\n\nhint: make room on the disk; nothing was recorded",
        _ => "",
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It cannot be read.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It does not continue the lines before it.
    #[error(transparent)]
    Discord(#[from] Discord),
    /// It has no end, and is not the last one.
    #[error("the line has no end, and others follow")]
    NoEnd,
    /// Lines that the head knows are gone.
    #[error("the file ends here, and the head says that it went on")]
    Short,
    /// The line the head ends with is another now.
    #[error("the line was changed after the head was written")]
    Changed,
    /// The line belongs to another month.
    #[error("the event is in the wrong file: its time belongs to `{0}`")]
    WrongShard(String),
    /// Earlier events of a branch are not where they should be.
    #[error("{0}")]
    Past(String),
}

impl StoreError {
    /// Whether the ledger cannot be read or written, as against a step it refuses.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        !matches!(self, StoreError::Refused(_))
    }

    pub(super) fn line(path: PathBuf, line: u64, what: impl Into<Damage>) -> Self {
        match what.into() {
            Damage::Line(error) if error.is_newer() => Self::Newer { path, line, what: error.to_string() },
            what => Self::Damaged { path, line, what: Box::new(what) },
        }
    }

    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(refusal) => Self::Refused(refusal),
            // The events that were read are in order, so the wish is at fault.
            CommitError::Discord(discord) => Self::Refused(Refusal::Nonsense(discord.to_string())),
        }
    }
}
