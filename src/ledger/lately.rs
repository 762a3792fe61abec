//! What a book remembers of the recent past: holds that were closed, and purses that were reserved for.
//!
//! The head holds both and is read and written anew with every event. So names are kept as 64 bits of their hash,
//! since all that is asked is whether one was seen, and each list is one text.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::book::{CLOSED_MAX, PURSES_MAX};
use super::hold::Phase;
use crate::id::HoldId;

/// Hex digits of 64 bits.
const DIGITS: usize = 16;

/// What is kept of a name.
fn hash(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// The first 64 bits of a text in hex, and what comes after.
fn number(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at_checked(DIGITS)?;
    Some((u64::from_str_radix(digits, 16).ok()?, rest))
}

/// The entries of a list, each of `length` bytes.
fn entries<T, L: FromIterator<T>>(text: &str, length: usize, read: impl Fn(&str) -> Option<T>) -> Option<L> {
    let entry = |bytes| read(std::str::from_utf8(bytes).ok()?);
    text.as_bytes().chunks(length).map(entry).collect()
}

/// The holds that were closed last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Closed(VecDeque<(u64, Phase)>);

impl Closed {
    /// How a hold ended, if it did so lately.
    pub(super) fn find(&self, hold: &HoldId) -> Option<Phase> {
        let key = hash(hold.as_str());
        self.0.iter().find(|(closed, _)| *closed == key).map(|(_, phase)| *phase)
    }

    pub(super) fn push(&mut self, hold: &HoldId, phase: Phase) {
        self.0.push_back((hash(hold.as_str()), phase));
        if self.0.len() > CLOSED_MAX {
            self.0.pop_front();
        }
    }
}

const fn letter(phase: Phase) -> char {
    match phase {
        Phase::Held => 'h',
        Phase::Settled => 's',
        Phase::Voided => 'v',
        Phase::Expired => 'e',
    }
}

impl Serialize for Closed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(self.0.len() * (DIGITS + 1));
        for (key, phase) in &self.0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{key:016x}{}", letter(*phase));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Closed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |entry: &str| {
            let (key, letter_of) = number(entry)?;
            let phases = [Phase::Held, Phase::Settled, Phase::Voided, Phase::Expired];
            let phase = phases.into_iter().find(|phase| letter_of.chars().eq([letter(*phase)]))?;
            Some((key, phase))
        };
        let text = String::deserialize(deserializer)?;
        let closed = entries(&text, DIGITS + 1, read);
        closed.map(Self).ok_or_else(|| D::Error::custom("holds that were closed are unreadable"))
    }
}

/// The purses that were reserved for last, each with the instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Touched {
    last: Instants,
    /// Purses that were forgotten had no reserve after this.
    forgotten: Option<Timestamp>,
}

impl Touched {
    /// Since when there is certainly no reserve for a purse; `None` where there never was one.
    pub(super) fn last(&self, purse: &str) -> Option<Timestamp> {
        self.last.0.get(&hash(purse)).copied().or(self.forgotten)
    }

    pub(super) fn touch(&mut self, purse: &str, at: Timestamp) {
        let last = self.last.0.entry(hash(purse)).or_insert(at);
        *last = at.max(*last);
    }

    /// Forgets the purses that were not reserved for longest; a quarter at once, since it costs a sort.
    pub(super) fn forget(&mut self) {
        if self.last.0.len() <= PURSES_MAX {
            return;
        }
        let mut times: Vec<Timestamp> = self.last.0.values().copied().collect();
        times.sort_unstable();
        let until = times[times.len() - PURSES_MAX * 3 / 4];
        self.last.0.retain(|_, at| *at > until);
        self.forgotten = Some(until);
    }
}

/// Instants by hash. Their text has nanoseconds since 1970, which fit until 2554.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Instants(BTreeMap<u64, Timestamp>);

impl Serialize for Instants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(self.0.len() * 2 * DIGITS);
        for (hash, at) in &self.0 {
            let nanoseconds = u64::try_from(at.as_nanosecond().max(0)).unwrap_or(u64::MAX);
            // Writing to a string cannot fail.
            let _ = write!(text, "{hash:016x}{nanoseconds:016x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Instants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |entry: &str| {
            let (hash, rest) = number(entry)?;
            let (nanoseconds, end) = number(rest)?;
            let at = Timestamp::from_nanosecond(nanoseconds.into()).ok()?;
            end.is_empty().then_some((hash, at))
        };
        let text = String::deserialize(deserializer)?;
        let instants = entries(&text, 2 * DIGITS, read);
        instants.map(Self).ok_or_else(|| D::Error::custom("purses that were reserved for are unreadable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_has_a_short_form_that_is_read_again() {
        let mut closed = Closed::default();
        let phases = [Phase::Settled, Phase::Voided, Phase::Expired];
        let holds: Vec<HoldId> = (0..3).map(|number| HoldId::from_text(&format!("hold {number}"))).collect();
        for (hold, phase) in holds.iter().zip(phases) {
            closed.push(hold, phase);
        }
        let text = serde_json::to_string(&closed).expect("text");
        assert_eq!(text.len(), 3 * 17 + 2, "{text}");
        let read: Closed = serde_json::from_str(&text).expect("its own text");
        assert_eq!(read, closed);
        assert_eq!(holds.iter().map(|hold| read.find(hold)).collect::<Vec<_>>(), phases.map(Some));
        assert_eq!(read.find(&HoldId::from_text("hold 3")), None);
        for wrong in ["\"0123456789abcdef\"", "\"0123456789abcdefx\"", "\"0123456789abcdegs\"", "\"s\"", "[]"]
        {
            assert!(serde_json::from_str::<Closed>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut closed = Closed::default();
        let hold = |number: usize| HoldId::from_text(&number.to_string());
        (0..=CLOSED_MAX).for_each(|number| closed.push(&hold(number), Phase::Settled));
        assert_eq!((closed.find(&hold(0)), closed.find(&hold(1))), (None, Some(Phase::Settled)));
    }

    #[test]
    fn purses_have_a_short_form_that_is_read_again() {
        let at = |text: &str| -> Timestamp { text.parse().expect(text) };
        let mut touched = Touched::default();
        touched.touch("repo", at("2026-11-28T08:30:00.123456789Z"));
        touched.touch("pr:17", at("2026-11-27T08:30:00Z"));
        touched.touch("repo", at("2026-11-20T08:30:00Z"));
        let text = serde_json::to_string(&touched).expect("text");
        let read: Touched = serde_json::from_str(&text).expect("its own text");
        assert_eq!(read, touched);
        assert_eq!(read.last("repo"), Some(at("2026-11-28T08:30:00.123456789Z")), "the later one");
        assert_eq!((read.last("pr:17"), read.last("pr:18")), (Some(at("2026-11-27T08:30:00Z")), None));
        for wrong in
            [&text.replace("\",", "0\","), &text.replace(":\"", ":\"x"), "{\"last\":7,\"forgotten\":null}"]
        {
            assert!(serde_json::from_str::<Touched>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_forgotten_counts_as_reserved_for_when_the_last_of_them_was() {
        let at = |seconds: usize| Timestamp::from_second(seconds as i64).expect("an instant");
        let mut touched = Touched::default();
        for number in 0..=PURSES_MAX {
            touched.touch(&number.to_string(), at(number));
            touched.forget();
        }
        let until = at(PURSES_MAX / 4 + 1);
        assert_eq!(touched.last("0"), Some(until));
        assert_eq!(touched.last("never"), Some(until), "nobody can tell it from one that was forgotten");
        assert_eq!(touched.last(&PURSES_MAX.to_string()), Some(at(PURSES_MAX)));
    }
}
