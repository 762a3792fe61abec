//! The lock of a file ledger: `flock` on a file that names its holder.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::{StoreError, plain};

/// How long to sleep between two attempts: short, so that a waiter is not starved by busy processes.
const PAUSE: Duration = Duration::from_millis(2);

/// Who holds a lock, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The process with this id took it to write.
    Process(u32),
    /// Somebody, perhaps several readers.
    Unnamed,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Process(id) => write!(f, "process {id}"),
            Holder::Unnamed => f.write_str("another process"),
        }
    }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    exclusive: bool,
}

impl Lock {
    /// Takes the lock to write, or to read, together with other readers.
    pub(super) fn take(folder: &Path, wait: Duration, exclusive: bool) -> Result<Self, StoreError> {
        let path = folder.join("lock");
        let operation = if exclusive {
            FlockOperation::NonBlockingLockExclusive
        } else {
            FlockOperation::NonBlockingLockShared
        };
        let started = Instant::now();
        let file = loop {
            let file = open(&path, exclusive).map_err(StoreError::io("open", &path))?;
            match flock(&file, operation) {
                // A ledger that was cleared away meanwhile has another lock now, if it has any.
                Ok(()) if is_at(&file, &path) => break file,
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(StoreError::io("lock", &path)(error.into())),
            }
            if started.elapsed() >= wait {
                let holder = holder(&path);
                return Err(StoreError::Locked { path: folder.to_owned(), holder, waited: wait });
            }
            pause();
        };
        let mut lock = Self { file, exclusive };
        lock.sign(&std::process::id().to_string());
        Ok(lock)
    }

    /// Writes who holds the lock, for messages only: that it fails changes nothing.
    fn sign(&mut self, name: &str) {
        if self.exclusive {
            let _ = self.file.set_len(0).and_then(|()| self.file.write_all(name.as_bytes()));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.exclusive {
            let _ = self.file.set_len(0);
        }
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Opens the lock's file, which is made where there is none. A reader does with one that it may only read.
fn open(path: &Path, exclusive: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    match plain::open_with(&mut options, path) {
        Err(error)
            if !exclusive
                && matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) =>
        {
            plain::open(path)
        }
        opened => opened,
    }
}

/// Whether a file is the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn holder(path: &Path) -> Holder {
    let mut text = String::new();
    let read = plain::open(path).and_then(|file| file.take(20).read_to_string(&mut text));
    match read.ok().and_then(|_| text.trim().parse().ok()) {
        Some(id) => Holder::Process(id),
        None => Holder::Unnamed,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the ledger is synchronous: its callers keep it off the runtime"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}
