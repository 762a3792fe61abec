//! The doctor: what of a damaged file ledger can be kept, and how it is made whole again.
//!
//! Kept is the longest beginning whose every line is in order. What comes after is dropped, but not lost:
//! the damaged files stay in a folder beside the events, and a `repair` event says how much was dropped, from
//! what, and on whose word. Nothing is guessed, and nothing is changed without that word. Wherever a repair is
//! cut off, every byte is in the events or beside, and it can be made again. A branch keeps its own history, so
//! it is set back by people. Of a database, the tables are made again from the lines; the lines themselves have
//! no other copy than its backup.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use super::file::FileStore;
use super::history::{Lines, shards};
use super::{Store, StoreError};
use crate::id::{HoldId, hex};
use crate::ledger::audit::Audit;
use crate::ledger::decide::{Draft, NAME_BYTES_MAX, Refusal};
use crate::ledger::event::{self, Event, Kind, Note, Repair};

/// Dropped lines that are shown one by one.
pub const SHOWN_MAX: usize = 20;

/// What is wrong with a ledger, and what can be kept of it.
#[derive(Debug)]
pub struct Findings {
    /// What is wrong; `None` where nothing is.
    pub damage: Option<String>,
    /// Events that are in order, from the first one on.
    pub kept: u64,
    /// Lines that are not, or come after one that is not.
    pub dropped: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// What the first of the dropped lines say, where they still can be read; they vouch for nothing.
    pub shown: Vec<Event>,
    /// The shard that is cut, and its length then; `None` where all events are in order.
    cut: Option<(String, u64)>,
    /// The hash of all that is dropped, shard by shard.
    sha256: String,
}

impl Findings {
    /// What a database has: its lines are in order, and its tables may not be.
    pub(super) fn of_tables(damage: Option<String>, kept: u64) -> Self {
        let (dropped, dropped_bytes, shown, cut) = (0, 0, Vec::new(), None);
        Self { damage, kept, dropped, dropped_bytes, shown, cut, sha256: String::new() }
    }

    /// Whether the events are in order, and only the head is not.
    #[must_use]
    pub fn only_head(&self) -> bool {
        self.cut.is_none()
    }
}

impl FileStore {
    /// Looks at everything.
    pub(super) fn examine(&self) -> Result<Findings, StoreError> {
        let _lock = self.lock(false)?;
        self.examine_locked()
    }

    fn examine_locked(&self) -> Result<Findings, StoreError> {
        let folder = self.events_folder();
        let names = shards(&self.disk, &folder)?;
        let mut lines = Lines::new(&self.disk, &folder, names.clone());
        let mut audit = Audit::default();
        // Where the lines that are in order end.
        let mut end = (names.first().cloned().unwrap_or_default(), 0_u64);
        let damage = loop {
            let (place, line) = match lines.next() {
                None => break None,
                Some(Ok(next)) => next,
                Some(Err(error @ StoreError::Damaged { .. })) => break Some(error),
                // What a newer tollgate has written is no damage, and what cannot be read is not known.
                Some(Err(error)) => return Err(error),
            };
            let name = place.path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            if let Err(discord) = audit.apply(&line) {
                let at = if name == end.0 { end.1 } else { 0 };
                end = (name, at);
                break Some(StoreError::line(place.path, place.line, discord));
            }
            let at = if name == end.0 { end.1 } else { 0 };
            end = (name, at + place.bytes + 1);
        };
        let mut findings = Findings {
            damage: damage.as_ref().map(first_line),
            kept: audit.events(),
            dropped: 0,
            dropped_bytes: 0,
            shown: Vec::new(),
            cut: None,
            sha256: String::new(),
        };
        let Some(damage) = damage else {
            findings.damage = self.head_trouble(&audit)?;
            return Ok(findings);
        };
        // A shard that begins with damage is cut to nothing.
        if let StoreError::Damaged { path, .. } = &damage
            && let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned())
            && name != end.0
        {
            end = (name, 0);
        }
        self.count_dropped(&names, &end, &mut findings)?;
        findings.cut = Some(end);
        Ok(findings)
    }

    fn count_dropped(
        &self,
        names: &[String],
        (shard, at): &(String, u64),
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let mut digest = Sha256::new();
        for name in names.iter().filter(|name| *name >= shard) {
            let path = self.events_folder().join(name);
            let mut bytes = Vec::new();
            let read = self.disk.open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
            read.map_err(StoreError::io("read", &path))?;
            let from = if name == shard { usize::try_from(*at).unwrap_or(usize::MAX) } else { 0 };
            let dropped = bytes.get(from..).unwrap_or_default();
            digest.update(dropped);
            findings.dropped_bytes += dropped.len() as u64;
            for line in dropped.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                findings.dropped += 1;
                if findings.shown.len() < SHOWN_MAX
                    && let Ok(line) = event::decode(line)
                {
                    findings.shown.push(line.event);
                }
            }
        }
        findings.sha256 = hex(&digest.finalize());
        Ok(())
    }

    /// What is wrong with the head, where the events are in order. A head that is lost or behind is made
    /// again by whoever writes next, and is nothing wrong.
    fn head_trouble(&self, audit: &Audit) -> Result<Option<String>, StoreError> {
        let Ok(Some(mut head)) = self.read_head()? else { return Ok(None) };
        match self.catch_up(&mut head) {
            Ok(_) => Ok(audit.compare(&head.book).err().map(|mismatch| mismatch.to_string())),
            Err(error @ StoreError::Damaged { .. }) => Ok(Some(first_line(&error))),
            Err(error) => Err(error),
        }
    }

    /// Drops what is not in order, after keeping it beside, and puts that on record. Returns what was found
    /// and where the damaged files are now.
    pub(super) fn mend(&self, by: &str) -> Result<(Findings, PathBuf), StoreError> {
        if by.trim().is_empty() || by.len() > NAME_BYTES_MAX {
            let what = format!("whoever has a ledger repaired has a name of 1 to {NAME_BYTES_MAX} bytes");
            return Err(Refusal::Nonsense(what).into());
        }
        let lock = self.lock(true)?;
        let findings = self.examine_locked()?;
        let stamp = TimeZone::UTC.to_datetime(self.now()).strftime("%Y%m%dT%H%M%SZ").to_string();
        let aside = self.aside(&stamp);
        let Some(damage) = &findings.damage else { return Ok((findings, aside)) };
        self.disk.make_folder(&aside).map_err(StoreError::io("make", &aside))?;
        self.keep(&self.head_path(), &aside)?;
        let cut = match &findings.cut {
            Some((shard, _)) => self.keep_from(shard, &aside)?,
            None => Vec::new(),
        };
        // All that is dropped lies beside, by its name as well, before any of it is cut.
        for folder in [&aside, &self.folder] {
            self.disk.sync_folder(folder).map_err(StoreError::io("sync", folder))?;
        }
        // From the last one on, so that what is left is a beginning at every moment.
        for name in cut.iter().rev() {
            let length = findings.cut.as_ref().filter(|(shard, _)| shard == name).map_or(0, |(_, at)| *at);
            self.cut(name, length)?;
        }
        let note = Note::Repair(Repair {
            kept: findings.kept,
            dropped: findings.dropped,
            dropped_bytes: findings.dropped_bytes,
            sha256: findings.sha256.clone(),
            damage: shortened(damage),
            aside: aside.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            by: by.to_owned(),
        });
        let hold = HoldId::from_text(&format!("repair/{stamp}"));
        // What the head says is beside now, and is not asked: it is replaced by one that the events make.
        let mut session = self.session_with(Ok(None), lock, true)?;
        let at = session.time();
        session.commit(vec![Draft { hold, kind: Kind::Note(note) }], at)?;
        Ok((findings, aside))
    }

    /// A folder beside the events that is not there yet.
    fn aside(&self, stamp: &str) -> PathBuf {
        let named = |number: u32| match number {
            1 => self.folder.join(format!("damaged-{stamp}")),
            number => self.folder.join(format!("damaged-{stamp}-{number}")),
        };
        (1..).map(named).find(|folder| !self.disk.is_folder(folder)).unwrap_or_else(|| named(1))
    }

    /// Keeps the shards from this one on; returns their names.
    fn keep_from(&self, shard: &str, aside: &Path) -> Result<Vec<String>, StoreError> {
        let folder = self.events_folder();
        let mut names = shards(&self.disk, &folder)?;
        names.retain(|name| name.as_str() >= shard);
        names.iter().try_for_each(|name| self.keep(&folder.join(name), aside))?;
        Ok(names)
    }

    /// Copies a file into the folder beside, durably, if there is one.
    fn keep(&self, path: &Path, aside: &Path) -> Result<(), StoreError> {
        let mut from = match self.disk.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(StoreError::io("copy", path))?,
        };
        let copied =
            self.disk.create(&aside.join(path.file_name().unwrap_or_default())).and_then(|mut to| {
                io::copy(&mut from, &mut to)?;
                to.sync()
            });
        copied.map_err(StoreError::io("copy", path))
    }

    /// Cuts a shard to a length, durably; one that is cut to nothing is removed.
    fn cut(&self, name: &str, length: u64) -> Result<(), StoreError> {
        let path = self.events_folder().join(name);
        let file = self.disk.write(&path).map_err(StoreError::io("cut", &path))?;
        file.set_len(length).map_err(StoreError::io("cut", &path))?;
        self.durable(&path, file.sync())?;
        if length == 0 {
            self.disk.remove(&path).map_err(StoreError::io("remove", &path))?;
            let folder = self.events_folder();
            self.durable(&folder, self.disk.sync_folder(&folder))?;
        }
        Ok(())
    }
}

impl Store {
    /// Looks for damage, and for what can be kept. Changes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read, was written by a newer tollgate, or is a kind that is mended by
    /// other means.
    pub fn examine(&self) -> Result<Findings, StoreError> {
        match self {
            Self::File(files) => files.examine(),
            Self::Git(_) => Err(StoreError::NotMendable),
            Self::Postgres(postgres) => postgres.examine(),
        }
    }

    /// Mends the ledger on the word of `by`. Returns what was found, and where the damaged files are now, if it
    /// is one in files.
    ///
    /// # Errors
    /// As [`Store::examine`], and when the files cannot be kept or written.
    pub fn mend(&self, by: &str) -> Result<(Findings, Option<PathBuf>), StoreError> {
        match self {
            Self::File(files) => files.mend(by).map(|(findings, aside)| (findings, Some(aside))),
            Self::Git(_) => Err(StoreError::NotMendable),
            Self::Postgres(postgres) => postgres.mend(by).map(|findings| (findings, None)),
        }
    }
}

/// A message without its hint.
fn first_line(error: &StoreError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(NAME_BYTES_MAX).collect()
}
