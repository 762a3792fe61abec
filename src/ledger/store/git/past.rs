//! The events that the tip of the branch no longer has: found in its history, a few parts at a time.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::older::{self, Older};
use super::snapshot::{Snapshot, gap};
use super::tree::{PART_LINES_MAX, Part, Tree};
use super::{GitStore, Inner, Scratch};
use crate::ledger::commit::shard_of;
use crate::ledger::event::LineHash;
use crate::ledger::store::StoreError;

/// Parts, and lists of parts, that are in memory at once: a history may be of any length.
const PARTS_AT_ONCE: usize = 64;

impl Inner {
    /// A folder with the events of an instant and later, one file a month as in a file ledger.
    pub(super) fn view(
        &mut self,
        store: &GitStore,
        snapshot: &Snapshot,
        since: Option<Timestamp>,
    ) -> Result<(PathBuf, Arc<Scratch>), StoreError> {
        let tree = &snapshot.tree;
        check_whole(store, tree)?;
        let first = since.map(shard_of).unwrap_or_default();
        let (mut older, several): (Vec<Older>, Vec<Older>) =
            tree.older.iter().filter(|older| older.first.shard() >= first).cloned().partition(Older::is_one);
        older.extend(self.unfolded(store, &several)?);
        older.sort_unstable();
        self.views += 1;
        let number = self.views;
        let scratch = self.repo(&store.place)?.scratch.clone();
        let folder = scratch.path().join(format!("events-{number}"));
        std::fs::create_dir(&folder).map_err(StoreError::io("make", &folder))?;
        let append = |part: &Part, text: &[u8]| {
            let path = folder.join(part.shard());
            let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
            file.and_then(|mut file| file.write_all(text)).map_err(StoreError::io("write", &path))
        };
        let mut recent = tree.parts.iter().peekable();
        for some in older.chunks(PARTS_AT_ONCE) {
            for (older, text) in some.iter().zip(self.texts(store, some)?) {
                while let Some((part, text)) = recent.next_if(|(part, _)| **part < older.first) {
                    append(part, text)?;
                }
                append(&older.first, &text)?;
            }
        }
        for (part, text) in recent {
            append(part, text)?;
        }
        Ok((folder, scratch))
    }

    /// The hash of a line, from the parts at hand or from as much of the history as has to be read for it.
    pub(super) fn hash_of(
        &mut self,
        store: &GitStore,
        snapshot: &Snapshot,
        seq: u64,
    ) -> Result<Option<LineHash>, StoreError> {
        let tree = &snapshot.tree;
        // Lines from the end that come after it.
        let mut after = snapshot.head.book.seq() - seq;
        let at_hand = tree.parts.values().rev().find_map(|text| line_before(text, &mut after));
        if let Some(line) = at_hand {
            return Ok(Some(LineHash::of(line)));
        }
        check_whole(store, tree)?;
        let mut older = tree.older.clone();
        older.sort_unstable();
        while let Some(newest) = older.pop() {
            if !newest.is_one() {
                older.extend(self.unfolded(store, &[newest])?);
                continue;
            }
            older.push(newest);
            let parts = usize::try_from(after).unwrap_or(usize::MAX) / PART_LINES_MAX + 1;
            let ones = older.iter().rev().take_while(|older| older.is_one()).count();
            let some = older.split_off(older.len() - parts.min(ones).min(PARTS_AT_ONCE));
            let texts = self.texts(store, &some)?;
            if let Some(line) = texts.iter().rev().find_map(|text| line_before(text, &mut after)) {
                return Ok(Some(LineHash::of(line)));
            }
        }
        Ok(None)
    }

    /// The single parts that rows of them stand for. Each list is read once, whatever rows it is to explain.
    fn unfolded(&mut self, store: &GitStore, several: &[Older]) -> Result<Vec<Older>, StoreError> {
        let mut by_commit: BTreeMap<&str, Vec<&Older>> = BTreeMap::new();
        for row in several {
            by_commit.entry(&row.commit).or_default().push(row);
        }
        let lists: Vec<Older> = by_commit.values().map(|rows| rows[0].clone()).collect();
        let mut ones = Vec::new();
        for some in lists.chunks(PARTS_AT_ONCE) {
            for (list, text) in some.iter().zip(self.texts(store, some)?) {
                let listed = older::read(&String::from_utf8_lossy(&text)).unwrap_or_default();
                for row in &by_commit[list.commit.as_str()] {
                    let parts = older::unfolded(row, &listed);
                    ones.extend(parts.ok_or_else(|| gap(store, "a part of the events is missing"))?);
                }
            }
        }
        Ok(ones)
    }

    /// The files that lines of `events/older` lead to.
    fn texts(&mut self, store: &GitStore, older: &[Older]) -> Result<Vec<Vec<u8>>, StoreError> {
        let (place, prefix) = (&*store.place, store.prefix());
        let repo = self.repo(place)?;
        let commits: Vec<&str> = older.iter().map(|older| older.commit.as_str()).collect();
        repo.fetch_commits(place, &commits)?;
        let names: Vec<String> = older.iter().map(|older| older.file(&prefix)).collect();
        Ok(repo.read(place, &names.iter().map(String::as_str).collect::<Vec<_>>())?)
    }
}

fn check_whole(store: &GitStore, tree: &Tree) -> Result<(), StoreError> {
    match tree.is_whole() {
        true => Ok(()),
        false => Err(gap(store, "a part of the events is missing").into()),
    }
}

/// The line of a part that `after` lines follow; where it has too few, they are taken off `after`.
fn line_before<'a>(text: &'a [u8], after: &mut u64) -> Option<&'a [u8]> {
    let lines = text.strip_suffix(b"\n").unwrap_or(text).rsplit(|byte| *byte == b'\n');
    for line in lines.filter(|line| !line.is_empty()) {
        if *after == 0 {
            return Some(line);
        }
        *after -= 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_the_end_over_several_parts() {
        let parts: [&[u8]; 3] = [b"e\nf\n", b"", b"b\nc\nd\n"];
        let line = |mut after: u64| {
            let line = parts.iter().find_map(|text| line_before(text, &mut after));
            line.map(|line| String::from_utf8_lossy(line).into_owned())
        };
        let lines: Vec<Option<String>> = (0..6).map(line).collect();
        assert_eq!(
            lines,
            ["f", "e", "d", "c", "b"]
                .map(|line| Some(line.to_owned()))
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
        );
    }
}
