//! Reading shards: lines in order, each with its place, and look-ups of what the head does not know.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memmem;

use super::disk::{Disk, DiskFile};
use super::git::Scratch;
use super::{Damage, StoreError, postgres};
use crate::id::HoldId;
use crate::ledger::Limit;
use crate::ledger::book::{Account, Discord};
use crate::ledger::commit::{is_shard, shard_of};
use crate::ledger::decide::Draft;
use crate::ledger::event::{self, Event, Kind, LINE_BYTES_MAX, Line, LineError};
use crate::ledger::hold::{Hold, Illegal};
use crate::money::Usd;

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file.
    pub(super) path: PathBuf,
    /// Its line, from 1.
    pub(super) line: u64,
    /// The length of the line without its line feed.
    pub(super) bytes: u64,
}

/// The shards' names in order of time.
pub(super) fn shards(disk: &Disk, events: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = disk.list(events).map_err(StoreError::io("list", events))?;
    names.retain(|name| is_shard(name));
    names.sort_unstable();
    Ok(names)
}

/// Raw lines of one shard from an offset on.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    reader: BufReader<DiskFile>,
    line: u64,
    /// Lines may end without a line feed here: it is the last shard.
    last: bool,
    /// Where an unfinished line begins, once it was met.
    torn_at: Option<u64>,
    offset: u64,
}

impl Shard {
    pub(super) fn open(
        disk: &Disk,
        path: &Path,
        offset: u64,
        line: u64,
        last: bool,
    ) -> Result<Self, StoreError> {
        let mut file = disk.open(path).map_err(StoreError::io("read", path))?;
        file.seek(SeekFrom::Start(offset)).map_err(StoreError::io("read", path))?;
        let reader = BufReader::with_capacity(64 * 1024, file);
        Ok(Self { path: path.to_owned(), reader, line, last, torn_at: None, offset })
    }

    /// Where an unfinished last line begins, if there is one. Known after the last line was read.
    pub(super) fn torn_at(&self) -> Option<u64> {
        self.torn_at
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line without its line feed, or `None` at the end.
    pub(super) fn next_raw(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Place>, StoreError> {
        buffer.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        let count = (&mut self.reader).take(most).read_until(b'\n', buffer);
        let count = count.map_err(StoreError::io("read", &self.path))? as u64;
        if count == 0 {
            return Ok(None);
        }
        let place = Place { path: self.path.clone(), line: self.line + 1, bytes: count - 1 };
        if buffer.pop() != Some(b'\n') {
            let what = match (self.last, count) {
                (_, count) if count == most => Damage::Line(LineError::TooLong),
                (true, _) => {
                    self.torn_at = Some(self.offset);
                    return Ok(None);
                }
                (false, _) => Damage::NoEnd,
            };
            return Err(StoreError::line(place.path, place.line, what));
        }
        self.line += 1;
        self.offset += count;
        Ok(Some(place))
    }

    /// The next line.
    pub(super) fn next_line(&mut self, buffer: &mut Vec<u8>) -> Result<Option<(Place, Line)>, StoreError> {
        let Some(place) = self.next_raw(buffer)? else { return Ok(None) };
        let line = read(buffer, &place)?;
        Ok(Some((place, line)))
    }
}

fn read(bytes: &[u8], place: &Place) -> Result<Line, StoreError> {
    let damaged = |what: Damage| StoreError::line(place.path.clone(), place.line, what);
    let line = event::decode(bytes).map_err(|error| damaged(error.into()))?;
    let belongs = shard_of(line.event.at);
    if place.path.file_name().is_some_and(|name| name != belongs.as_str()) {
        return Err(damaged(Damage::WrongShard(belongs)));
    }
    Ok(line)
}

/// All lines of several shards, one after the other.
#[derive(Debug)]
pub(super) struct Lines {
    disk: Disk,
    folder: PathBuf,
    shards: VecDeque<String>,
    open: Option<Shard>,
    buffer: Vec<u8>,
    torn: bool,
}

impl Lines {
    pub(super) fn new(disk: &Disk, folder: &Path, shards: Vec<String>) -> Self {
        let (disk, shards) = (disk.clone(), shards.into());
        Self { disk, folder: folder.to_owned(), shards, open: None, buffer: Vec::new(), torn: false }
    }

    /// The line that was read last, as it stands.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Whether the last line was unfinished. Known after the last line was read.
    pub(super) fn torn(&self) -> bool {
        self.torn
    }

    fn advance(&mut self) -> Result<Option<(Place, Line)>, StoreError> {
        loop {
            if let Some(shard) = &mut self.open {
                if let Some(next) = shard.next_line(&mut self.buffer)? {
                    return Ok(Some(next));
                }
                self.torn |= shard.torn_at().is_some();
            }
            let Some(name) = self.shards.pop_front() else {
                self.open = None;
                return Ok(None);
            };
            let last = self.shards.is_empty();
            self.open = Some(Shard::open(&self.disk, &self.folder.join(name), 0, 0, last)?);
        }
    }
}

impl Iterator for Lines {
    type Item = Result<(Place, Line), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// Events as they are read, oldest first. Each line is checked by itself; [`super::Store::verify`] checks
/// how they hang together.
#[derive(Debug)]
pub struct Events {
    source: Source,
    since: Option<Timestamp>,
    /// What the lines are read from, where that is not to stay.
    _scratch: Option<Arc<Scratch>>,
}

/// Where lines come from.
#[derive(Debug)]
enum Source {
    Files(Lines),
    Database(postgres::Lines),
}

impl Events {
    pub(super) fn new(lines: Lines, since: Option<Timestamp>) -> Self {
        Self { source: Source::Files(lines), since, _scratch: None }
    }

    pub(super) fn from_scratch(lines: Lines, since: Option<Timestamp>, scratch: Arc<Scratch>) -> Self {
        Self { source: Source::Files(lines), since, _scratch: Some(scratch) }
    }

    /// The lines of a database, which knows where an instant is, to a microsecond.
    pub(super) fn from_database(lines: postgres::Lines, since: Option<Timestamp>) -> Self {
        Self { source: Source::Database(lines), since, _scratch: None }
    }
}

impl Events {
    /// The next line as it stands, without its line feed; lines before the instant are not passed over.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next_line(&mut self) -> Option<Result<String, StoreError>> {
        match &mut self.source {
            Source::Files(lines) => {
                let line = lines.next()?;
                Some(line.map(|_| lines.text()))
            }
            Source::Database(lines) => {
                let line = lines.next()?;
                Some(line.map(|_| lines.text()))
            }
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = match &mut self.source {
                Source::Files(lines) => lines.next().map(|next| next.map(|(_, line)| line)),
                Source::Database(lines) => lines.next(),
            };
            let event = match next? {
                Ok(line) => line.event,
                Err(error) => return Some(Err(error)),
            };
            if self.since.is_none_or(|since| since <= event.at) {
                return Some(Ok(event));
            }
        }
    }
}

/// The shards that may hold events from an instant on.
pub(super) fn since(mut shards: Vec<String>, instant: Timestamp) -> Vec<String> {
    let first = shard_of(instant);
    shards.retain(|name| *name >= first);
    shards
}

/// What the history says is settled on the accounts of some limits, in one pass.
///
/// Every line that charges says whose spend it is, so lines without a wanted purse are passed over
/// unread.
pub(super) fn settled(disk: &Disk, events: &Path, limits: &[&Limit]) -> Result<Vec<Usd>, StoreError> {
    let accounts: Vec<Account> = limits.iter().map(|limit| Account::of(limit)).collect();
    let mut sums = vec![Usd::ZERO; accounts.len()];
    let Some(start) = accounts.iter().map(|account| account.window.start).min() else { return Ok(sums) };
    let quoted: Vec<Vec<u8>> = accounts.iter().map(|account| quoted(&account.purse)).collect();
    let finders: Vec<memmem::Finder<'_>> = quoted.iter().map(memmem::Finder::new).collect();
    let names = since(shards(disk, events)?, start);
    let newest = names.len();
    let names = names.into_iter().enumerate().map(|(index, name)| (name, index + 1 == newest));
    scan(disk, events, names.collect(), |bytes, place| {
        if !finders.iter().any(|finder| finder.find(bytes).is_some()) {
            return Ok(());
        }
        let line = read(bytes, place)?;
        let (origin, amount) = match &line.event.kind {
            Kind::Settle(body) => (&body.of, body.spend.usd),
            Kind::Expire(body) => (&body.of, body.spend.usd),
            Kind::Adjust(body) => (&body.of, body.delta),
            Kind::Reserve(_) | Kind::Void(_) | Kind::Refuse(_) | Kind::Extend(_) | Kind::Note(_) => {
                return Ok(());
            }
        };
        for (account, sum) in accounts.iter().zip(&mut sums) {
            if account.counts(origin) {
                *sum += amount;
            }
        }
        Ok(())
    })?;
    Ok(sums)
}

/// A hold as the history knows it.
pub(super) fn find(disk: &Disk, events: &Path, id: &HoldId) -> Result<Option<Hold>, StoreError> {
    let quoted = quoted(id.as_str());
    let finder = memmem::Finder::new(&quoted);
    let mut found: Vec<(Place, Event)> = Vec::new();
    // A hold is most often in the newest shard, and its reserve is its first event.
    for (age, name) in shards(disk, events)?.into_iter().rev().enumerate() {
        let mut older = Vec::new();
        scan(disk, events, vec![(name, age == 0)], |bytes, place| {
            if finder.find(bytes).is_some() {
                let event = read(bytes, place)?.event;
                let its = event.hold == *id && !matches!(event.kind, Kind::Refuse(_) | Kind::Note(_));
                older.extend(its.then(|| (place.clone(), event)));
            }
            Ok(())
        })?;
        older.append(&mut found);
        found = older;
        if matches!(found.first(), Some((_, Event { kind: Kind::Reserve(_), .. }))) {
            break;
        }
    }
    let mut hold: Option<Hold> = None;
    for (place, event) in found {
        let stepped = match (event.kind, &mut hold) {
            (Kind::Reserve(terms), None) => {
                hold = Some(Hold::new(event.hold, event.at, terms));
                Ok(())
            }
            (kind, Some(hold)) => hold.step(&kind).map(drop),
            (_, None) => Err(Illegal("was never granted".to_owned())),
        };
        let discord = |why| Discord::Hold { hold: id.clone(), why };
        stepped.map_err(|why| StoreError::line(place.path, place.line, discord(why)))?;
    }
    Ok(hold)
}

/// Whether this very event is there, of an instant or later.
pub(super) fn has(disk: &Disk, events: &Path, draft: &Draft, since: Timestamp) -> Result<bool, StoreError> {
    let quoted = quoted(draft.hold.as_str());
    let finder = memmem::Finder::new(&quoted);
    let names = self::since(shards(disk, events)?, since);
    let newest = names.len();
    let names = names.into_iter().enumerate().map(|(index, name)| (name, index + 1 == newest));
    let mut found = false;
    scan(disk, events, names.collect(), |bytes, place| {
        if !found && finder.find(bytes).is_some() {
            let event = read(bytes, place)?.event;
            found = event.at >= since && event.hold == draft.hold && event.kind == draft.kind;
        }
        Ok(())
    })?;
    Ok(found)
}

/// A text as it stands in a line, with its quotation marks.
fn quoted(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).unwrap_or_default()
}

/// Every raw line of some shards, each named with whether it is the newest.
fn scan(
    disk: &Disk,
    events: &Path,
    names: Vec<(String, bool)>,
    mut each: impl FnMut(&[u8], &Place) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut buffer = Vec::new();
    for (name, newest) in names {
        let mut shard = Shard::open(disk, &events.join(name), 0, 0, newest)?;
        while let Some(place) = shard.next_raw(&mut buffer)? {
            each(&buffer, &place)?;
        }
    }
    Ok(())
}
