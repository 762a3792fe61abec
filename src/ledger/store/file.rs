//! The file store: a folder with a lock, a shard of events a month, and the head.
//!
//! ```text
//! .tollgate/lock                      flock; names the process that writes
//! .tollgate/head.json                 the book, replaced by rename
//! .tollgate/events/2026-11.jsonl      one event a line, only ever appended to
//! .tollgate/simulate/…                a namespace: a ledger of its own
//! ```
//! A write appends its lines and makes them durable before it replaces the head, so the head is never
//! ahead of the events. A head that is behind catches up; one that is lost is made again. An unfinished
//! last line was never acknowledged, and is cut off under the lock. Any other damage stops everything.
//!
//! Lines that the head does not know were perhaps never made durable: their writer was ended before its
//! sync, or the sync failed, which the kernel says once and never again. Whoever writes next writes them
//! anew and syncs them, before it builds on them or answers from them.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::disk::Disk;
use super::history::{self, Events, Lines, Shard, shards};
use super::lock::Lock;
use super::session::{self, Session};
use super::{Damage, HeadProblem, Options, StoreError, Verified, audit};
use crate::ledger::commit::{Commit, Head, HeadError};
use crate::ledger::event::LineHash;

/// The longest head that is read: far above what the bounds of a book allow.
const HEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What is set aside for a head, so that it is read at once: a full one has some 65,000.
const HEAD_BYTES_USUAL: usize = 96 * 1024;
/// Lines that the head does not know are written anew in pieces of this size.
const PIECE_BYTES: u64 = 1024 * 1024;

/// A ledger in a folder.
#[derive(Clone, Debug)]
pub struct FileStore {
    pub(super) disk: Disk,
    pub(super) folder: PathBuf,
    options: Options,
    /// A write may not have reached the disk, and asking the same kernel again would not tell.
    poisoned: Arc<AtomicBool>,
}

/// Lines of a shard that the head does not know.
#[derive(Debug)]
pub(super) struct Tail {
    shard: String,
    from: u64,
    to: u64,
    /// An unfinished line follows.
    torn: bool,
}

impl FileStore {
    pub(super) fn open(disk: Disk, folder: &Path, options: Options) -> Result<Self, StoreError> {
        let store = Self::new(disk, folder, options);
        let events = store.events_folder();
        if !store.disk.is_folder(&events) {
            store.disk.make_folder(&events).map_err(StoreError::io("make", &events))?;
        }
        store.check_file_system()?;
        Ok(store)
    }

    pub(super) fn open_existing(disk: Disk, folder: &Path, options: Options) -> Result<Self, StoreError> {
        let store = Self::new(disk, folder, options);
        if !store.disk.is_folder(&store.events_folder()) {
            return Err(StoreError::Missing(store.folder));
        }
        store.check_file_system()?;
        Ok(store)
    }

    fn new(disk: Disk, folder: &Path, options: Options) -> Self {
        let folder = match &options.namespace {
            Some(name) => folder.join(name),
            None => folder.to_owned(),
        };
        Self { disk, folder, options, poisoned: Arc::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn events_folder(&self) -> PathBuf {
        self.folder.join("events")
    }

    pub(super) fn head_path(&self) -> PathBuf {
        self.folder.join("head.json")
    }

    #[cfg(target_os = "linux")]
    fn check_file_system(&self) -> Result<(), StoreError> {
        if !matches!(self.disk, Disk::Machine) {
            return Ok(());
        }
        let stat = rustix::fs::statfs(&self.folder).map_err(std::io::Error::from);
        let stat = stat.map_err(StoreError::io("look at", &self.folder))?;
        // The numbers are those of statfs(2).
        let kind = match stat.f_type {
            0x6969 => "NFS",
            0x517B | 0xFF53_4D42 | 0xFE53_4D42 => "SMB",
            0x5346_414F | 0x6B41_4653 => "AFS",
            0x00C3_6400 => "Ceph",
            _ => return Ok(()),
        };
        if self.options.allow_network {
            return Ok(());
        }
        Err(StoreError::Network { path: self.folder.clone(), kind })
    }

    #[cfg(not(target_os = "linux"))]
    fn check_file_system(&self) -> Result<(), StoreError> {
        Ok(())
    }

    pub(super) fn begin_write(&self) -> Result<Session, StoreError> {
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned);
        }
        let lock = self.lock(true)?;
        self.session(lock, true)
    }

    pub(super) fn begin_read(&self) -> Result<Session, StoreError> {
        let lock = self.lock(false)?;
        self.session(lock, false)
    }

    pub(super) fn lock(&self, exclusive: bool) -> Result<Option<Lock>, StoreError> {
        self.disk.lock(&self.folder, self.options.lock_wait, exclusive)
    }

    pub(super) fn events(&self, since: Option<Timestamp>) -> Result<Events, StoreError> {
        let folder = self.events_folder();
        let mut names = shards(&self.disk, &folder)?;
        if let Some(since) = since {
            names = history::since(names, since);
        }
        Ok(Events::new(Lines::new(&self.disk, &folder, names), since))
    }

    pub(super) fn verify(&self) -> Result<Verified, StoreError> {
        let _lock = self.lock(false)?;
        let folder = self.events_folder();
        let names = shards(&self.disk, &folder)?;
        let count = names.len() as u64;
        let mut lines = Lines::new(&self.disk, &folder, names);
        let audit = audit(&mut lines)?;
        let head = match self.read_head()? {
            Ok(Some(head)) => {
                // The head may be behind, which is no damage: it is compared after catching up.
                let mut head = head;
                self.catch_up(&mut head)?;
                audit.compare(&head.book).map_err(HeadProblem::from)
            }
            Ok(None) if audit.events() == 0 => Ok(()),
            Ok(None) => Err(HeadProblem::Missing),
            Err(error) => Err(error.into()),
        };
        Ok(Verified {
            events: audit.events(),
            holds: audit.holds(),
            live: audit.live(),
            shards: count,
            span: audit.span(),
            charged: audit.charged(),
            head,
            torn: lines.torn(),
        })
    }

    /// The book as it stands now. A writer cuts an unfinished last line off, and makes sure of the lines
    /// that the head does not know.
    fn session(&self, lock: Option<Lock>, writes: bool) -> Result<Session, StoreError> {
        let head = self.read_head()?;
        self.session_with(head, lock, writes)
    }

    /// As [`FileStore::session`], with what was read of the head, or is to be taken for that.
    pub(super) fn session_with(
        &self,
        head: Result<Option<Head>, HeadError>,
        lock: Option<Lock>,
        writes: bool,
    ) -> Result<Session, StoreError> {
        let (mut head, rebuilt) = match head {
            Ok(Some(head)) => (head, false),
            Err(error @ HeadError::UnknownVersion(_)) => {
                return Err(StoreError::Newer { path: self.head_path(), line: 1, what: error.to_string() });
            }
            Ok(None) | Err(HeadError::Damaged | HeadError::Outdated(_)) => (self.rebuild()?, true),
        };
        let mut tails = self.catch_up(&mut head)?;
        if rebuilt && !tails.iter().any(|tail| tail.shard == head.shard) && head.book.seq() > 0 {
            tails.push(Tail { shard: head.shard.clone(), from: 0, to: head.bytes, torn: false });
        }
        let ground = Ground { store: self.clone(), _lock: lock };
        if writes && !tails.is_empty() {
            for tail in &tails {
                // Without a head, nobody knows how much of the newest shard is sure.
                self.make_sure_of(tail, if rebuilt { 0 } else { tail.from })?;
            }
            let _ = ground.replace_head(&head);
        }
        Ok(Session::new(session::Ground::File(ground), head))
    }

    /// Writes lines anew as they are read, from `from` on, and makes them durable.
    fn make_sure_of(&self, tail: &Tail, from: u64) -> Result<(), StoreError> {
        let path = self.events_folder().join(&tail.shard);
        let mut file = self.disk.write(&path).map_err(StoreError::io("write again", &path))?;
        if tail.torn {
            file.set_len(tail.to).map_err(StoreError::io("cut the unfinished last line off", &path))?;
        }
        let mut at = from;
        while at < tail.to {
            let mut piece = vec![0; usize::try_from(PIECE_BYTES.min(tail.to - at)).unwrap_or(0)];
            let copied = self.disk.open(&path).and_then(|mut old| {
                old.seek(SeekFrom::Start(at))?;
                old.read_exact(&mut piece)?;
                file.seek(SeekFrom::Start(at))?;
                file.write_all(&piece)
            });
            copied.map_err(StoreError::io("write again", &path))?;
            at += piece.len() as u64;
        }
        self.durable(&path, file.sync().and_then(|()| if from == 0 { self.sync_folders() } else { Ok(()) }))
    }

    /// Takes note of a sync that failed: this process writes no more.
    pub(super) fn durable(&self, path: &Path, synced: std::io::Result<()>) -> Result<(), StoreError> {
        synced.map_err(|source| {
            self.poisoned.store(true, Ordering::SeqCst);
            StoreError::NotDurable { path: path.to_owned(), source }
        })
    }

    /// Makes the names of the shards durable, and those of the folders that lead to them: any of them may
    /// have been made by a process that was ended before it could.
    fn sync_folders(&self) -> std::io::Result<()> {
        let events = self.events_folder();
        self.disk.sync_folder(&events)?;
        self.disk.sync_folder(&self.folder)?;
        for above in self.folder.ancestors().skip(1) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            match self.disk.sync_folder(above) {
                // Whoever may not read it has not made anything in it.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                result => result?,
            }
        }
        Ok(())
    }

    pub(super) fn read_head(&self) -> Result<Result<Option<Head>, HeadError>, StoreError> {
        let path = self.head_path();
        let mut text = String::with_capacity(HEAD_BYTES_USUAL);
        let read = self.disk.open(&path).and_then(|file| file.take(HEAD_BYTES_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => Ok(Head::decode(&text).map(Some)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ok(None)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(Err(HeadError::Damaged)),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// The head, made from all events.
    fn rebuild(&self) -> Result<Head, StoreError> {
        let folder = self.events_folder();
        let mut end = (String::new(), 0, 0, 0);
        let lines = Lines::new(&self.disk, &folder, shards(&self.disk, &folder)?).inspect(|next| {
            let Ok((place, _)) = next else { return };
            let name = place.path.file_name().map(|name| name.to_string_lossy().into_owned());
            let bytes = if name.as_deref() == Some(end.0.as_str()) { end.1 } else { 0 };
            end = (name.unwrap_or_default(), bytes + place.bytes + 1, place.line, place.bytes + 1);
        });
        let book = audit(lines)?.into_book();
        Ok(Head::at(book, end.0, end.1, end.2, end.3))
    }

    /// Takes in what was written after the head, and says what that was.
    pub(super) fn catch_up(&self, head: &mut Head) -> Result<Vec<Tail>, StoreError> {
        let folder = self.events_folder();
        self.check_last_line(head)?;
        let mut names = shards(&self.disk, &folder)?;
        names.retain(|name| *name >= head.shard);
        let mut tails = Vec::new();
        let mut buffer = Vec::new();
        let count = names.len();
        for (index, name) in names.into_iter().enumerate() {
            let path = folder.join(&name);
            let (from, line) = if name == head.shard { (head.bytes, head.lines) } else { (0, 0) };
            let mut shard = Shard::open(&self.disk, &path, from, line, index + 1 == count)?;
            while let Some((place, line)) = shard.next_line(&mut buffer)? {
                let advanced = head.advance(&name, &line, place.bytes);
                advanced.map_err(|discord| StoreError::line(place.path, place.line, discord))?;
            }
            let (to, torn) = (shard.offset(), shard.torn_at().is_some());
            if to > from || torn {
                tails.push(Tail { shard: name, from, to, torn });
            }
        }
        Ok(tails)
    }

    /// Whether the line the head ends with is still the one it has seen.
    fn check_last_line(&self, head: &Head) -> Result<(), StoreError> {
        if head.book.seq() == 0 {
            return Ok(());
        }
        let path = self.events_folder().join(&head.shard);
        let mut last = vec![0; usize::try_from(head.last_line_bytes).unwrap_or(0)];
        let read = self.disk.open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(head.bytes - head.last_line_bytes))?;
            file.read_exact(&mut last)
        });
        match read {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound
                ) =>
            {
                return Err(StoreError::line(path, head.lines, Damage::Short));
            }
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        }
        let ends = last.pop() == Some(b'\n');
        if !ends || LineHash::of(&last) != *head.book.hash() {
            return Err(StoreError::line(path, head.lines, Damage::Changed));
        }
        Ok(())
    }
}

/// What a transaction on a folder stands on: its lock.
#[derive(Debug)]
pub(super) struct Ground {
    store: FileStore,
    _lock: Option<Lock>,
}

impl Ground {
    pub(super) fn now(&self) -> Timestamp {
        self.store.now()
    }

    pub(super) fn events(&self) -> (Disk, PathBuf) {
        (self.store.disk.clone(), self.store.events_folder())
    }

    /// Lines first, durably, then the head.
    pub(super) fn put(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut rest = commit.lines.as_slice();
        while let Some((shard, _)) = rest.first() {
            let count = rest.iter().take_while(|(name, _)| name == shard).count();
            let text: String = rest[..count].iter().flat_map(|(_, line)| [line.as_str(), "\n"]).collect();
            self.append(shard, text.as_bytes())?;
            rest = &rest[count..];
        }
        // The events are durable, and decide. A head that could not be replaced is behind, and catches
        // up; to report that as a failure would deny what has happened.
        let _ = self.replace_head(&commit.head);
        Ok(())
    }

    fn append(&self, shard: &str, text: &[u8]) -> Result<(), StoreError> {
        let store = &self.store;
        let path = store.events_folder().join(shard);
        let mut file = store.disk.append(&path).map_err(StoreError::io("append to", &path))?;
        let before = file.len().map_err(StoreError::io("append to", &path))?;
        if let Err(error) = file.write_all(text) {
            // Best effort: what stays behind is an unfinished line, which the next writer cuts off.
            let _ = file.set_len(before);
            return Err(StoreError::io("append to", &path)(error));
        }
        // A shard that is empty may have been made by a process that was ended before it could sync its name.
        let synced = file.sync().and_then(|()| if before == 0 { store.sync_folders() } else { Ok(()) });
        store.durable(&path, synced)
    }

    fn replace_head(&self, head: &Head) -> std::io::Result<()> {
        let disk = &self.store.disk;
        let temporary = self.store.folder.join("head.json.new");
        let mut file = disk.create(&temporary)?;
        file.write_all(head.encode().as_bytes())?;
        file.sync()?;
        disk.rename(&temporary, &self.store.head_path())
    }
}
