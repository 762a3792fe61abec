//! Events: what the ledger remembers, one immutable JSON line each.
//!
//! ```text
//! {"v":1,"seq":7,"at":"2026-11-23T10:00:00Z","t":"settle","hold":"…","body":{…},"prev":"…","sum":"…"}
//! ```
//! `seq` has no gaps and `at` only grows. `prev` is the SHA-256 of the line before, without its line
//! feed, so that no line can change, vanish or appear in between. `sum` covers the line itself, so that
//! the last one is protected too. A version or a type that is not known stops the reader; a field that
//! is not known is passed over, and kept, because lines are never rewritten.

mod whole;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use self::whole::Whole;
use super::{About, Lift, Limit, Spend};
use crate::id::{HoldId, hex};
use crate::money::Usd;

/// The version of the format that this build writes, and the only one it reads.
pub const VERSION: u32 = 1;
/// The longest line that is written or read, without its line feed.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Hex digits of a line's own checksum.
const SUM_DIGITS: usize = 16;

/// The SHA-256 of a line, in hex: what the next line's `prev` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LineHash(String);

impl LineHash {
    /// The hash of a line, without its line feed.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        Self(hex(&Sha256::digest(line)))
    }

    /// All its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the first line of a ledger names as the line before it.
    #[must_use]
    pub fn genesis() -> Self {
        Self("0".repeat(64))
    }
}

/// Something that happened to a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the ledger, from 1, without gaps.
    pub seq: u64,
    /// When, by the store's clock; later than the event before it.
    pub at: Timestamp,
    /// The hold.
    pub hold: HoldId,
    /// What happened.
    pub kind: Kind,
}

/// What can happen to a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was granted.
    Reserve(Reserve),
    /// Its run is over, and this is what it spent.
    Settle(Settle),
    /// It was given up without spend.
    Void(Void),
    /// Nobody settled it: it was charged.
    Expire(Expire),
    /// Evidence came after it was closed.
    Adjust(Adjust),
    /// It was never granted: a limit had too little left. Money takes no notice.
    Refuse(Refuse),
    /// Its cap was raised while it was held.
    Extend(Extend),
    /// Something that is of no hold. Money takes no notice.
    Note(Note),
}

impl Kind {
    /// The name of the type in a line's `t`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Kind::Reserve(_) => "reserve",
            Kind::Settle(_) => "settle",
            Kind::Void(_) => "void",
            Kind::Expire(_) => "expire",
            Kind::Adjust(_) => "adjust",
            Kind::Refuse(_) => "refuse",
            Kind::Extend(_) => "extend",
            Kind::Note(Note::Repair(_)) => "repair",
            Kind::Note(Note::Bill(_)) => "bill",
        }
    }
}

/// The terms that a hold was granted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// The cap that was asked for.
    pub want: Usd,
    /// The least that was worth having.
    pub least: Usd,
    /// The cap that was granted.
    pub cap: Usd,
    /// The limit that cut it, if one did.
    pub cut_by: Option<Cut>,
    /// When it expires, and is charged, if nobody settles it.
    pub expires: Timestamp,
    /// The process that claims it.
    pub claim: String,
    /// Every purse that its spend belongs to.
    pub purses: Vec<String>,
    /// Every limit that it was held against.
    pub limits: Vec<Limit>,
    /// What the run is.
    pub about: About,
    /// The override that its limits were raised by. A reader that does not know the field reads the limits
    /// as they were raised, and comes to the same balances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift: Option<Box<Lift>>,
}

/// The limit that cut a cap, as it stood then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Its place among the reserve's limits, from 0.
    pub limit: usize,
    /// What was settled.
    pub settled: Usd,
    /// What was held.
    pub held: Usd,
}

/// Whose spend an amount is: repeated from the reserve, so that a line can be summed by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// When the hold was granted, which decides the windows it belongs to for ever.
    pub reserved: Timestamp,
    /// Every purse that its spend belongs to.
    pub purses: Vec<String>,
}

/// The spend of a run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The spend, never clipped.
    pub spend: Spend,
    /// It is above the cap.
    pub overrun: bool,
    /// Whose spend it is.
    pub of: Origin,
    /// How the run ended, in the words of the step outputs; `None` where nobody said. For reports, so a
    /// word that this version does not know is no damage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// A hold that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// Why.
    pub reason: String,
    /// Whose hold it was.
    pub of: Origin,
}

/// A hold that nobody settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {
    /// What is charged: the whole cap, or what the evidence says.
    pub spend: Spend,
    /// There was evidence.
    pub proven: bool,
    /// Whose spend it is.
    pub of: Origin,
}

/// A correction of a closed hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjust {
    /// The true spend.
    pub spend: Spend,
    /// What that changes, normally downwards.
    pub delta: Usd,
    /// Where the knowledge comes from.
    pub evidence: String,
    /// Whose spend it is.
    pub of: Origin,
}

/// A run that was not started, because a limit had too little left for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The least that was worth having.
    pub least: Usd,
    /// The limit that refused it.
    pub by: Limit,
    /// What was settled on it.
    pub settled: Usd,
    /// What was held on it.
    pub held: Usd,
    /// Every purse that its spend would have belonged to.
    pub purses: Vec<String>,
    /// What the run would have been.
    pub about: About,
}

/// A larger cap for a hold that grows with its run. Only runs that were asked to hold so write it, and a
/// reader that does not know it stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extend {
    /// The cap from here on, above what it was.
    pub cap: Usd,
    /// The limit for which it is less than was asked, if one is.
    pub cut_by: Option<Cut>,
    /// Whose hold it is.
    pub of: Origin,
}

/// Something on record that is of no hold; its key says what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Damaged events were dropped.
    Repair(Repair),
    /// The provider's bill of a day was compared with the ledger.
    Bill(Bill),
}

/// What was dropped of a damaged ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Events that were kept, all of them before this one.
    pub kept: u64,
    /// Lines that were dropped.
    pub dropped: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Their SHA-256, in hex.
    pub sha256: String,
    /// What was wrong.
    pub damage: String,
    /// The folder beside the events that has the damaged files.
    pub aside: String,
    /// On whose word.
    pub by: String,
}

/// What a provider charged for a day, and what the ledger has for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// The provider.
    pub provider: String,
    /// The day, in UTC, as in `2026-11-23`.
    pub day: String,
    /// What the provider charged.
    pub billed: Usd,
    /// What the ledger has.
    pub ledger: Usd,
    /// The part of that which is a bound without evidence.
    pub unproven: Usd,
    /// By model.
    pub models: Vec<BilledModel>,
}

/// A model's part of a bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BilledModel {
    /// The model, as the provider names it; empty for what is no model's.
    pub model: String,
    /// What the provider charged.
    pub billed: Usd,
    /// What the ledger has.
    pub ledger: Usd,
}

/// An event with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The event.
    pub event: Event,
    /// The hash that it names of the line before.
    pub prev: LineHash,
    /// Its own hash.
    pub hash: LineHash,
}

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Longer than any line that is written.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes, the most that is ever written")]
    TooLong,
    /// Not JSON, or not an object with a version.
    #[error("the line is not an event")]
    NotAnEvent,
    /// Written by a newer tollgate.
    #[error("the event has format version {0}, and this tollgate reads version {VERSION} only")]
    UnknownVersion(u32),
    /// A type that a newer tollgate knows.
    #[error("the event has the type `{0}`, which this tollgate does not know")]
    UnknownType(String),
    /// The line was changed after it was written.
    #[error("the line does not match its own checksum: it was changed after it was written")]
    BadSum,
    /// A field is missing or has the wrong type, although the line is as it was written.
    #[error("the event cannot be read: {0}")]
    Malformed(String),
}

impl LineError {
    /// Whether a newer tollgate could read the line.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        match self {
            LineError::UnknownVersion(_) | LineError::UnknownType(_) => true,
            LineError::TooLong | LineError::NotAnEvent | LineError::BadSum | LineError::Malformed(_) => false,
        }
    }
}

/// The event is too large to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The length its line would have.
    pub bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event would take {} bytes, and a line has {LINE_BYTES_MAX} at most", self.bytes)
    }
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    seq: u64,
    at: Timestamp,
    t: &'a str,
    hold: &'a HoldId,
    body: &'a RawValue,
    prev: &'a LineHash,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Deserialize)]
struct Read<'a> {
    seq: u64,
    at: Timestamp,
    t: String,
    hold: HoldId,
    #[serde(borrow)]
    body: &'a RawValue,
    prev: LineHash,
}

/// Writes an event as a line, without the line feed.
///
/// # Errors
/// When the line would be longer than [`LINE_BYTES_MAX`].
///
/// # Panics
/// Never: the types of this module have a JSON form, whatever their values.
pub fn encode(event: &Event, prev: &LineHash) -> Result<String, TooLarge> {
    let body = match &event.kind {
        Kind::Reserve(body) => serde_json::value::to_raw_value(body),
        Kind::Settle(body) => serde_json::value::to_raw_value(body),
        Kind::Void(body) => serde_json::value::to_raw_value(body),
        Kind::Expire(body) => serde_json::value::to_raw_value(body),
        Kind::Adjust(body) => serde_json::value::to_raw_value(body),
        Kind::Refuse(body) => serde_json::value::to_raw_value(body),
        Kind::Extend(body) => serde_json::value::to_raw_value(body),
        Kind::Note(Note::Repair(body)) => serde_json::value::to_raw_value(body),
        Kind::Note(Note::Bill(body)) => serde_json::value::to_raw_value(body),
    }
    .expect("structs of strings and integers have a JSON form");
    let written = Written {
        v: VERSION,
        seq: event.seq,
        at: event.at,
        t: event.kind.as_str(),
        hold: &event.hold,
        body: &body,
        prev,
    };
    let line =
        seal(serde_json::to_string(&written).expect("structs of strings and integers have a JSON form"));
    if line.len() > LINE_BYTES_MAX { Err(TooLarge { bytes: line.len() }) } else { Ok(line) }
}

/// Reads a line, without its line feed.
///
/// # Errors
/// When it is no event of this format version, or not as it was written.
pub fn decode(line: &[u8]) -> Result<Line, LineError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| LineError::NotAnEvent)?;
    if let Ok(whole) = serde_json::from_str::<Whole>(text)
        && whole.v == VERSION
        && let Some(hash) = sealed_hash(text)
    {
        let event = Event { seq: whole.seq, at: whole.at, hold: whole.hold, kind: whole.kind };
        return Ok(Line { event, prev: whole.prev, hash });
    }
    decode_by_steps(text)
}

/// What is wrong with a line, or its event where only the order of its fields is not ours.
fn decode_by_steps(text: &str) -> Result<Line, LineError> {
    // A newer version may have other fields, so nothing but the version is looked at before it is known.
    let Versioned { v } = serde_json::from_str(text).map_err(|_| LineError::NotAnEvent)?;
    if v != VERSION {
        return Err(LineError::UnknownVersion(v));
    }
    let Some(hash) = sealed_hash(text) else { return Err(LineError::BadSum) };
    let malformed = |error: serde_json::Error| LineError::Malformed(error.to_string());
    let read: Read<'_> = serde_json::from_str(text).map_err(malformed)?;
    let mut body = serde_json::Deserializer::from_str(read.body.get());
    let Some(kind) = whole::kind(&read.t, &mut body) else { return Err(LineError::UnknownType(read.t)) };
    let kind = kind.and_then(|kind| body.end().map(|()| kind)).map_err(malformed)?;
    let event = Event { seq: read.seq, at: read.at, hold: read.hold, kind };
    Ok(Line { event, prev: read.prev, hash })
}

/// Adds a checksum of everything before it as the last field of a JSON object that has fields.
pub(super) fn seal(mut object: String) -> String {
    object.pop();
    let sum = checksum(&object);
    object.push_str(",\"sum\":\"");
    object.push_str(&sum);
    object.push_str("\"}");
    object
}

/// Whether a sealed object is as it was written.
pub(super) fn is_sealed(object: &str) -> bool {
    sealed_hash(object).is_some()
}

/// The hash of a sealed object that is as it was written. What the checksum covers is a beginning of what the
/// hash covers, so both come from one pass.
fn sealed_hash(object: &str) -> Option<LineHash> {
    let rest = object.strip_suffix("\"}")?;
    let (rest, sum) = rest.split_at_checked(rest.len().checked_sub(SUM_DIGITS)?)?;
    let covered = rest.strip_suffix(",\"sum\":\"")?;
    let mut hasher = Sha256::new_with_prefix(covered);
    if hex(&hasher.clone().finalize()[..SUM_DIGITS / 2]) != sum {
        return None;
    }
    hasher.update(&object[covered.len()..]);
    Some(LineHash(hex(&hasher.finalize())))
}

fn checksum(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..SUM_DIGITS / 2])
}
