//! The branch's files: which there are, and what a transaction makes of them.
//!
//! ```text
//! README.md  .gitattributes  root        what this branch is; its first commit, from the second one on
//! head.json                              the book
//! events/2026-11/0003.jsonl              the part of the month that is written to
//! events/older                           where in the history the parts before it are; see `older`
//! simulate/…                             a namespace: the same again
//! ```
//! A commit keeps the parts it appends to and drops the others: they stay in the history, in the commit
//! before it. So the tip is small whatever the length of the history, and every push is.

use std::collections::BTreeMap;

use super::older::{self, Older};
use super::repo::{Change, Oid};
use crate::ledger::commit::Head;

/// Lines of a part; then the next one begins. Every commit writes the whole part again.
pub(super) const PART_LINES_MAX: usize = 100;

/// What the branch says of itself.
const README: &str = "\
# The ledger of tollgate

Holds and spend of AI agents, one event a line. Tollgate writes it with compare-and-swap pushes; do not
edit, merge or rebase this branch. `tollgate ledger show` prints it, `tollgate ledger verify` checks it.
Rules that forbid deletion and non-fast-forward pushes protect it; rules that ask for pull requests,
checks or signatures must leave it out.
";
const ATTRIBUTES: &str = "* -text\n*.jsonl -merge\n*.json -merge\n";

/// A stretch of a month's events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// `2026-11`
    pub(super) month: String,
    /// From 1.
    pub(super) number: u32,
}

impl Part {
    /// Its path below the namespace.
    pub(super) fn path(&self) -> String {
        format!("events/{}/{:04}.jsonl", self.month, self.number)
    }

    pub(super) fn parse(path: &str) -> Option<Self> {
        let (month, file) = path.strip_prefix("events/")?.split_once('/')?;
        let number = file.strip_suffix(".jsonl")?;
        let is_number = (4..=7).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_month = crate::ledger::commit::is_shard(&format!("{month}.jsonl"));
        (is_number && is_month).then_some(Self { month: month.to_owned(), number: number.parse().ok()? })
    }

    /// The shard that its lines belong to.
    pub(super) fn shard(&self) -> String {
        format!("{}.jsonl", self.month)
    }
}

/// The branch at one commit, as one namespace sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// The commit; `None` before the first.
    pub(super) tip: Option<Oid>,
    /// The branch has its top-level files.
    pub(super) introduced: bool,
    /// Its first commit, where the tip says.
    pub(super) root: Option<Oid>,
    pub(super) older: Vec<Older>,
    /// The parts that the tip has, with their text.
    pub(super) parts: BTreeMap<Part, Vec<u8>>,
}

/// The paths of a namespace among those of a commit: the parts, the head, the list of older parts.
pub(super) fn parts_of<'a>(
    files: &'a BTreeMap<String, Oid>,
    prefix: &'a str,
) -> impl Iterator<Item = (Part, &'a str)> {
    files.iter().filter_map(move |(path, oid)| Some((Part::parse(path.strip_prefix(prefix)?)?, oid.as_str())))
}

impl Tree {
    /// What the lines of a transaction change, and the tree after it but for its commit.
    pub(super) fn with(
        &self,
        prefix: &str,
        lines: &[(String, String)],
        head: &Head,
    ) -> (Tree, Vec<(String, Change)>) {
        let mut next = self.clone();
        let mut touched: Vec<Part> = Vec::new();
        for (shard, line) in lines {
            let part = next.part_for(shard);
            let text = next.parts.entry(part.clone()).or_default();
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
            if !touched.contains(&part) {
                touched.push(part);
            }
        }
        let mut changes = Vec::new();
        if !next.introduced {
            changes.push(("README.md".to_owned(), Change::Write(README.into())));
            changes.push((".gitattributes".to_owned(), Change::Write(ATTRIBUTES.into())));
            next.introduced = true;
        }
        if let (None, Some(tip)) = (&self.root, &self.tip) {
            changes.push(("root".to_owned(), Change::Write(format!("{tip}\n").into_bytes())));
            next.root = Some(tip.clone());
        }
        let dropped: Vec<Part> = next.parts.keys().filter(|part| !touched.contains(part)).cloned().collect();
        if !dropped.is_empty() {
            let tip = self.tip.clone().unwrap_or_default();
            let month = touched.iter().max().map_or("", |part| &part.month);
            next.older = older::folded(&self.older, &tip, month);
            for part in dropped {
                next.parts.remove(&part);
                changes.push((format!("{prefix}{}", part.path()), Change::Remove));
                next.older.push(Older::one(part, tip.clone()));
            }
            let text = older::write(&next.older).into_bytes();
            changes.push((format!("{prefix}events/older"), Change::Write(text)));
        }
        for part in &touched {
            let text = next.parts.get(part).cloned().unwrap_or_default();
            changes.push((format!("{prefix}{}", part.path()), Change::Write(text)));
        }
        changes.push((format!("{prefix}head.json"), Change::Write(head.encode().into_bytes())));
        (next, changes)
    }

    /// The part that the next line of a shard goes to.
    fn part_for(&self, shard: &str) -> Part {
        let month = shard.trim_end_matches(".jsonl").to_owned();
        let of_month =
            self.parts.iter().filter(|(part, _)| part.month == month).max_by_key(|(part, _)| part.number);
        if let Some((part, text)) = of_month {
            let full = memchr::memchr_iter(b'\n', text).count() >= PART_LINES_MAX;
            return Part { month, number: part.number + u32::from(full) };
        }
        let older = self.older.iter().filter(|older| older.first.month == month);
        let last = older.map(|older| older.last).max().unwrap_or(0);
        Part { month, number: last + 1 }
    }

    /// The last line of the newest part, without its line feed; `None` where it has none.
    pub(super) fn last_line(&self) -> Option<&[u8]> {
        let (_, text) = self.parts.last_key_value()?;
        let body = text.strip_suffix(b"\n")?;
        let start = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
        Some(&body[start..])
    }

    /// Whether the parts of each month are numbered without a gap.
    pub(super) fn is_whole(&self) -> bool {
        let older = self.older.iter().map(|older| (&older.first, older.last));
        let mut all: Vec<(&Part, u32)> =
            older.chain(self.parts.keys().map(|part| (part, part.number))).collect();
        all.sort_unstable();
        let mut before: Option<(&str, u32)> = None;
        all.into_iter().all(|(part, last)| {
            let expected = match before.replace((&part.month, last)) {
                Some((month, last)) if month == part.month => last.checked_add(1),
                _ => Some(1),
            };
            expected == Some(part.number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_full_makes_room_for_the_next_and_stays_in_the_history() {
        let line = |count: usize| vec![("2026-11.jsonl".to_owned(), "{}".to_owned()); count];
        let head = Head::default();
        let (tree, _) = Tree::default().with("", &line(PART_LINES_MAX - 1), &head);
        let tree = Tree { tip: Some("1".repeat(40)), ..tree };
        // One commit may fill a part and begin the next: it has both.
        let (both, changes) = tree.with("", &line(2), &head);
        let numbers = |tree: &Tree| tree.parts.keys().map(|part| part.number).collect::<Vec<_>>();
        assert_eq!(numbers(&both), [1, 2]);
        assert!(both.older.is_empty() && both.is_whole());
        assert!(changes.iter().any(|(path, _)| path == "root"));
        let both = Tree { tip: Some("2".repeat(40)), ..both };
        let (next, changes) = both.with("", &line(1), &head);
        assert_eq!(numbers(&next), [2]);
        let first = Part { month: "2026-11".to_owned(), number: 1 };
        assert_eq!(next.older, [Older::one(first.clone(), "2".repeat(40))]);
        assert!(changes.contains(&(first.path(), Change::Remove)), "{changes:?}");
        assert!(next.is_whole());
        assert!(!Tree { older: Vec::new(), ..next }.is_whole(), "its first part is missing");
        // After a month without events, the next begins at 1, and an older month goes on after its last part.
        let (december, _) = both.with("", &[("2026-12.jsonl".to_owned(), "{}".to_owned())], &head);
        assert_eq!(december.parts.keys().map(Part::path).collect::<Vec<_>>(), ["events/2026-12/0001.jsonl"]);
    }

    #[test]
    fn a_part_of_more_lines_than_are_written_today_is_full() {
        let part = Part { month: "2026-11".to_owned(), number: 7 };
        let tip = "1".repeat(40);
        let parts = [(part.clone(), b"{}\n".repeat(3 * PART_LINES_MAX))].into();
        let tree = Tree { tip: Some(tip.clone()), parts, ..Tree::default() };
        let line = ("2026-11.jsonl".to_owned(), "{}".to_owned());
        let (next, _) = tree.with("", &[line], &Head::default());
        assert_eq!(next.parts.keys().map(|part| part.number).collect::<Vec<_>>(), [8]);
        assert_eq!(next.older, [Older::one(part, tip)]);
    }
}
