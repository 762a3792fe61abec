//! What a book remembers of the recent past: holds that were closed, and purses that were reserved for.
//!
//! The head holds both and is read and written anew with every event. So of names a part of their hash is kept,
//! since all that is asked is whether one was seen, and each list is one text: its records in base64. A hold that is
//! taken for a closed one would not be granted: 64 bits. A purse that is taken for another one costs a look into
//! the history: 32 bits.

use std::collections::{BTreeMap, VecDeque};

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::book::{CLOSED_MAX, PURSES_MAX};
use super::hold::Phase;
use crate::id::HoldId;

/// What is kept of a name.
fn hash(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// A list as one text.
fn write<const BYTES: usize, S: Serializer>(
    records: impl ExactSizeIterator<Item = [u8; BYTES]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(records.len() * BYTES);
    records.for_each(|record| bytes.extend_from_slice(&record));
    serializer.serialize_str(&BASE64_STANDARD_NO_PAD.encode(bytes))
}

/// The list of a text.
fn read<'de, const BYTES: usize, T, L: FromIterator<T>, D: Deserializer<'de>>(
    deserializer: D,
    record: impl Fn(&[u8; BYTES]) -> Option<T>,
) -> Result<L, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64_STANDARD_NO_PAD.decode(text).map_err(D::Error::custom)?;
    let (records, rest) = bytes.as_chunks();
    let list = records.iter().map(record).collect::<Option<L>>().filter(|_| rest.is_empty());
    list.ok_or_else(|| D::Error::custom("a list has something else in it"))
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
        let record = |(key, phase): &(u64, Phase)| {
            let [a, b, c, d, e, f, g, h] = key.to_be_bytes();
            [a, b, c, d, e, f, g, h, letter(*phase)]
        };
        write(self.0.iter().map(record), serializer)
    }
}

impl<'de> Deserialize<'de> for Closed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = |&[a, b, c, d, e, f, g, h, of]: &[u8; 9]| {
            let phases = [Phase::Held, Phase::Settled, Phase::Voided, Phase::Expired];
            let phase = phases.into_iter().find(|phase| of == letter(*phase))?;
            Some((u64::from_be_bytes([a, b, c, d, e, f, g, h]), phase))
        };
        read(deserializer, record).map(Self)
    }
}

/// What is kept of a purse. Two that share it share the later instant.
fn short_hash(purse: &str) -> u32 {
    (hash(purse) >> 32) as u32
}

/// The purses that were reserved for last, each with the instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Touched {
    purses: Seconds,
    /// Purses that were forgotten had no reserve after this.
    forgotten: Option<Timestamp>,
}

impl Touched {
    /// Since when there is certainly no reserve for a purse; `None` where there never was one.
    pub(super) fn last(&self, purse: &str) -> Option<Timestamp> {
        self.purses.0.get(&short_hash(purse)).map(|second| instant(*second)).or(self.forgotten)
    }

    pub(super) fn touch(&mut self, purse: &str, at: Timestamp) {
        let last = self.purses.0.entry(short_hash(purse)).or_default();
        *last = second_after(at).max(*last);
    }

    /// Forgets the purses that were not reserved for longest; a quarter at once, since it costs a sort.
    pub(super) fn forget(&mut self) {
        if self.purses.0.len() <= PURSES_MAX {
            return;
        }
        let mut seconds: Vec<u32> = self.purses.0.values().copied().collect();
        seconds.sort_unstable();
        let until = seconds[seconds.len() - PURSES_MAX * 3 / 4];
        self.purses.0.retain(|_, second| *second > until);
        self.forgotten = Some(instant(until));
    }
}

/// The first whole second since 1970 that is not before an instant: what is remembered may be later than what
/// was, and costs a look into the history then, but not earlier. It fits until 2106.
fn second_after(at: Timestamp) -> u32 {
    let second = at.as_second() + i64::from(at.subsec_nanosecond() > 0);
    u32::try_from(second.max(0)).unwrap_or(u32::MAX)
}

fn instant(second: u32) -> Timestamp {
    Timestamp::from_second(i64::from(second)).unwrap_or(Timestamp::MAX)
}

/// Seconds by hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seconds(BTreeMap<u32, u32>);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = |(hash, second): (&u32, &u32)| {
            let ([a, b, c, d], [e, f, g, h]) = (hash.to_be_bytes(), second.to_be_bytes());
            [a, b, c, d, e, f, g, h]
        };
        write(self.0.iter().map(record), serializer)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| {
            Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
        };
        read(deserializer, record).map(Self)
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
        assert_eq!(text.len(), 3 * 12 + 2, "{text}");
        let read: Closed = serde_json::from_str(&text).expect("its own text");
        assert_eq!(read, closed);
        assert_eq!(holds.iter().map(|hold| read.find(hold)).collect::<Vec<_>>(), phases.map(Some));
        assert_eq!(read.find(&HoldId::from_text("hold 3")), None);
        // One record of nine bytes ends with `s`; then eight, ten, another end, another alphabet, and no text.
        assert!(serde_json::from_str::<Closed>("\"ABCDABCDABBz\"").is_ok());
        for wrong in [
            "\"ABCDABCDABA\"",
            "\"ABCDABCDABBzAA\"",
            "\"ABCDABCDABBx\"",
            "\"ABCDABCDAB-z\"",
            "\"ABCDABCDABBz=\"",
            "[]",
        ] {
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
    fn an_instant_is_remembered_as_the_second_after_it() {
        for (text, second) in [
            ("1969-12-31T23:59:59.5Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("2026-11-28T08:30:00Z", 1_795_854_600),
            ("2026-11-28T08:30:00.999999999Z", 1_795_854_601),
            ("2600-01-01T00:00:00Z", u32::MAX),
        ] {
            let at: Timestamp = text.parse().expect(text);
            assert_eq!(second_after(at), second, "{text}");
            assert!(instant(second) >= at || second == u32::MAX, "{text}");
        }
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
        assert_eq!(text.len(), 22 + r#"{"purses":"","forgotten":null}"#.len(), "{text}");
        assert_eq!(read.last("repo"), Some(at("2026-11-28T08:30:01Z")), "the later one");
        assert_eq!((read.last("pr:17"), read.last("pr:18")), (Some(at("2026-11-27T08:30:00Z")), None));
        for wrong in [
            &text.replace("\",", "AAAA\","),
            &text.replace(":\"", ":\"*"),
            &text.replace("purses", "last"),
            "{\"purses\":7,\"forgotten\":null}",
        ] {
            assert!(serde_json::from_str::<Touched>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn purses_that_share_their_hash_share_the_later_instant() {
        // Found by trying: the first 32 bits of their SHA-256 are the same.
        let (one, other) = ("pr:83961", "pr:116007");
        assert_eq!(short_hash(one), short_hash(other));
        let at = |seconds| Timestamp::from_second(seconds).expect("an instant");
        let mut touched = Touched::default();
        touched.touch(one, at(20));
        touched.touch(other, at(10));
        assert_eq!((touched.last(one), touched.last(other)), (Some(at(20)), Some(at(20))));
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
