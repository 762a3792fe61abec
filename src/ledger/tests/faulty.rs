//! A disk in memory that loses power, fills up and fails, at any call and any byte.
//!
//! It tells what programs see (the kernel's memory) from what would be there after a power cut. Every change
//! goes into a record; from a stretch of the record, [`Record::crash`] makes the disk that the next start
//! finds. A sync that fails drops what it was to write: programs go on seeing it, a power cut takes it, and
//! no later sync brings it back. That is what Linux does.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::ledger::store::Use;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Node {
    Folder,
    File(usize),
}

/// Names and contents: what is on a disk, or in the kernel's memory of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    names: BTreeMap<PathBuf, Node>,
    files: Vec<Vec<u8>>,
}

impl Content {
    /// The bytes of a file, where there is one.
    pub(crate) fn file(&self, path: &Path) -> Option<&[u8]> {
        match self.names.get(path)? {
            Node::File(file) => self.files.get(*file).map(Vec::as_slice),
            Node::Folder => None,
        }
    }

    /// The paths of all files, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.names.iter().filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path.as_path())
    }

    /// Whether the folders that lead to a path are there: without them nobody finds it.
    pub(crate) fn is_reachable(&self, path: &Path) -> bool {
        let mut above = path.ancestors().skip(1).filter(|folder| *folder != Path::new("/"));
        above.all(|folder| self.names.get(folder) == Some(&Node::Folder))
    }

    /// All that a program could see, but for the content of `unread`, a file that is never read.
    pub(crate) fn seen(&self, unread: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let seen = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(file) if path != unread => (path.clone(), Some(self.files[*file].clone())),
            _ => (path.clone(), None),
        };
        self.names.iter().map(seen).collect()
    }

    /// A file that is made is empty at first, whether or not its name lasts.
    fn make_room(&mut self, change: &Change) {
        if let Some(file) = change.makes()
            && self.files.len() <= file
        {
            self.files.resize(file + 1, Vec::new());
        }
    }

    fn write(&mut self, file: usize, at: usize, bytes: &[u8]) {
        let content = &mut self.files[file];
        if content.len() < at + bytes.len() {
            content.resize(at + bytes.len(), 0);
        }
        content[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Takes a change of data.
    fn data(&mut self, change: &Change) {
        match change {
            Change::Write { file, at, bytes } => self.write(*file, *at, bytes),
            Change::SetLen { file, bytes } => self.files[*file].resize(*bytes, 0),
            _ => {}
        }
    }

    /// Takes a change of names.
    fn name(&mut self, change: &Change) {
        match change {
            Change::MakeFolder { path } => drop(self.names.insert(path.clone(), Node::Folder)),
            Change::Make { path, file } => drop(self.names.insert(path.clone(), Node::File(*file))),
            Change::Rename { from, to } => {
                if let Some(node) = self.names.remove(from) {
                    self.names.insert(to.clone(), node);
                }
            }
            Change::Remove { path } => drop(self.names.remove(path)),
            _ => {}
        }
    }
}

/// A change, or a promise that changes will last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    MakeFolder { path: PathBuf },
    Make { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    Write { file: usize, at: usize, bytes: Arc<[u8]> },
    SetLen { file: usize, bytes: usize },
    Sync { file: usize, done: bool },
    SyncFolder { path: PathBuf },
}

impl Node {
    fn file(&self) -> Option<usize> {
        match self {
            Node::File(file) => Some(*file),
            Node::Folder => None,
        }
    }
}

impl Change {
    /// The file that it makes.
    fn makes(&self) -> Option<usize> {
        match self {
            Change::Make { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The file whose data it changes.
    fn data_of(&self) -> Option<usize> {
        match self {
            Change::Write { file, .. } | Change::SetLen { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The folder whose names it changes.
    fn names_of(&self) -> Option<&Path> {
        match self {
            Change::MakeFolder { path }
            | Change::Make { path, .. }
            | Change::Rename { from: path, .. }
            | Change::Remove { path } => path.parent(),
            _ => None,
        }
    }
}

/// What survives besides what was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survives {
    /// Everything: the process was killed, the machine was not.
    Everything,
    /// Nothing.
    Nothing,
    /// All names, no data.
    Names,
    /// All names, and the length of all data; zeros where it was.
    Lengths,
    /// All data, no names.
    Data,
}

impl Survives {
    pub(crate) const ALL: [Self; 5] =
        [Self::Everything, Self::Nothing, Self::Names, Self::Lengths, Self::Data];
}

/// What was on the disk at first, and every change since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    base: Content,
    pub(crate) changes: Vec<Change>,
}

impl Record {
    /// The same from here on: what is durable by now is the base, what is not is still a change.
    pub(crate) fn rebased(&self) -> Self {
        let (base, data, names) = self.durable(self.changes.len(), None);
        let mut changes: Vec<Change> = self.changes.clone();
        changes.retain(|change| data.contains(&change) || names.contains(&change));
        let mut this = Self { base, changes };
        // Contents that have lost their names are nobody's.
        let named: Vec<usize> = this.base.names.values().filter_map(|node| node.file()).collect();
        let made = |file: &usize| this.changes.iter().any(|change| change.makes() == Some(*file));
        let nobodys: Vec<usize> =
            (0..this.base.files.len()).filter(|file| !named.contains(file) && !made(file)).collect();
        nobodys.into_iter().for_each(|file| this.base.files[file] = Vec::new());
        this
    }

    /// The name that a file was made under.
    pub(crate) fn made(&self, wanted: usize) -> Option<&Path> {
        self.changes.iter().find_map(|change| match change {
            Change::Make { path, file } if *file == wanted => Some(path.as_path()),
            _ => None,
        })
    }

    /// What is there after the first `count` changes and, where the next is a write, `torn` bytes of it.
    pub(crate) fn crash(&self, count: usize, torn: usize, survives: Survives) -> Content {
        let torn = match (self.changes.get(count), torn) {
            (Some(Change::Write { file, at, bytes }), 1..) => {
                Some(Change::Write { file: *file, at: *at, bytes: bytes[..torn].into() })
            }
            _ => None,
        };
        if survives == Survives::Everything {
            // In the order in which they were made, also what a sync has lost: the kernel still has it.
            let mut kept = self.base.clone();
            for change in self.changes[..count].iter().chain(&torn) {
                kept.make_room(change);
                kept.data(change);
                kept.name(change);
            }
            return kept;
        }
        let (mut kept, data, names) = self.durable(count, torn.as_ref());
        if matches!(survives, Survives::Names | Survives::Lengths) {
            names.into_iter().for_each(|change| kept.name(change));
        }
        for change in data {
            match (survives, change) {
                (Survives::Data, change) => kept.data(change),
                (Survives::Lengths, Change::Write { file, at, bytes }) => {
                    let bytes_max = kept.files[*file].len().max(at + bytes.len());
                    kept.files[*file].resize(bytes_max, 0);
                }
                (Survives::Lengths, change) => kept.data(change),
                _ => {}
            }
        }
        kept
    }

    /// What is durable after the first `count` changes and `torn`, and the changes of data and of names that
    /// are not.
    fn durable<'a>(
        &'a self,
        count: usize,
        torn: Option<&'a Change>,
    ) -> (Content, Vec<&'a Change>, Vec<&'a Change>) {
        let mut kept = self.base.clone();
        let (mut data, mut names): (Vec<&Change>, Vec<&Change>) = (Vec::new(), Vec::new());
        for change in self.changes[..count].iter().chain(torn) {
            kept.make_room(change);
            match change {
                Change::Sync { file, done } => {
                    let (synced, rest): (Vec<_>, Vec<_>) =
                        data.into_iter().partition(|change| change.data_of() == Some(*file));
                    data = rest;
                    // What a failed sync was to write is gone.
                    synced.into_iter().filter(|_| *done).for_each(|change| kept.data(change));
                }
                Change::SyncFolder { path } => {
                    let (synced, rest): (Vec<_>, Vec<_>) =
                        names.into_iter().partition(|change| change.names_of() == Some(path));
                    names = rest;
                    synced.into_iter().for_each(|change| kept.name(change));
                }
                change if change.data_of().is_some() => data.push(change),
                change => names.push(change),
            }
        }
        (kept, data, names)
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing but fail.
    Broken,
    /// From this call on nothing fits on the disk any more but so many bytes.
    Full { bytes: usize },
}

#[derive(Clone, Debug, Default)]
struct State {
    now: Content,
    record: Record,
    calls: Vec<&'static str>,
    fault: Option<(usize, Fault)>,
    /// How many bytes still fit.
    room: Option<usize>,
    read: Vec<PathBuf>,
    /// Calls that do nothing and say that they have.
    lies: Option<&'static str>,
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// A disk with something on it, all of it durable.
    pub(crate) fn with(content: Content) -> Self {
        let record = Record { base: content.clone(), changes: Vec::new() };
        Self(Arc::new(Mutex::new(State { now: content, record, ..State::default() })))
    }

    /// The same disk in the same moment, which goes its own way from here on.
    pub(crate) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// Lets what happened so far be the past.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.record = state.record.rebased();
    }

    /// What happened so far.
    pub(crate) fn record(&self) -> Record {
        self.state().record.clone()
    }

    /// What programs see.
    pub(crate) fn content(&self) -> Content {
        self.state().now.clone()
    }

    /// The calls so far, by name.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    /// Whether a file was ever opened to be read.
    pub(crate) fn was_read(&self, path: &Path) -> bool {
        self.state().read.iter().any(|read| read == path)
    }

    /// Lets the call with this number fail.
    pub(crate) fn fail(&self, call: usize, fault: Fault) {
        self.state().fault = Some((call, fault));
    }

    /// Lets calls of this name do nothing, as if the store had forgotten to make them.
    pub(crate) fn lie(&self, name: &'static str) {
        self.state().lies = Some(name);
    }

    /// There is room again.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.fault = None;
        state.room = None;
    }

    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        path == Path::new("/") || self.state().now.names.get(path) == Some(&Node::Folder)
    }

    pub(crate) fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = path.ancestors().take_while(|folder| !self.is_folder(folder)).collect();
        while let Some(folder) = missing.pop() {
            let mut state = self.state();
            state.call("mkdir", 1)?;
            state.change(Change::MakeFolder { path: folder.to_owned() });
        }
        Ok(())
    }

    pub(crate) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call("fsync of a folder", 0)?;
        if state.lies == Some("fsync of a folder") {
            return Ok(());
        }
        state.change(Change::SyncFolder { path: path.to_owned() });
        Ok(())
    }

    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.call("readdir", 0)?;
        let names = state.now.names.keys().filter(|name| name.parent() == Some(path));
        Ok(names.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    pub(crate) fn open(&self, path: &Path, how: Use) -> io::Result<OpenFile> {
        let mut state = self.state();
        state.call("open", 0)?;
        let file = match (state.now.names.get(path), how) {
            (Some(Node::File(file)), _) => *file,
            (Some(Node::Folder), _) => return Err(io::Error::other("it is no file")),
            (None, Use::Read | Use::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, Use::Append | Use::Create) => {
                state.call("open, to make it", 1)?;
                state.now.files.push(Vec::new());
                let file = state.now.files.len() - 1;
                state.change(Change::Make { path: path.to_owned(), file });
                file
            }
        };
        if how == Use::Read {
            state.read.push(path.to_owned());
        }
        if how == Use::Create && !state.now.files[file].is_empty() {
            state.change(Change::SetLen { file, bytes: 0 });
        }
        Ok(OpenFile { disk: self.clone(), file, how, at: 0 })
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call("rename", 0)?;
        state.change(Change::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call("unlink", 0)?;
        state.change(Change::Remove { path: path.to_owned() });
        Ok(())
    }
}

impl State {
    /// Counts a call that would put so many bytes on the disk; returns how many fit.
    fn call(&mut self, name: &'static str, bytes: usize) -> io::Result<usize> {
        let number = self.calls.len();
        self.calls.push(name);
        if let Some((at, fault)) = self.fault
            && at == number
        {
            match fault {
                Fault::Broken => return Err(rustix::io::Errno::IO.into()),
                Fault::Full { bytes } => self.room = Some(bytes),
            }
        }
        match &mut self.room {
            Some(0) if bytes > 0 => Err(rustix::io::Errno::NOSPC.into()),
            Some(room) => {
                let fits = bytes.min(*room);
                *room -= fits;
                Ok(fits)
            }
            None => Ok(bytes),
        }
    }

    fn change(&mut self, change: Change) {
        self.now.data(&change);
        self.now.name(&change);
        self.record.changes.push(change);
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    disk: Disk,
    file: usize,
    how: Use,
    at: usize,
}

impl OpenFile {
    pub(crate) fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.call("fstat", 0)?;
        Ok(state.now.files[self.file].len() as u64)
    }

    pub(crate) fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call("ftruncate", 0)?;
        state.change(Change::SetLen { file: self.file, bytes: usize::try_from(bytes).expect("small") });
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let done = state.call("fsync", 0);
        if state.lies == Some("fsync") {
            return Ok(());
        }
        state.change(Change::Sync { file: self.file, done: done.is_ok() });
        done.map(drop)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.call("read", 0)?;
        let bytes = state.now.files[self.file].get(self.at..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.at += count;
        Ok(count)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let count = state.call("write", bytes.len())?;
        if self.how == Use::Append {
            self.at = state.now.files[self.file].len();
        }
        state.change(Change::Write { file: self.file, at: self.at, bytes: bytes[..count].into() });
        self.at += count;
        Ok(count)
    }

    pub(crate) fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.call("lseek", 0)?;
        self.at = match to {
            SeekFrom::Start(at) => usize::try_from(at).expect("small"),
            SeekFrom::End(_) | SeekFrom::Current(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(self.at as u64)
    }
}
