//! One transaction: the book as it stands, what is decided on it, and what that adds.
//!
//! The same for every store whose rules are ours to apply; a store brings the ground it stands on. A file
//! ledger's ground is its lock, so what is committed is durable at once. A git ledger's is a fetched
//! commit: lines are staged, and pushed when the transaction is over, or thrown away and decided again.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::disk::Disk;
use super::{StoreError, file, git, history};
use crate::id::HoldId;
use crate::ledger::book::Book;
use crate::ledger::commit::{self, Commit, Head};
use crate::ledger::decide::Draft;
use crate::ledger::hold::Hold;
use crate::ledger::{Balance, Limit};

/// What a transaction stands on.
#[derive(Debug)]
pub(super) enum Ground {
    /// The lock of a folder.
    File(file::Ground),
    /// A commit of a branch.
    Git(git::Ground),
}

impl Ground {
    fn now(&self) -> Timestamp {
        match self {
            Ground::File(file) => file.now(),
            Ground::Git(git) => git.now(),
        }
    }

    /// The folder of events, as far as they may be of an instant or later, and the disk that it is on.
    fn events(&self, since: Option<Timestamp>) -> Result<(Disk, PathBuf), StoreError> {
        match self {
            Ground::File(file) => Ok(file.events()),
            Ground::Git(git) => Ok((Disk::Machine, git.events_folder(since)?)),
        }
    }

    fn put(&mut self, commit: &Commit) -> Result<(), StoreError> {
        match self {
            Ground::File(file) => file.put(commit),
            Ground::Git(git) => {
                git.stage(commit);
                Ok(())
            }
        }
    }
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Session {
    ground: Ground,
    head: Head,
}

impl Session {
    pub(super) fn new(ground: Ground, head: Head) -> Self {
        Self { ground, head }
    }

    pub(super) fn into_parts(self) -> (Ground, Head) {
        (self.ground, self.head)
    }

    pub(super) fn book(&self) -> &Book {
        &self.head.book
    }

    /// The time that the next event would have.
    pub(super) fn time(&self) -> Timestamp {
        self.head.book.next_time(self.ground.now())
    }

    /// A time that has certainly come: leases that are over at it are over.
    pub(super) fn certain_time(&self) -> Timestamp {
        let unsure = match &self.ground {
            Ground::File(_) => SignedDuration::ZERO,
            Ground::Git(git) => git.unsure(),
        };
        self.time().saturating_sub(unsure).unwrap_or(Timestamp::MIN)
    }

    /// A hold, live or closed.
    pub(super) fn find(&self, id: &HoldId) -> Result<Option<Hold>, StoreError> {
        match self.head.book.live_hold(id) {
            Some(hold) => Ok(Some(hold.clone())),
            None => {
                let (disk, folder) = self.ground.events(None)?;
                history::find(&disk, &folder, id)
            }
        }
    }

    /// The limits with what has been taken from them; the history is asked for those that the book does
    /// not follow.
    pub(super) fn balances(&mut self, limits: &[Limit]) -> Result<Vec<Balance>, StoreError> {
        let missing: Vec<&Limit> =
            limits.iter().filter(|limit| self.head.book.balance(limit).is_none()).collect();
        let settled = match missing.iter().map(|limit| limit.window.start).min() {
            None => Vec::new(),
            Some(since) => {
                let (disk, folder) = self.ground.events(Some(since))?;
                history::settled(&disk, &folder, &missing)?
            }
        };
        for (limit, settled) in missing.iter().zip(&settled) {
            self.head.book.follow(limit, *settled);
        }
        let from_history = |limit: &Limit| {
            let place = missing.iter().position(|missing| *missing == limit);
            let settled = place.and_then(|place| settled.get(place)).copied().unwrap_or_default();
            let held = self.head.book.held(&limit.purse, &limit.window);
            Balance { limit: limit.clone(), settled, held }
        };
        Ok(limits
            .iter()
            .map(|limit| self.head.book.balance(limit).unwrap_or_else(|| from_history(limit)))
            .collect())
    }

    /// Whether the ledger has this very event of `since` or later already: a push that broke down may have
    /// arrived. Holds are known again by their claims and phases; this is for events that are of no hold.
    pub(super) fn has_arrived(&self, draft: &Draft, since: Timestamp) -> Result<bool, StoreError> {
        match &self.ground {
            Ground::File(_) => Ok(false),
            Ground::Git(git) if !git.may_have_arrived() => Ok(false),
            Ground::Git(git) => history::has(&Disk::Machine, &git.events_folder(Some(since))?, draft, since),
        }
    }

    /// Makes lines part of the ledger that were decided elsewhere.
    pub(super) fn put(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.ground.put(commit)?;
        self.head = commit.head.clone();
        Ok(())
    }

    /// Makes drafts part of the ledger.
    pub(super) fn commit(&mut self, drafts: Vec<Draft>, at: Timestamp) -> Result<(), StoreError> {
        if drafts.is_empty() {
            return Ok(());
        }
        let commit = commit::build(&self.head, drafts, at)?;
        self.put(&commit)
    }
}
