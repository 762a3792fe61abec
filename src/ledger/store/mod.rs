//! Stores: where the events are. A store moves bytes and compares and swaps; every rule is elsewhere.
//!
//! All operations here read the book, decide, append, and answer from the book after: a `session`, under
//! the lock of a file ledger, or again and again until nobody was faster on a git one; a database has the
//! same rules as functions of its own. They are synchronous, and take as long whatever the length of the
//! history, but for a hold that was closed before and an account that the book does not follow: those are
//! looked up in the history.

mod disk;
mod doctor;
mod error;
mod file;
pub mod git;
mod history;
mod lock;
mod plain;
pub mod postgres;
mod session;
mod transfer;

use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::audit::{Audit, Mismatch};
use super::commit::HeadError;
use super::decide::{self, Draft, Refusal};
use super::event::{Kind, Line, Note};
use super::hold::Hold;
use super::{Answer, Balance, Limit, Request, Settlement, Spend};
use crate::id::HoldId;
use crate::money::Usd;

pub use doctor::{Findings, SHOWN_MAX};
pub use error::{Damage, StoreError};
pub use history::Events;
pub use lock::Holder;
pub use transfer::{ImportError, Imported};

pub(crate) use disk::Disk;
#[cfg(test)]
pub(crate) use disk::Use;
use file::FileStore;
use git::{GitPlace, GitStore};
use postgres::{PostgresPlace, PostgresStore};
use session::Session;

/// The store's clock. The file store's is the machine's; tests bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that shows what `now` returns.
    #[must_use]
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its clock.
    pub clock: Clock,
    /// How long to wait for another process's lock.
    pub lock_wait: Duration,
    /// Open a ledger on a network file system, where locks are not to be relied on.
    pub allow_network: bool,
    /// A ledger of its own below the folder, such as `simulate`; `None` for the real one.
    pub namespace: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            lock_wait: Duration::from_secs(10),
            allow_network: false,
            namespace: None,
        }
    }
}

/// A ledger that can be used.
#[derive(Clone, Debug)]
pub enum Store {
    /// Files in a folder.
    File(FileStore),
    /// A branch of a repository.
    Git(GitStore),
    /// A database.
    Postgres(PostgresStore),
}

/// What [`Store::verify`] found in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Events.
    pub events: u64,
    /// Holds there ever were.
    pub holds: u64,
    /// Holds that are live.
    pub live: u64,
    /// Files of events.
    pub shards: u64,
    /// The times of the first and the last event.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Everything that was ever charged.
    pub charged: Usd,
    /// How the head differs from the events; it is made again from them by the next write.
    pub head: Result<(), HeadProblem>,
    /// An unfinished last line, from a write that was cut off: dropped by the next write.
    pub torn: bool,
}

/// How the head differs from the events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadProblem {
    /// There is none.
    #[error("there is no head")]
    Missing,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] HeadError),
    /// It says something else.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

impl Store {
    /// Opens the ledger in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or used.
    pub fn open(folder: &Path, options: Options) -> Result<Self, StoreError> {
        FileStore::open(Disk::Machine, folder, options).map(Self::File)
    }

    /// As [`Store::open`], on another disk than the machine's.
    #[cfg(test)]
    pub(crate) fn open_on(disk: Disk, folder: &Path, options: Options) -> Result<Self, StoreError> {
        FileStore::open(disk, folder, options).map(Self::File)
    }

    /// Opens the ledger in a folder that has one.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn open_existing(folder: &Path, options: Options) -> Result<Self, StoreError> {
        FileStore::open_existing(Disk::Machine, folder, options).map(Self::File)
    }

    /// Opens the ledger on a branch. Nothing is fetched or made before it is asked for something; a branch
    /// that is not there is an empty ledger, unless it was seen before.
    #[must_use]
    pub fn open_git(place: GitPlace, options: Options) -> Self {
        Self::Git(GitStore::new(place, options))
    }

    /// Opens the ledger in a database. Nothing is connected to before it is asked for something; tables that
    /// are not there are made then, if `make` says so and the role may.
    #[must_use]
    pub fn open_postgres(place: PostgresPlace, options: Options, make: bool) -> Self {
        Self::Postgres(PostgresStore::new(place, options, make))
    }

    /// Lets go of everything on this machine that somebody else could tamper with until the next
    /// operation: to be called before an agent starts.
    pub fn rest(&self) {
        match self {
            Self::File(_) => {}
            Self::Git(git) => git.rest(),
            Self::Postgres(postgres) => postgres.rest(),
        }
    }

    /// The store's time: what windows are to be computed from.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::File(file) => file.now(),
            Self::Git(git) => git.now(),
            Self::Postgres(postgres) => postgres.now(),
        }
    }

    /// Each limit with what has been taken from it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn balances(&self, limits: &[Limit]) -> Result<Vec<Balance>, StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.read(|session| session.balances(limits)),
            Rules::Theirs(postgres) => postgres.balances(limits),
        }
    }

    /// Every account that the ledger follows, each under the limit that last named it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn accounts(&self) -> Result<Vec<Balance>, StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.read(|session| {
                let counters = session.book().counters();
                let limits: Vec<Limit> = counters.map(|counter| counter.limit.clone()).collect();
                session.balances(&limits)
            }),
            Rules::Theirs(postgres) => postgres.accounts(),
        }
    }

    /// The live holds.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.read(|session| Ok(session.book().live().cloned().collect())),
            Rules::Theirs(postgres) => postgres.holds(),
        }
    }

    /// A hold, live or closed.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn hold(&self, id: &HoldId) -> Result<Option<Hold>, StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.read(|session| session.find(id)),
            Rules::Theirs(postgres) => postgres.hold(id),
        }
    }

    /// Takes a hold from every limit of the request, or from none.
    ///
    /// The same request again gets the same answer.
    ///
    /// # Errors
    /// When the ledger cannot be used, or the request contradicts an earlier one.
    pub fn reserve(&self, request: &Request) -> Result<Answer, StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.write(|session| {
                let balances = session.balances(&request.limits)?;
                let at = session.time();
                let decision = decide::reserve(session.book(), request, &balances, at)?;
                session.commit(decision.draft.into_iter().collect(), at)?;
                Ok(decision.answer)
            }),
            Rules::Theirs(postgres) => postgres.reserve(request),
        }
    }

    /// Raises the cap of a live hold to `to`, as far as its hard limits have room; `claim` is the one it was
    /// taken under. A cap that is there already is granted again.
    ///
    /// # Errors
    /// When the ledger cannot be used, there is no such hold, or it is not this process's.
    pub fn extend(&self, id: &HoldId, claim: &str, to: Usd) -> Result<Answer, StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.write(|session| {
                let live = session.book().live_hold(id).cloned();
                let hold = match live {
                    Some(hold) => hold,
                    None => session.find(id)?.ok_or_else(|| Refusal::Unknown(id.clone()))?,
                };
                let balances = session.balances(&hold.terms.limits)?;
                let decision = decide::extend(&hold, claim, to, &balances)?;
                let at = session.time();
                session.commit(decision.draft.into_iter().collect(), at)?;
                Ok(decision.answer)
            }),
            Rules::Theirs(postgres) => postgres.extend(id, claim, to),
        }
    }

    /// Records that a run was not started because `by` had too little left, once. It takes nothing from any
    /// limit; reports count it.
    ///
    /// # Errors
    /// When the ledger cannot be used, or the request makes no sense.
    pub fn refuse(&self, request: &Request, by: &Balance) -> Result<(), StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.write_once(|at| decide::refuse(request, by, at)),
            Rules::Theirs(postgres) => postgres.refuse(request, by),
        }
    }

    /// Records what the run of a hold spent. The same settlement again changes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be used, there is no such hold, or it was settled at another amount.
    pub fn settle(&self, id: &HoldId, spend: &Spend) -> Result<Settlement, StoreError> {
        self.close(id, |hold| decide::settle(hold, spend), |postgres| postgres.settle(id, spend, None))
    }

    /// As [`Store::settle`], with a word for how the run ended.
    ///
    /// # Errors
    /// As [`Store::settle`].
    pub fn settle_as(&self, id: &HoldId, spend: &Spend, outcome: &str) -> Result<Settlement, StoreError> {
        let ours = |hold: &Hold| decide::settle_as(hold, spend, Some(outcome));
        self.close(id, ours, |postgres| postgres.settle(id, spend, Some(outcome)))
    }

    /// Gives a hold up without spend: its run forwarded nothing, or a person says so.
    ///
    /// # Errors
    /// When the ledger cannot be used, there is no such hold, or it was closed otherwise.
    pub fn void(&self, id: &HoldId, reason: &str) -> Result<Settlement, StoreError> {
        self.close(id, |hold| decide::void(hold, reason), |postgres| postgres.void(id, reason))
    }

    /// Charges a hold whose run is known to be gone: what the evidence says, or the whole of it.
    ///
    /// # Errors
    /// When the ledger cannot be used, there is no such hold, or it was closed otherwise.
    pub fn expire(&self, id: &HoldId, evidence: Option<&Spend>) -> Result<Settlement, StoreError> {
        self.close(id, |hold| decide::expire(hold, evidence), |postgres| postgres.expire(id, evidence))
    }

    /// Corrects what a closed hold is charged.
    ///
    /// # Errors
    /// When the ledger cannot be used, there is no such hold, or it is still held.
    pub fn adjust(&self, id: &HoldId, spend: &Spend, evidence: &str) -> Result<Settlement, StoreError> {
        let ours = |hold: &Hold| decide::adjust(hold, spend, evidence);
        self.close(id, ours, |postgres| postgres.adjust(id, spend, evidence))
    }

    /// As [`Store::adjust`], for a hold that nobody settled, and only as long as it is charged what it was `seen` to
    /// be and nobody has corrected that.
    ///
    /// # Errors
    /// When the ledger cannot be used, there is no such hold, or it has changed.
    pub fn correct(
        &self,
        id: &HoldId,
        seen: &Spend,
        spend: &Spend,
        evidence: &str,
    ) -> Result<Settlement, StoreError> {
        let ours = |hold: &Hold| decide::correct(hold, seen, spend, evidence);
        self.close(id, ours, |postgres| postgres.correct(id, seen, spend, evidence))
    }

    /// Puts something on record that is of no hold, once; `key` says what it is about.
    ///
    /// # Errors
    /// When the ledger cannot be used.
    pub fn note(&self, key: &HoldId, note: Note) -> Result<(), StoreError> {
        match self.rules() {
            Rules::Ours(store) => {
                store.write_once(|_| Ok(Draft { hold: key.clone(), kind: Kind::Note(note.clone()) }))
            }
            Rules::Theirs(postgres) => postgres.note(key, &note),
        }
    }

    /// Charges every hold whose lease is over, and returns them.
    ///
    /// # Errors
    /// When the ledger cannot be used.
    pub fn sweep(&self) -> Result<Vec<HoldId>, StoreError> {
        match self.rules() {
            Rules::Ours(store) => store.write(|session| {
                let at = session.time();
                let drafts = decide::sweep(session.book(), session.certain_time())?;
                let swept = drafts.iter().map(|draft| draft.hold.clone()).collect();
                session.commit(drafts, at)?;
                Ok(swept)
            }),
            Rules::Theirs(postgres) => postgres.sweep(),
        }
    }

    /// The events from an instant on, or all of them, oldest first, as they are read.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn events(&self, since: Option<Timestamp>) -> Result<Events, StoreError> {
        match self {
            Self::File(file) => file.events(since),
            Self::Git(git) => git.events(since),
            Self::Postgres(postgres) => Ok(Events::from_database(postgres.lines(since)?, since)),
        }
    }

    /// Reads everything there is, and checks it: every line, the chain, every step of every hold, every
    /// grant against its hard limits, and the head against the events. Changes nothing.
    ///
    /// # Errors
    /// When the events are damaged, or cannot be read.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        match self {
            Self::File(file) => file.verify(),
            Self::Git(git) => git.verify(),
            Self::Postgres(postgres) => postgres.verify(),
        }
    }

    fn rules(&self) -> Rules<'_> {
        match self {
            Self::File(file) => Rules::Ours(Folded::File(file)),
            Self::Git(git) => Rules::Ours(Folded::Git(git)),
            Self::Postgres(postgres) => Rules::Theirs(postgres),
        }
    }

    fn close(
        &self,
        id: &HoldId,
        ours: impl Fn(&Hold) -> Result<Option<Draft>, Refusal>,
        theirs: impl FnOnce(&PostgresStore) -> Result<Settlement, StoreError>,
    ) -> Result<Settlement, StoreError> {
        let store = match self.rules() {
            Rules::Ours(store) => store,
            Rules::Theirs(postgres) => return theirs(postgres),
        };
        store.write(|session| {
            let mut hold = session.find(id)?.ok_or_else(|| Refusal::Unknown(id.clone()))?;
            let draft = ours(&hold)?;
            if let Some(draft) = &draft {
                let discord = |why| Refusal::Nonsense(format!("hold `{id}` {why}"));
                hold.step(&draft.kind).map_err(discord)?;
            }
            let at = session.time();
            session.commit(draft.into_iter().collect(), at)?;
            let balances = session.balances(&hold.terms.limits)?;
            Ok(Settlement {
                hold: id.clone(),
                cap: hold.terms.cap,
                overrun: hold.overrun(),
                spend: hold.spend,
                balances,
            })
        })
    }
}

/// Who applies the rules of the ledger: we do, to a book that is read, or the server does, to its tables.
enum Rules<'a> {
    Ours(Folded<'a>),
    Theirs(&'a PostgresStore),
}

/// A store whose book is folded here.
enum Folded<'a> {
    File(&'a FileStore),
    Git(&'a GitStore),
}

impl Folded<'_> {
    /// Runs a transaction; a git ledger runs it again for as long as somebody else is faster.
    fn write<T>(&self, work: impl Fn(&mut Session) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self {
            Self::File(file) => work(&mut file.begin_write()?),
            Self::Git(git) => git.write(work),
        }
    }

    /// Writes an event that no state of a hold would tell to be there already: where a push of it broke down, and
    /// may have arrived, it is looked for first.
    fn write_once(&self, draft: impl Fn(Timestamp) -> Result<Draft, Refusal>) -> Result<(), StoreError> {
        let first = Cell::new(None);
        self.write(|session| {
            let at = session.time();
            let draft = draft(at)?;
            let began = first.get().unwrap_or(at);
            first.set(Some(began));
            if session.has_arrived(&draft, began)? {
                return Ok(());
            }
            session.commit(vec![draft], at)
        })
    }

    fn read<T>(&self, work: impl Fn(&mut Session) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self {
            Self::File(file) => work(&mut file.begin_read()?),
            Self::Git(git) => git.read(work),
        }
    }
}

/// Folds lines into an audit.
fn audit(
    lines: impl Iterator<Item = Result<(history::Place, Line), StoreError>>,
) -> Result<Audit, StoreError> {
    let mut audit = Audit::default();
    for next in lines {
        let (place, line) = next?;
        audit.apply(&line).map_err(|discord| StoreError::line(place.path, place.line, discord))?;
    }
    Ok(audit)
}
