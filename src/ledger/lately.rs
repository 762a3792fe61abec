//! What a book remembers of the recent past: holds that were closed, and purses that were reserved for.
//!
//! The head holds both and is read and written anew with every event. So names are kept as 64 bits of their hash,
//! since all that is asked is whether one was seen, and each list is one text.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
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

const HEX: [u8; 16] = *b"0123456789abcdef";
/// What each byte stands for in hex; above 15 where it is no digit.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[HEX[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// 64 bits in hex.
fn digits(number: u64) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    digits
}

/// The first 64 bits of a text in hex, and what comes after.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = text.split_at_checked(DIGITS)?;
    let (mut number, mut all) = (0, 0);
    for digit in digits {
        let value = VALUES[usize::from(*digit)];
        all |= value;
        number = number << 4 | u64::from(value & 15);
    }
    (all < 16).then_some((number, rest))
}

/// The entries of a list, each of `length` bytes.
fn entries<T, L: FromIterator<T>>(text: &str, length: usize, read: impl Fn(&[u8]) -> Option<T>) -> Option<L> {
    text.as_bytes().chunks(length).map(read).collect()
}

/// A list as the text that it is.
fn serialize_text<S: Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(std::str::from_utf8(text).map_err(S::Error::custom)?)
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

const fn letter(phase: Phase) -> u8 {
    match phase {
        Phase::Held => b'h',
        Phase::Settled => b's',
        Phase::Voided => b'v',
        Phase::Expired => b'e',
    }
}

impl Serialize for Closed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(self.0.len() * (DIGITS + 1));
        for (key, phase) in &self.0 {
            text.extend_from_slice(&digits(*key));
            text.push(letter(*phase));
        }
        serialize_text(&text, serializer)
    }
}

impl<'de> Deserialize<'de> for Closed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |entry: &[u8]| {
            let (key, letter_of) = number(entry)?;
            let phases = [Phase::Held, Phase::Settled, Phase::Voided, Phase::Expired];
            let phase = phases.into_iter().find(|phase| letter_of == [letter(*phase)])?;
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

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970; none before, and the most there can be after they have run out.
fn nanoseconds(at: Timestamp) -> u64 {
    let Ok(second) = u64::try_from(at.as_second()) else { return 0 };
    let rest = u64::try_from(at.subsec_nanosecond()).unwrap_or(0);
    second.checked_mul(SECOND).and_then(|whole| whole.checked_add(rest)).unwrap_or(u64::MAX)
}

impl Serialize for Instants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(self.0.len() * 2 * DIGITS);
        for (hash, at) in &self.0 {
            text.extend_from_slice(&digits(*hash));
            text.extend_from_slice(&digits(nanoseconds(*at)));
        }
        serialize_text(&text, serializer)
    }
}

impl<'de> Deserialize<'de> for Instants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |entry: &[u8]| {
            let (hash, rest) = number(entry)?;
            let (nanoseconds, end) = number(rest)?;
            let second = i64::try_from(nanoseconds / SECOND).ok()?;
            let at = Timestamp::new(second, i32::try_from(nanoseconds % SECOND).ok()?).ok()?;
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
    fn numbers_are_written_as_hex_and_read_again() {
        for value in [0, 1, 15, 16, 0x0123_4567_89ab_cdef, 1_764_318_600_123_456_789, u64::MAX] {
            let text = digits(value);
            assert_eq!(text, *format!("{value:016x}").as_bytes());
            assert_eq!(number(&text), Some((value, &[][..])));
        }
        for wrong in
            ["0123456789abcde", "0123456789abcdeg", "0123456789ABCDEF", "+123456789abcdef", "é23456789abcdef"]
        {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong}");
        }
        for text in
            ["1970-01-01T00:00:00.000000001Z", "2026-11-28T08:30:00.123456789Z", "2554-07-21T23:34:33Z"]
        {
            let at: Timestamp = text.parse().expect(text);
            assert_eq!(i128::from(nanoseconds(at)), at.as_nanosecond(), "{text}");
        }
        let before: Timestamp = "1969-12-31T23:59:59.5Z".parse().expect("a time");
        let after: Timestamp = "2600-01-01T00:00:00Z".parse().expect("a time");
        assert_eq!((nanoseconds(before), nanoseconds(after)), (0, u64::MAX));
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
