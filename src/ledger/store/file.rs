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

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::history::{self, Events, Lines, Shard, shards};
use super::lock::Lock;
use super::session::{self, Session};
use super::{Damage, HeadProblem, Options, StoreError, Verified, audit, plain};
use crate::ledger::commit::{Commit, Head, HeadError};
use crate::ledger::event::LineHash;

/// The longest head that is read: far above what the bounds of a book allow.
const HEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A ledger in a folder.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: PathBuf,
    options: Options,
    /// A write may not have reached the disk, and asking the same kernel again would not tell.
    poisoned: Arc<AtomicBool>,
}

impl FileStore {
    pub(super) fn open(folder: &Path, options: Options) -> Result<Self, StoreError> {
        let store = Self::new(folder, options);
        let events = store.events_folder();
        if !events.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&events)
                .map_err(StoreError::io("make", &events))?;
            for made in [&events, &store.folder] {
                sync_folder(made)?;
            }
            if let Some(parent) = store.folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_folder(parent)?;
            }
        }
        store.check_file_system()?;
        Ok(store)
    }

    pub(super) fn open_existing(folder: &Path, options: Options) -> Result<Self, StoreError> {
        let store = Self::new(folder, options);
        if !store.events_folder().is_dir() {
            return Err(StoreError::Missing(store.folder));
        }
        store.check_file_system()?;
        Ok(store)
    }

    fn new(folder: &Path, options: Options) -> Self {
        let folder = match &options.namespace {
            Some(name) => folder.join(name),
            None => folder.to_owned(),
        };
        Self { folder, options, poisoned: Arc::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    fn events_folder(&self) -> PathBuf {
        self.folder.join("events")
    }

    fn head_path(&self) -> PathBuf {
        self.folder.join("head.json")
    }

    #[cfg(target_os = "linux")]
    fn check_file_system(&self) -> Result<(), StoreError> {
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
        let lock = Lock::exclusive(&self.folder, self.options.lock_wait)?;
        self.session(lock, true)
    }

    pub(super) fn begin_read(&self) -> Result<Session, StoreError> {
        let lock = Lock::shared(&self.folder, self.options.lock_wait)?;
        self.session(lock, false)
    }

    pub(super) fn events(&self, since: Option<Timestamp>) -> Result<Events, StoreError> {
        let folder = self.events_folder();
        let mut names = shards(&folder)?;
        if let Some(since) = since {
            names = history::since(names, since);
        }
        Ok(Events::new(Lines::new(&folder, names), since))
    }

    pub(super) fn verify(&self) -> Result<Verified, StoreError> {
        let _lock = Lock::shared(&self.folder, self.options.lock_wait)?;
        let folder = self.events_folder();
        let names = shards(&folder)?;
        let count = names.len() as u64;
        let mut lines = Lines::new(&folder, names);
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

    /// The book as it stands now. A writer cuts an unfinished last line off.
    fn session(&self, lock: Lock, writes: bool) -> Result<Session, StoreError> {
        let mut head = match self.read_head()? {
            Ok(Some(head)) => head,
            Err(error @ HeadError::UnknownVersion(_)) => {
                return Err(StoreError::Newer { path: self.head_path(), line: 1, what: error.to_string() });
            }
            Ok(None) | Err(HeadError::Damaged) => self.rebuild()?,
        };
        let torn = self.catch_up(&mut head)?;
        if let Some((path, length)) = torn.filter(|_| writes) {
            let cut = plain::open_with(OpenOptions::new().write(true), &path).and_then(|file| {
                file.set_len(length)?;
                file.sync_all()
            });
            cut.map_err(StoreError::io("cut the unfinished last line off", &path))?;
        }
        Ok(Session::new(session::Ground::File(Ground { store: self.clone(), _lock: lock }), head))
    }

    fn read_head(&self) -> Result<Result<Option<Head>, HeadError>, StoreError> {
        let path = self.head_path();
        let mut text = String::new();
        let read = plain::open(&path).and_then(|file| file.take(HEAD_BYTES_MAX).read_to_string(&mut text));
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
        let lines = Lines::new(&folder, shards(&folder)?).inspect(|next| {
            let Ok((place, _)) = next else { return };
            let name = place.path.file_name().map(|name| name.to_string_lossy().into_owned());
            let bytes = if name.as_deref() == Some(end.0.as_str()) { end.1 } else { 0 };
            end = (name.unwrap_or_default(), bytes + place.bytes + 1, place.line, place.bytes + 1);
        });
        let book = audit(lines)?.into_book();
        Ok(Head::at(book, end.0, end.1, end.2, end.3))
    }

    /// Takes in what was written after the head. Returns the shard with an unfinished last line, and its
    /// length without it.
    fn catch_up(&self, head: &mut Head) -> Result<Option<(PathBuf, u64)>, StoreError> {
        let folder = self.events_folder();
        self.check_last_line(head)?;
        let mut names = shards(&folder)?;
        names.retain(|name| *name >= head.shard);
        let mut torn = None;
        let mut buffer = Vec::new();
        let count = names.len();
        for (index, name) in names.into_iter().enumerate() {
            let path = folder.join(&name);
            let (offset, line) = if name == head.shard { (head.bytes, head.lines) } else { (0, 0) };
            let mut shard = Shard::open(&path, offset, line, index + 1 == count)?;
            while let Some((place, line)) = shard.next_line(&mut buffer)? {
                let advanced = head.advance(&name, &line, place.bytes);
                advanced.map_err(|discord| StoreError::line(place.path, place.line, discord))?;
            }
            torn = shard.torn_at().map(|at| (path, at));
        }
        Ok(torn)
    }

    /// Whether the line the head ends with is still the one it has seen.
    fn check_last_line(&self, head: &Head) -> Result<(), StoreError> {
        if head.book.seq() == 0 {
            return Ok(());
        }
        let path = self.events_folder().join(&head.shard);
        let mut last = vec![0; usize::try_from(head.last_line_bytes).unwrap_or(0)];
        let read = plain::open(&path).and_then(|mut file| {
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
    _lock: Lock,
}

impl Ground {
    pub(super) fn now(&self) -> Timestamp {
        self.store.now()
    }

    pub(super) fn events_folder(&self) -> PathBuf {
        self.store.events_folder()
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
        let folder = self.store.events_folder();
        let path = folder.join(shard);
        let is_new = !path.exists();
        let file = plain::open_with(OpenOptions::new().append(true).create(true).mode(0o600), &path);
        let mut file = file.map_err(StoreError::io("append to", &path))?;
        let before = file.metadata().map_err(StoreError::io("append to", &path))?.len();
        if let Err(error) = file.write_all(text) {
            // Best effort: what stays behind is an unfinished line, which the next writer cuts off.
            let _ = file.set_len(before);
            return Err(StoreError::io("append to", &path)(error));
        }
        let durable = file.sync_data().and_then(|()| match is_new {
            true => File::open(&folder)?.sync_all(),
            false => Ok(()),
        });
        durable.map_err(|source| {
            self.store.poisoned.store(true, Ordering::SeqCst);
            StoreError::NotDurable { path, source }
        })
    }

    fn replace_head(&self, head: &Head) -> std::io::Result<()> {
        let temporary = self.store.folder.join("head.json.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = plain::open_with(&mut options, &temporary)?;
        file.write_all(head.encode().as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&temporary, self.store.head_path())
    }
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", folder))
}
