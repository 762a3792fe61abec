//! The journal: one line for each admission, written before its bytes leave, and one for what became of it.
//!
//! Plain writes without fsync: the lines outlive the process, and when the machine dies, the hold on the
//! ledger is what remains. [`recover`] reads back what a killed run had spent: everything that was closed,
//! and the worst case of what was not.
//!
//! The format is JSON Lines with the version in every line, so that a line which a newer version wrote is
//! refused and never misread. Amounts are exact decimal dollars.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::account::RequestId;
use super::{ModelTotals, Totals};
use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::Counts;

/// The version of the line format.
const VERSION: u32 = 1;
/// The longest line that is read back, in bytes; a longer one is damage.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    v: u32,
    #[serde(rename = "t")]
    kind: Kind,
    id: u64,
    /// Worst case of an admission; cost of a settlement.
    usd: Usd,
    /// What a settlement consists of, by model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Part>,
    #[serde(default, skip_serializing_if = "is_nothing")]
    searches: u64,
    /// A subscription pays for it, so that the amounts of a settlement are charged to nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    notional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// A request is about to leave.
    Admit,
    /// It was answered, and its cost is known.
    Settle,
    /// It was lost, and counts at a bound.
    Lose,
    /// It never left.
    Release,
    /// The run is over; nothing is in flight.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    model: ModelId,
    counts: Counts,
    usd: Usd,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_nothing(count: &u64) -> bool {
    *count == 0
}

/// What one request used, as the journal and the totals take it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What it cost.
    pub usd: Usd,
    /// Of which models it consists.
    pub lines: Vec<(ModelId, Counts, Usd)>,
    /// Web searches that are charged for.
    pub web_searches: u64,
    /// A subscription pays for it: the amounts are list prices, and no part of the cost.
    pub notional: bool,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: Option<File>,
}

impl Journal {
    /// A journal in a new file that only its owner can read, or one that writes nothing.
    ///
    /// # Errors
    /// When the file cannot be made, or is there already: a run never goes on in another run's journal.
    pub fn create(path: Option<&Path>) -> io::Result<Self> {
        let open = |path| OpenOptions::new().append(true).create_new(true).mode(0o600).open(path);
        Ok(Self { file: path.map(open).transpose()? })
    }

    /// A request is about to leave.
    ///
    /// # Errors
    /// When the line could not be written. The request must not leave then.
    pub fn admit(&mut self, id: RequestId, worst: Usd) -> io::Result<()> {
        self.write(Kind::Admit, id, worst, &Entry::default())
    }

    /// A request was answered.
    ///
    /// # Errors
    /// When the line could not be written. The request then counts at its worst case when the journal
    /// is read back.
    pub fn settle(&mut self, id: RequestId, entry: &Entry) -> io::Result<()> {
        self.write(Kind::Settle, id, entry.usd, entry)
    }

    /// A request was lost and counts at a bound.
    ///
    /// # Errors
    /// When the line could not be written.
    pub fn lose(&mut self, id: RequestId, entry: &Entry) -> io::Result<()> {
        self.write(Kind::Lose, id, entry.usd, entry)
    }

    /// A request never left.
    ///
    /// # Errors
    /// When the line could not be written.
    pub fn release(&mut self, id: RequestId) -> io::Result<()> {
        self.write(Kind::Release, id, Usd::ZERO, &Entry::default())
    }

    /// The run is over.
    ///
    /// # Errors
    /// When the line could not be written.
    pub fn end(&mut self) -> io::Result<()> {
        self.write(Kind::End, RequestId(0), Usd::ZERO, &Entry::default())
    }

    /// One `write` a line, so that a crash can tear the last line only.
    fn write(&mut self, kind: Kind, id: RequestId, usd: Usd, entry: &Entry) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let part = |(model, counts, usd): &(ModelId, Counts, Usd)| Part {
            model: model.clone(),
            counts: *counts,
            usd: *usd,
        };
        let lines = entry.lines.iter().map(part).collect();
        let line = Line {
            v: VERSION,
            kind,
            id: id.0,
            usd,
            lines,
            searches: entry.web_searches,
            notional: entry.notional,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        file.write_all(&text)
    }
}

/// What a journal says of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Spend of everything that was closed, as totals; `phase`, `notes` and `stopped_requests` are not
    /// in a journal.
    pub totals: Totals,
    /// Worst case of what left and was never closed.
    pub in_flight_worst: Usd,
    /// Requests that left and were never closed.
    pub in_flight: u64,
    /// Whether the run came to its end, so that nothing was lost.
    pub ended: bool,
}

impl Recovered {
    /// The most that the run can have spent.
    #[must_use]
    pub fn charge(&self) -> Usd {
        self.totals.settled + self.in_flight_worst
    }
}

/// A journal that proves nothing: it must not be taken for less than the whole hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the journal is damaged: {what}")]
pub struct Damaged {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Reads a journal back. A last line that was cut off counts as never written: an admission that was cut
/// off had not left yet, and a settlement that was cut off leaves its request at the worst case.
///
/// # Errors
/// [`Damaged`] for anything else that is not as this version writes it.
pub fn recover(text: &[u8]) -> Result<Recovered, Damaged> {
    let mut recovered = Recovered::default();
    let mut open: BTreeMap<u64, Usd> = BTreeMap::new();
    let whole = memchr::memrchr(b'\n', text).map_or(&text[..0], |end| &text[..end]);
    if whole.is_empty() {
        return Ok(recovered);
    }
    for (index, bytes) in whole.split(|byte| *byte == b'\n').enumerate() {
        let damaged = |what: &str| Damaged { line: index + 1, what: what.to_owned() };
        let line = read_line(bytes).map_err(|what| damaged(&what))?;
        if recovered.ended {
            return Err(damaged("it comes after the end of the run"));
        }
        let known = open.remove(&line.id);
        match (line.kind, known) {
            (Kind::Admit, None) => {
                open.insert(line.id, line.usd);
            }
            (Kind::Admit, Some(_)) => return Err(damaged("the request was admitted before")),
            (Kind::End, _) => recovered.ended = true,
            (Kind::Settle | Kind::Lose | Kind::Release, None) => {
                return Err(damaged("it closes a request that is not open"));
            }
            (Kind::Release, Some(_)) => {}
            (Kind::Settle | Kind::Lose, Some(_)) => {
                recovered.totals.add(&entry(&line), line.kind == Kind::Lose)
            }
        }
    }
    recovered.in_flight_worst = open.values().sum();
    recovered.in_flight = open.len() as u64;
    Ok(recovered)
}

fn read_line(bytes: &[u8]) -> Result<Line, String> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err(format!("it is longer than {LINE_BYTES_MAX} bytes"));
    }
    let line: Line = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if line.v != VERSION {
        return Err(format!("it has version {}, and this program reads version {VERSION}", line.v));
    }
    if line.usd < Usd::ZERO {
        return Err("its amount is negative".to_owned());
    }
    Ok(line)
}

fn entry(line: &Line) -> Entry {
    let lines = line.lines.iter().map(|part| (part.model.clone(), part.counts, part.usd)).collect();
    Entry { usd: line.usd, lines, web_searches: line.searches, notional: line.notional }
}

impl Totals {
    /// Adds what one request used.
    pub(super) fn add(&mut self, entry: &Entry, estimated: bool) {
        if entry.notional {
            self.notional += entry.usd;
        } else {
            self.settled += entry.usd;
            self.estimated += if estimated { entry.usd } else { Usd::ZERO };
        }
        self.requests += 1;
        self.web_searches += entry.web_searches;
        // Fees belong to the model that the request went to, so that the models add up to the whole.
        let by_lines: Usd = entry.lines.iter().map(|(_, _, usd)| *usd).sum();
        for (index, (model, counts, usd)) in entry.lines.iter().enumerate() {
            let totals: &mut ModelTotals = self.by_model.entry(model.clone()).or_default();
            totals.requests += u64::from(index == 0);
            totals.counts += *counts;
            let fees = if index == 0 { entry.usd - by_lines } else { Usd::ZERO };
            *(if entry.notional { &mut totals.notional } else { &mut totals.usd }) += *usd + fees;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(usd: &str) -> Entry {
        let counts = Counts { input: 10, output: 5, ..Counts::default() };
        let usd: Usd = usd.parse().expect("an amount");
        Entry { usd, lines: vec![("claude-haiku-5-5".into(), counts, usd)], web_searches: 1, notional: false }
    }

    /// A journal with one request of every fate: settled, lost, released, open.
    fn sample(end: bool) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let mut journal = Journal::create(Some(&path)).expect("a new file");
        assert!(Journal::create(Some(&path)).is_err(), "another run's journal is never reused");
        for id in 1..=4 {
            journal.admit(RequestId(id), Usd::from_dollars(1)).expect("written");
        }
        journal.settle(RequestId(2), &entry("0.25")).expect("written");
        journal.lose(RequestId(1), &entry("0.5")).expect("written");
        journal.release(RequestId(3)).expect("written");
        if end {
            journal.settle(RequestId(4), &entry("0.125")).expect("written");
            journal.end().expect("written");
        }
        std::fs::read(&path).expect("read back")
    }

    #[test]
    fn what_was_written_is_read_back() {
        let recovered = recover(&sample(false)).expect("whole");
        assert_eq!(recovered.totals.settled.to_string(), "0.75");
        assert_eq!(recovered.totals.estimated.to_string(), "0.5");
        assert_eq!(recovered.totals.requests, 2);
        assert_eq!(recovered.totals.web_searches, 2);
        assert_eq!(recovered.totals.counts().output, 10);
        assert_eq!((recovered.in_flight, recovered.in_flight_worst), (1, Usd::from_dollars(1)));
        assert_eq!(recovered.charge().to_string(), "1.75");
        assert!(!recovered.ended);
        let ended = recover(&sample(true)).expect("whole");
        assert!(ended.ended);
        assert_eq!(ended.charge().to_string(), "0.875");
    }

    #[test]
    fn a_journal_cut_off_anywhere_never_says_less_than_the_truth_so_far() {
        let text = sample(true);
        for end in 0..=text.len() {
            let recovered = recover(&text[..end]).expect("a torn tail is no damage");
            let whole_lines = text[..end].iter().filter(|byte| **byte == b'\n').count();
            let admitted = whole_lines.min(4);
            let least = ["0", "1", "2", "3", "0.875"];
            let least: Usd = least[admitted].parse().expect("an amount");
            assert!(recovered.charge() >= least, "cut at {end}");
        }
    }

    #[test]
    fn damage_is_told_by_its_line() {
        let text = String::from_utf8(sample(true)).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        for (text, message) in [
            (join(&[lines[4]]), "line 1 of the journal is damaged: it closes a request that is not open"),
            (
                join(&[lines[0], lines[0]]),
                "line 2 of the journal is damaged: the request was admitted before",
            ),
            (
                join(&[lines[8], lines[0]]),
                "line 2 of the journal is damaged: it comes after the end of the run",
            ),
            (
                lines[0].replace("\"v\":1", "\"v\":2") + "\n",
                "line 1 of the journal is damaged: it has version 2, and this program reads version 1",
            ),
            (
                lines[0].replace("\"usd\":\"1\"", "\"usd\":\"-1\"") + "\n",
                "line 1 of the journal is damaged: its amount is negative",
            ),
        ] {
            assert_eq!(recover(text.as_bytes()).expect_err("damaged").to_string(), message);
        }
        for at in [1, 10, 20] {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = 0;
            assert_eq!(recover(&damaged).expect_err("damaged").line, 1);
        }
    }
}
