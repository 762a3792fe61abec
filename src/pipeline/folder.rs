//! The run's folder: its journal, its results, and the lock by which the next command knows that it died.

//!
//! An agent runs as the same user, so whatever lies here may have been replaced by it: by a link to
//! somewhere else, or by a pipe that nobody ever writes to. Files are opened so that neither matters.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::id::{self, HoldId};

/// Finished runs whose folders are kept.
const KEPT: usize = 20;
/// The longest file of a dead run that is read: a journal has a few hundred bytes a request.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A folder of one run, below `runs/` of the state folder, mode 0700.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    nonce: String,
    /// Held for as long as the run lives; the system lets go of it when the process dies.
    lock: File,
}

/// While this is there, a process that is started has the lock as well, and keeps it when this one ends.
#[derive(Debug)]
pub struct Shared<'a>(&'a File);

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        // It closes with the process at the latest.
        let _ = fcntl_setfd(self.0, FdFlags::CLOEXEC);
    }
}

/// What the folder remembers of its run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The run's hold on the ledger.
    pub hold: HoldId,
    /// When it started.
    pub started: Timestamp,
    /// The hold is settled.
    pub finished: bool,
}

impl RunFolder {
    /// Makes a new folder below `state`, and takes its lock.
    ///
    /// # Errors
    /// When the folder cannot be made or locked.
    pub fn create(state: &Path) -> io::Result<Self> {
        let nonce = id::random_hex(8);
        let path = state.join("runs").join(&nonce);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        hide_from_git(state)?;
        let lock = new_file(&path.join("lock"))?;
        // Another process that looks for dead runs may hold it for a moment: that is waited for.
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { path, nonce, lock })
    }

    /// The folder of a run that has been left by its process, or is about to be; `None` while that still
    /// has the lock.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn take_over(path: &Path) -> io::Result<Option<Self>> {
        let lock = open(&path.join("lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let nonce = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(Self { path: path.to_owned(), nonce, lock }))
    }

    /// Lets the processes that are started while the returned value is there keep the run alive.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn share(&self) -> io::Result<Shared<'_>> {
        fcntl_setfd(&self.lock, FdFlags::empty())?;
        Ok(Shared(&self.lock))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The random part of the run's key.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Remembers that the run's hold is closed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn closed(&self, hold: &HoldId, started: Timestamp) -> io::Result<()> {
        self.remember(&Record { hold: hold.clone(), started, finished: true })
    }

    /// Remembers the run, or that it is finished. Written beside and renamed: never half there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn remember(&self, record: &Record) -> io::Result<()> {
        remember(&self.path, record)
    }
}

/// The state folder ignores itself: nobody should commit a ledger by accident.
fn hide_from_git(state: &Path) -> io::Result<()> {
    let ignore = state.join(".gitignore");
    if ignore.exists() { Ok(()) } else { fs::write(ignore, "*\n") }
}

fn remember(folder: &Path, record: &Record) -> io::Result<()> {
    let text = serde_json::to_string(record)?;
    let beside = folder.join("run.json.new");
    write(&beside, text.as_bytes())?;
    fs::rename(beside, folder.join("run.json"))
}

/// Writes a file that is new, whatever was in its place.
///
/// # Errors
/// When what is there cannot be removed, or the file cannot be written.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    new_file(path)?.write_all(content)
}

fn new_file(path: &Path) -> io::Result<File> {
    // What cannot be removed makes the next step fail, and says why.
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file to read that is one.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Reads a file that is one, as far as any of ours can be long.
///
/// # Errors
/// When it is none, or cannot be read.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A run that died before it settled.
#[derive(Debug)]
pub struct DeadRun {
    /// What its folder remembers.
    pub record: Record,
    folder: PathBuf,
    _lock: File,
}

impl DeadRun {
    /// The text of its journal, as far as it was written.
    #[must_use]
    pub fn journal(&self) -> Vec<u8> {
        read(&self.folder.join("journal")).unwrap_or_default()
    }

    /// Its hold is settled now.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn finished(mut self) -> io::Result<()> {
        self.record.finished = true;
        remember(&self.folder, &self.record)
    }
}

/// Runs below `state` that took a hold, did not settle it, and are not alive any more.
///
/// Also clears away the folders of all but the newest finished runs.
///
/// # Errors
/// When the state folder cannot be read.
pub fn dead_runs(state: &Path) -> io::Result<Vec<DeadRun>> {
    let mut dead = Vec::new();
    let mut finished = Vec::new();
    let entries = match fs::read_dir(state.join("runs")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(dead),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let folder = entry?.path();
        let Ok(lock) = open(&folder.join("lock")) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue; // Alive.
        }
        let record = read(&folder.join("run.json")).ok();
        match record.and_then(|text| serde_json::from_slice::<Record>(&text).ok()) {
            Some(record) if !record.finished => dead.push(DeadRun { record, folder, _lock: lock }),
            Some(record) => finished.push((record.started, folder)),
            None => {} // It died before it asked for a hold.
        }
    }
    finished.sort();
    for (_, folder) in finished.iter().rev().skip(KEPT) {
        // Housekeeping: a folder that cannot be removed now is removed by a later run.
        let _ = fs::remove_dir_all(folder);
    }
    Ok(dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(finished: bool) -> Record {
        Record { hold: HoldId::from_text("local/x/1"), started: Timestamp::UNIX_EPOCH, finished }
    }

    #[test]
    fn a_run_is_dead_when_its_lock_is_free_and_its_hold_is_open() {
        let state = tempfile::tempdir().expect("a folder");
        assert!(dead_runs(state.path()).expect("readable").is_empty(), "no runs yet");
        let alive = RunFolder::create(state.path()).expect("a folder");
        alive.remember(&record(false)).expect("written");
        assert!(dead_runs(state.path()).expect("readable").is_empty(), "it is alive");
        fs::write(alive.path().join("journal"), "x").expect("written");
        drop(alive);
        let mut dead = dead_runs(state.path()).expect("readable");
        assert_eq!(dead.len(), 1);
        let dead = dead.pop().expect("one");
        assert_eq!(dead.journal(), b"x");
        dead.finished().expect("written");
        assert!(dead_runs(state.path()).expect("readable").is_empty(), "settled");
    }

    #[test]
    fn only_the_newest_finished_folders_are_kept() {
        let state = tempfile::tempdir().expect("a folder");
        for _ in 0..KEPT + 3 {
            RunFolder::create(state.path()).and_then(|run| run.remember(&record(true))).expect("a run");
        }
        dead_runs(state.path()).expect("readable");
        assert_eq!(fs::read_dir(state.path().join("runs")).expect("readable").count(), KEPT);
    }
}
