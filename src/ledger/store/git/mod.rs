//! The git store: an orphan branch, written by compare-and-swap pushes.
//!
//! One fetch gives both what is compared and the text. A transaction is decided on the fetched tip; its
//! commit has that tip as parent, and is pushed with a lease on it, so that it lands only where it was
//! decided. Whoever loses fetches and decides again, after a pause that gets shorter with every loss, so
//! that the old are not overtaken for ever by the new. A push whose answer was lost is found by deciding
//! again: the hold is there then, under the same claim, or the same note is. See `tree` for the files, `process` for the
//! credentials, `error` for what a server may answer, `seen` for branches that are turned back.

mod error;
mod older;
mod past;
mod place;
mod process;
mod repo;
mod seen;
mod snapshot;
mod tree;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

pub use error::RemoteError;
pub use place::{Credentials, GitPlace, Token};
pub(super) use process::Scratch;

use super::disk::Disk;
use super::history::{Events, Lines, shards};
use super::session::{self, Session};
use super::{HeadProblem, Options, StoreError, Verified, audit, history};
use crate::ledger::commit::{Commit, Head};
use repo::{Pushed, Repo};
use seen::Seen;
use snapshot::Snapshot;

/// For how long a fetched tip is decided on without asking again: a lease that is stale is refused.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// How far this machine's clock may be off.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(10 * 60);
/// How much longer a lease is waited for where no server's clock is known, besides the ledger's own skew.
const UNSURE: SignedDuration = SignedDuration::from_mins(9);
/// Conversations with the server that may break down before the ledger is given up.
const BREAKDOWNS_MAX: u32 = 3;
/// The pause after the first loss at most. It shrinks with every loss, and slowly: while twenty try at once, each
/// try of one makes those of the others take longer.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// After so many losses more it is half as long.
const PAUSE_HALVED_AFTER: u32 = 8;

/// A ledger on a branch.
#[derive(Clone, Debug)]
pub struct GitStore {
    place: Arc<GitPlace>,
    options: Options,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    repo: Option<Repo>,
    cached: Option<(Arc<Snapshot>, Instant)>,
    seen: Option<Seen>,
    /// Folders of events that were made so far.
    views: u64,
}

/// What a transaction on a branch stands on: a commit, and what is to be added to it.
#[derive(Debug)]
pub(super) struct Ground {
    store: GitStore,
    snapshot: Arc<Snapshot>,
    staged: Vec<(String, String)>,
    /// A push of this transaction broke down before, and nobody knows whether it has arrived.
    pushed_before: bool,
}

impl Ground {
    pub(super) fn now(&self) -> Timestamp {
        self.snapshot.time(self.store.now())
    }

    pub(super) fn unsure(&self) -> SignedDuration {
        if self.snapshot.ahead.is_some() { SignedDuration::ZERO } else { UNSURE }
    }

    pub(super) fn may_have_arrived(&self) -> bool {
        self.pushed_before
    }

    pub(super) fn stage(&mut self, commit: &Commit) {
        self.staged.extend(commit.lines.iter().cloned());
    }

    pub(super) fn events_folder(&self, since: Option<Timestamp>) -> Result<PathBuf, StoreError> {
        self.store.lock().view(&self.store, &self.snapshot, since).map(|(folder, _)| folder)
    }
}

impl GitStore {
    pub(super) fn new(place: GitPlace, options: Options) -> Self {
        Self { place: Arc::new(place), options, inner: Arc::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn rest(&self) {
        let mut inner = self.lock();
        inner.repo = None;
        inner.cached = None;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic left behind is a cache, and is made again where it does not fit.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prefix(&self) -> String {
        self.options.namespace.as_ref().map_or_else(String::new, |name| format!("{name}/"))
    }

    fn branch_key(&self) -> String {
        format!("{}#{}#{}", self.place.shown(), self.place.branch, self.prefix())
    }

    fn session(&self, snapshot: &Arc<Snapshot>, pushed_before: bool) -> Session {
        let (store, snapshot) = (self.clone(), snapshot.clone());
        let ground = Ground { store, snapshot: snapshot.clone(), staged: Vec::new(), pushed_before };
        Session::new(session::Ground::Git(ground), snapshot.head.clone())
    }

    pub(super) fn read<T>(
        &self,
        work: impl Fn(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut trouble = Patience::new(self.place.patience);
        loop {
            let snapshot = self.lock().snapshot(self, false);
            match snapshot.map(|(snapshot, _)| snapshot) {
                Ok(snapshot) => {
                    return work(&mut self.session(&snapshot, false)).map_err(|error| self.placed(error));
                }
                Err(error) => trouble.bear(error)?,
            }
        }
    }

    /// Decides and pushes, until the push lands or time is up.
    pub(super) fn write<T>(
        &self,
        work: impl Fn(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut patience = Patience::new(self.place.patience);
        let mut fresh = false;
        loop {
            let found = self.lock().snapshot(self, fresh);
            let (snapshot, is_new) = match found {
                Ok(found) => found,
                Err(error) => {
                    patience.bear(error)?;
                    continue;
                }
            };
            let mut session = self.session(&snapshot, patience.unsure);
            let result = work(&mut session);
            let (ground, head) = session.into_parts();
            let staged = match ground {
                session::Ground::Git(ground) => ground.staged,
                session::Ground::File(_) => Vec::new(),
            };
            if staged.is_empty() || result.is_err() {
                if is_new {
                    return result.map_err(|error| self.placed(error));
                }
                // What was decided on a tip of a moment ago, and changes nothing, is asked of the newest.
                fresh = true;
                continue;
            }
            snapshot.check_clock(self.now())?;
            fresh = true;
            let pushed = self.lock().push(self, &snapshot, &staged, head);
            match pushed {
                Ok(Pushed::Done) => {
                    if patience.losses > 0 {
                        // Others wait as well: whoever went on at once from a tip that only it knows would win
                        // every time.
                        self.lock().cached = None;
                    }
                    return result;
                }
                Ok(Pushed::Conflict) => patience.lose(&self.place)?,
                Err(error) => patience.bear(error)?,
            }
        }
    }

    pub(super) fn events(&self, since: Option<Timestamp>) -> Result<Events, StoreError> {
        let mut inner = self.lock();
        let (snapshot, _) = inner.snapshot(self, false)?;
        let (folder, scratch) = inner.view(self, &snapshot, since)?;
        let mut names = shards(&Disk::Machine, &folder)?;
        if let Some(since) = since {
            names = history::since(names, since);
        }
        Ok(Events::from_scratch(Lines::new(&Disk::Machine, &folder, names), since, scratch))
    }

    pub(super) fn verify(&self) -> Result<Verified, StoreError> {
        let mut inner = self.lock();
        let (snapshot, _) = inner.snapshot(self, true)?;
        inner.check_root(self, &snapshot)?;
        let (folder, _) = inner.view(self, &snapshot, None)?;
        let names = shards(&Disk::Machine, &folder)?;
        let count = names.len() as u64;
        let audit = audit(Lines::new(&Disk::Machine, &folder, names)).map_err(|error| self.placed(error))?;
        let head = match &snapshot.written {
            Ok(Some(head)) => audit.compare(&head.book).map_err(HeadProblem::from),
            Ok(None) if audit.events() == 0 => Ok(()),
            Ok(None) => Err(HeadProblem::Missing),
            Err(error) => Err(error.clone().into()),
        };
        Ok(Verified {
            events: audit.events(),
            holds: audit.holds(),
            live: audit.live(),
            shards: count,
            span: audit.span(),
            charged: audit.charged(),
            head,
            torn: false,
        })
    }

    /// The first commit of the branch, where there is one: what `ledger_root` in the budget file names.
    ///
    /// # Errors
    /// When the branch cannot be read.
    pub fn root(&self) -> Result<Option<String>, StoreError> {
        let (snapshot, _) = self.lock().snapshot(self, false)?;
        Ok(snapshot.root().map(str::to_owned))
    }

    /// Says where damage is in the branch, not in the folder that it was copied to.
    fn placed(&self, error: StoreError) -> StoreError {
        let named = |path: &std::path::Path| {
            let month = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            format!("{}:{}events/{month}", self.place.branch, self.prefix())
        };
        match error {
            StoreError::Damaged { path, line, what } => {
                RemoteError::Damaged { place: named(&path), line, what }.into()
            }
            StoreError::Newer { path, line, what } => {
                StoreError::Newer { path: named(&path).into(), line, what }
            }
            other => other,
        }
    }
}

impl Inner {
    fn repo(&mut self, place: &GitPlace) -> Result<&mut Repo, StoreError> {
        if self.repo.is_none() {
            place.check()?;
            self.repo = Some(Repo::new(place)?);
        }
        self.repo.as_mut().ok_or_else(|| {
            RemoteError::Program { what: "open", said: "its repository is not there".to_owned() }.into()
        })
    }

    /// The branch as it is, or as it was a moment ago, and whether it was asked for now.
    fn snapshot(&mut self, store: &GitStore, fresh: bool) -> Result<(Arc<Snapshot>, bool), StoreError> {
        if let (false, Some((snapshot, at))) = (fresh, &self.cached)
            && at.elapsed() < FRESH_FOR
        {
            return Ok((snapshot.clone(), false));
        }
        let place = &*store.place;
        let asked = Instant::now();
        let fetched = self.repo(place)?.fetch(place)?;
        let ahead = fetched.date.map(|date| date.duration_since(store.now()));
        let known = self.cached.take().map(|(snapshot, _)| snapshot);
        let snapshot = match known.filter(|known| known.tree.tip == fetched.tip) {
            Some(known) => Snapshot { ahead, ..(*known).clone() },
            None => self.load(store, fetched.tip, ahead)?,
        };
        self.check_seen(store, &snapshot)?;
        let snapshot = Arc::new(snapshot);
        self.cached = Some((snapshot.clone(), asked));
        Ok((snapshot, true))
    }

    fn push(
        &mut self,
        store: &GitStore,
        snapshot: &Snapshot,
        lines: &[(String, String)],
        head: Head,
    ) -> Result<Pushed, StoreError> {
        let place = &*store.place;
        let (first, last) = (snapshot.head.book.seq() + 1, head.book.seq());
        let what = if first == last { format!("event {first}") } else { format!("events {first} to {last}") };
        let message = format!("{}{what} [skip ci]", store.prefix());
        let (mut tree, changes) = snapshot.tree.with(&store.prefix(), lines, &head);
        let old = snapshot.tree.tip.as_deref();
        self.cached = None;
        let at = head.book.last_at().unwrap_or_default();
        let repo = self.repo(place)?;
        let commit = repo.commit(place, old, &message, at, &changes)?;
        if repo.push(place, old, &commit)? == Pushed::Conflict {
            return Ok(Pushed::Conflict);
        }
        tree.tip = Some(commit);
        let snapshot = Snapshot { tree, written: Ok(Some(head.clone())), head, ahead: snapshot.ahead };
        self.remember(store, &snapshot);
        self.cached = Some((Arc::new(snapshot), Instant::now()));
        Ok(Pushed::Done)
    }
}

/// How long and how often a store tries.
struct Patience {
    started: Instant,
    most: Duration,
    losses: u32,
    breakdowns: u32,
    /// A push broke down: it may have arrived.
    unsure: bool,
}

impl Patience {
    fn new(most: Duration) -> Self {
        Self { started: Instant::now(), most, losses: 0, breakdowns: 0, unsure: false }
    }

    /// After a loss: waits, or gives up.
    fn lose(&mut self, place: &GitPlace) -> Result<(), StoreError> {
        self.losses += 1;
        if self.started.elapsed() >= self.most {
            let (tries, waited) = (self.losses, self.started.elapsed());
            return Err(RemoteError::Busy { remote: place.shown(), tries, waited }.into());
        }
        pause(PAUSE_MAX * PAUSE_HALVED_AFTER / (PAUSE_HALVED_AFTER + self.losses - 1));
        Ok(())
    }

    /// After an error: waits where the network may be better in a moment, and returns any other.
    fn bear(&mut self, error: StoreError) -> Result<(), StoreError> {
        let StoreError::Git(RemoteError::Network { remote, said, unsure }) = error else { return Err(error) };
        self.breakdowns += 1;
        self.unsure |= unsure;
        if self.breakdowns >= BREAKDOWNS_MAX || self.started.elapsed() >= self.most {
            return Err(RemoteError::Network { remote, said, unsure: self.unsure }.into());
        }
        pause(PAUSE_MAX);
        Ok(())
    }
}

/// Sleeps for a random part of `most`.
#[expect(
    clippy::disallowed_methods,
    reason = "the ledger is synchronous: its callers keep it off the runtime"
)]
fn pause(most: Duration) {
    let mut random = [0_u8; 2];
    // Without randomness everybody waits the longest: slow, and right.
    let part = getrandom::fill(&mut random).map_or(u16::MAX, |()| u16::from_le_bytes(random));
    std::thread::sleep(most * u32::from(part) / u32::from(u16::MAX));
}
