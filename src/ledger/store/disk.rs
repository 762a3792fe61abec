//! The file system as a file ledger uses it: every call that can fail, and nothing else.
//!
//! There is one, the machine's. The tests bring a second, in memory, that fails or loses power at any call
//! and any byte (`tests/faulty.rs`); outside of tests the enums have one variant, and cost nothing. A
//! git ledger's scratch folder is always on the machine's.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use super::lock::Lock;
use super::{StoreError, plain};
#[cfg(test)]
use crate::ledger::tests::faulty;

/// Where the files are.
#[derive(Clone, Debug, Default)]
pub(crate) enum Disk {
    /// On the machine's file system.
    #[default]
    Machine,
    /// In memory, with faults.
    #[cfg(test)]
    Faulty(faulty::Disk),
}

impl Disk {
    pub(super) fn is_folder(&self, path: &Path) -> bool {
        match self {
            Self::Machine => path.is_dir(),
            #[cfg(test)]
            Self::Faulty(disk) => disk.is_folder(path),
        }
    }

    /// Makes a folder and those above it that are missing; each is readable for its owner only.
    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Machine => DirBuilder::new().recursive(true).mode(0o700).create(path),
            #[cfg(test)]
            Self::Faulty(disk) => disk.make_folder(path),
        }
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Machine => File::open(path)?.sync_all(),
            #[cfg(test)]
            Self::Faulty(disk) => disk.sync_folder(path),
        }
    }

    /// The names in a folder, in no order; those that are no text are left out.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self {
            Self::Machine => {
                let names = std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
                names.filter_map(Result::transpose).collect()
            }
            #[cfg(test)]
            Self::Faulty(disk) => disk.list(path),
        }
    }

    /// Opens a file to read.
    pub(super) fn open(&self, path: &Path) -> io::Result<DiskFile> {
        self.open_with(OpenOptions::new().read(true), path, Use::Read)
    }

    /// Opens a file to append to, and makes it where it is missing.
    pub(super) fn append(&self, path: &Path) -> io::Result<DiskFile> {
        self.open_with(OpenOptions::new().append(true).create(true).mode(0o600), path, Use::Append)
    }

    /// Opens a file that is there, to write in it.
    pub(super) fn write(&self, path: &Path) -> io::Result<DiskFile> {
        self.open_with(OpenOptions::new().write(true), path, Use::Write)
    }

    /// Makes a file that is empty.
    pub(super) fn create(&self, path: &Path) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        self.open_with(&mut options, path, Use::Create)
    }

    fn open_with(&self, options: &mut OpenOptions, path: &Path, how: Use) -> io::Result<DiskFile> {
        // For the disk in memory, which knows no options.
        let _ = how;
        match self {
            Self::Machine => plain::open_with(options, path).map(DiskFile::Machine),
            #[cfg(test)]
            Self::Faulty(disk) => disk.open(path, how).map(DiskFile::Faulty),
        }
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            Self::Machine => std::fs::rename(from, to),
            #[cfg(test)]
            Self::Faulty(disk) => disk.rename(from, to),
        }
    }

    /// Removes a file.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Machine => std::fs::remove_file(path),
            #[cfg(test)]
            Self::Faulty(disk) => disk.remove(path),
        }
    }

    /// Locks a ledger's folder. A disk in memory belongs to one process, and needs no lock.
    pub(super) fn lock(
        &self,
        folder: &Path,
        wait: Duration,
        exclusive: bool,
    ) -> Result<Option<Lock>, StoreError> {
        match self {
            Self::Machine => Lock::take(folder, wait, exclusive).map(Some),
            #[cfg(test)]
            Self::Faulty(_) => Ok(None),
        }
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be read.
    Read,
    /// To be written at its end, and made where it is missing.
    Append,
    /// To be written anywhere.
    Write,
    /// To be written from its beginning, with nothing in it.
    Create,
}

/// An open file.
#[derive(Debug)]
pub(crate) enum DiskFile {
    /// On the machine's file system.
    Machine(File),
    /// In memory, with faults.
    #[cfg(test)]
    Faulty(faulty::OpenFile),
}

impl DiskFile {
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Machine(file) => Ok(file.metadata()?.len()),
            #[cfg(test)]
            Self::Faulty(file) => file.len(),
        }
    }

    pub(super) fn set_len(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Machine(file) => file.set_len(bytes),
            #[cfg(test)]
            Self::Faulty(file) => file.set_len(bytes),
        }
    }

    /// Makes the file's content durable. After an error nobody knows what is, and to ask again would not
    /// tell: the kernel forgets that it has lost something once it has said so.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Self::Machine(file) => file.sync_data(),
            #[cfg(test)]
            Self::Faulty(file) => file.sync(),
        }
    }
}

impl Read for DiskFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Machine(file) => file.read(buffer),
            #[cfg(test)]
            Self::Faulty(file) => file.read(buffer),
        }
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Machine(file) => file.write(bytes),
            #[cfg(test)]
            Self::Faulty(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for DiskFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Machine(file) => file.seek(to),
            #[cfg(test)]
            Self::Faulty(file) => file.seek(to),
        }
    }
}
