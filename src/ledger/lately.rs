//! What a book remembers of the recent past: holds that were closed, and purses that were reserved for.
//!
//! The head holds both and is written anew with every event, so each has a short form in it: text for what was
//! closed, and numbers for instants.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::book::CLOSED_MAX;
use super::event::LineHash;
use super::hold::Phase;
use crate::id::HoldId;

/// Hex digits of a key; a letter for the phase comes after them.
const DIGITS: usize = 16;

/// The holds that were closed last. Keys are long, and all that is asked is whether one was seen, so they are
/// kept as 64 bits of their hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Closed(VecDeque<(u64, Phase)>);

impl Closed {
    /// How a hold ended, if it did so lately.
    pub(super) fn find(&self, hold: &HoldId) -> Option<Phase> {
        let key = key(hold);
        self.0.iter().find(|(closed, _)| *closed == key).map(|(_, phase)| *phase)
    }

    pub(super) fn push(&mut self, hold: &HoldId, phase: Phase) {
        self.0.push_back((key(hold), phase));
        if self.0.len() > CLOSED_MAX {
            self.0.pop_front();
        }
    }
}

fn key(hold: &HoldId) -> u64 {
    u64::from_str_radix(LineHash::of(hold.as_str().as_bytes()).short(), 16).unwrap_or_default()
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
        let text = String::deserialize(deserializer)?;
        let entry = |entry: &[u8]| {
            let (digits, letter_of) = std::str::from_utf8(entry).ok()?.split_at_checked(DIGITS)?;
            let phases = [Phase::Held, Phase::Settled, Phase::Voided, Phase::Expired];
            let phase = phases.into_iter().find(|phase| letter_of.chars().eq([letter(*phase)]))?;
            Some((u64::from_str_radix(digits, 16).ok()?, phase))
        };
        let entries: Option<VecDeque<_>> = text.as_bytes().chunks(DIGITS + 1).map(entry).collect();
        entries.map(Self).ok_or_else(|| D::Error::custom("holds that were closed are unreadable"))
    }
}

/// Purses with the instant of their last reserve, in nanoseconds since 1970.
pub(super) mod purses {
    use super::*;

    pub(in crate::ledger) fn serialize<S: Serializer>(
        purses: &BTreeMap<String, Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(purses.iter().map(|(purse, at)| (purse, at.as_nanosecond())))
    }

    pub(in crate::ledger) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Timestamp>, D::Error> {
        let numbers = BTreeMap::<String, i128>::deserialize(deserializer)?;
        let instant = |(purse, at)| Timestamp::from_nanosecond(at).map(|at| (purse, at));
        numbers.into_iter().map(instant).collect::<Result<_, _>>().map_err(D::Error::custom)
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
}
