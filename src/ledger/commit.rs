//! A commit: what one transaction adds, as bytes.
//!
//! Pure, and the same for every store: a store appends the lines to their shards, makes them durable,
//! and then replaces the head. Shards are months (`2026-11.jsonl`); the head names the shard and the
//! offset up to which it has folded, so that a head that fell behind catches up from there.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::book::{Book, Discord};
use super::decide::{Draft, Refusal};
use super::event::{self, Event};

/// The format version of a head. Events have one of their own: they stay, and a head is made again from them.
pub const HEAD_VERSION: u32 = 2;

/// The book, and the place in the shards up to which it has folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    v: u32,
    /// The shard of the last event; empty before the first.
    pub shard: String,
    /// Its length in bytes after the last event.
    pub bytes: u64,
    /// Its number of lines after the last event.
    pub lines: u64,
    /// The length of the last line with its line feed.
    pub last_line_bytes: u64,
    /// The book.
    pub book: Book,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            v: HEAD_VERSION,
            shard: String::new(),
            bytes: 0,
            lines: 0,
            last_line_bytes: 0,
            book: Book::default(),
        }
    }
}

/// Why a head cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Written by a newer tollgate: the events may be too.
    #[error("the head has format version {0}, and this tollgate reads version {HEAD_VERSION} only")]
    UnknownVersion(u32),
    /// Written by an older tollgate. It is made again from the events.
    #[error("the head has format version {0}, of an older tollgate: the next write makes it again")]
    Outdated(u32),
    /// Not as it was written. It can be made again from the events.
    #[error("the head is not as it was written")]
    Damaged,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl Head {
    /// The head of the events that `book` has folded, at a place in their shards.
    #[must_use]
    pub fn at(book: Book, shard: String, bytes: u64, lines: u64, last_line_bytes: u64) -> Self {
        Self { v: HEAD_VERSION, shard, bytes, lines, last_line_bytes, book }
    }

    /// Takes in a line that was read from, or appended to, `shard`.
    ///
    /// # Errors
    /// When it is not the next line.
    pub fn advance(&mut self, shard: &str, line: &event::Line, line_bytes: u64) -> Result<(), Discord> {
        self.book.apply(line)?;
        if self.shard != shard {
            shard.clone_into(&mut self.shard);
            self.bytes = 0;
            self.lines = 0;
        }
        self.bytes += line_bytes + 1;
        self.lines += 1;
        self.last_line_bytes = line_bytes + 1;
        Ok(())
    }

    /// The head's text, with a checksum.
    ///
    /// # Panics
    /// Never: a head has a JSON form, whatever its values.
    #[must_use]
    pub fn encode(&self) -> String {
        event::seal(serde_json::to_string(self).expect("maps with text keys have a JSON form"))
    }

    /// Reads a head.
    ///
    /// # Errors
    /// When it is of another version, or not as it was written.
    pub fn decode(text: &str) -> Result<Self, HeadError> {
        let head: Result<Self, _> = serde_json::from_str(text);
        // A newer version may have other fields, so the version is looked for by itself then.
        let v = match &head {
            Ok(head) => head.v,
            Err(_) => serde_json::from_str::<Versioned>(text).map_err(|_| HeadError::Damaged)?.v,
        };
        match v.cmp(&HEAD_VERSION) {
            Ordering::Less => return Err(HeadError::Outdated(v)),
            Ordering::Greater => return Err(HeadError::UnknownVersion(v)),
            Ordering::Equal => {}
        }
        head.ok().filter(|_| event::is_sealed(text)).ok_or(HeadError::Damaged)
    }
}

/// One transaction's lines, and the head after them.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Each line with the shard it goes to, without its line feed.
    pub lines: Vec<(String, String)>,
    /// The head after them.
    pub head: Head,
}

/// Why drafts cannot become events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// An event would be too long.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The drafts contradict the book they were decided on.
    #[error("the ledger's own decision contradicts its book: {0}")]
    Discord(#[from] Discord),
}

/// Turns decisions into lines and the head after them. `now` is the store's clock.
///
/// # Errors
/// When an event is too long, or the drafts were not decided on this head.
pub fn build(head: &Head, drafts: Vec<Draft>, now: Timestamp) -> Result<Commit, CommitError> {
    let mut commit = Commit { lines: Vec::with_capacity(drafts.len()), head: head.clone() };
    for Draft { hold, kind } in drafts {
        let book = &commit.head.book;
        let event = Event { seq: book.seq() + 1, at: book.next_time(now), hold, kind };
        let text = event::encode(&event, book.hash()).map_err(Refusal::TooLarge)?;
        // The line is read back before it is written: what cannot be read must never be in a ledger.
        let line = event::decode(text.as_bytes()).map_err(|error| Refusal::Nonsense(error.to_string()))?;
        let shard = shard_of(event.at);
        commit.head.advance(&shard, &line, text.len() as u64)?;
        commit.lines.push((shard, text));
    }
    Ok(commit)
}

/// The name of the shard for an event's time.
#[must_use]
pub fn shard_of(at: Timestamp) -> String {
    let month = TimeZone::UTC.to_datetime(at);
    format!("{:04}-{:02}.jsonl", month.year(), month.month())
}

/// Whether a file's name is that of a shard.
#[must_use]
pub fn is_shard(name: &str) -> bool {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let month = name.strip_suffix(".jsonl").and_then(|month| month.split_once('-'));
    month.is_some_and(|(year, month)| digits(year, 4) && digits(month, 2))
}
