//! The branch at one commit: read, checked against what was seen before, and laid out as a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::older;
use super::repo::Oid;
use super::seen::{self, Seen};
use super::tree::{self, Part, Tree};
use super::{CLOCK_OFF_MAX, GitStore, Inner, RemoteError};
use crate::ledger::commit::{Head, HeadError};
use crate::ledger::event::LineHash;
use crate::ledger::store::disk::Disk;
use crate::ledger::store::history::{Lines, shards};
use crate::ledger::store::{Damage, StoreError, audit};

/// The branch at one commit, as one namespace sees it.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) tree: Tree,
    /// The head, made again where the written one cannot be used.
    pub(super) head: Head,
    /// The head as it is written.
    pub(super) written: Result<Option<Head>, HeadError>,
    /// How far the server's clock is ahead of this machine's, where it is known.
    pub(super) ahead: Option<SignedDuration>,
}

impl Snapshot {
    /// The server's time where it is known, else this machine's.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        // The server tells whole seconds, and its answer has been on the way.
        let second = SignedDuration::from_secs(2);
        match self.ahead {
            Some(ahead) if ahead.abs() > second => now.saturating_add(ahead).unwrap_or(now),
            _ => now,
        }
    }

    /// # Errors
    /// When this machine's clock is too far off to write with.
    pub(super) fn check_clock(&self, here: Timestamp) -> Result<(), RemoteError> {
        let off = |whose, there: Timestamp| RemoteError::Clock { here, whose, there, most: CLOCK_OFF_MAX };
        let most = SignedDuration::try_from(CLOCK_OFF_MAX).unwrap_or(SignedDuration::MAX);
        if let Some(ahead) = self.ahead {
            let there = here.saturating_add(ahead).unwrap_or(here);
            return if ahead.abs() > most { Err(off("the server", there)) } else { Ok(()) };
        }
        match self.head.book.last_at() {
            Some(last) if last.duration_since(here) > most => Err(off("the ledger's last event", last)),
            _ => Ok(()),
        }
    }

    /// The branch's first commit, as far as its files tell.
    pub(super) fn root(&self) -> Option<&str> {
        self.tree.root.as_deref().or(self.tree.tip.as_deref())
    }

    fn seen(&self) -> Seen {
        Seen { seq: self.head.book.seq(), hash: self.head.book.hash().clone() }
    }
}

impl Inner {
    /// Reads a commit of the branch.
    pub(super) fn load(
        &mut self,
        store: &GitStore,
        tip: Option<Oid>,
        ahead: Option<SignedDuration>,
    ) -> Result<Snapshot, StoreError> {
        let Some(commit) = tip else {
            let (tree, head) = (Tree::default(), Head::default());
            return Ok(Snapshot { tree, head, written: Ok(None), ahead });
        };
        let place = &*store.place;
        let prefix = store.prefix();
        let repo = self.repo(place)?;
        let files = repo.list(place, &commit)?;
        if !files.keys().any(|path| path.ends_with("head.json") || path.contains("events/")) {
            return Err(foreign(store, "it has no events").into());
        }
        let mut wanted: Vec<(String, &str)> = Vec::new();
        let single = [format!("{prefix}head.json"), format!("{prefix}events/older"), "root".to_owned()];
        wanted.extend(single.iter().filter_map(|path| Some((path.clone(), files.get(path)?.as_str()))));
        let parts: Vec<(Part, &str)> = tree::parts_of(&files, &prefix).collect();
        let oids: Vec<&str> =
            wanted.iter().map(|(_, oid)| *oid).chain(parts.iter().map(|(_, oid)| *oid)).collect();
        let mut contents = repo.read(place, &oids)?;
        let texts = contents.split_off(wanted.len());
        let named: BTreeMap<String, String> = wanted
            .into_iter()
            .zip(contents)
            .map(|((path, _), content)| (path, String::from_utf8_lossy(&content).into_owned()))
            .collect();
        let older = match named.get(&single[1]) {
            Some(text) => {
                older::read(text).ok_or_else(|| gap(store, "the list of older events is unreadable"))?
            }
            None => Vec::new(),
        };
        let tree = Tree {
            introduced: files.contains_key("README.md"),
            root: named.get("root").map(|text| text.trim().to_owned()),
            older,
            parts: parts.into_iter().map(|(part, _)| part).zip(texts).collect(),
            tip: Some(commit),
        };
        let written = named.get(&single[0]).map(|text| Head::decode(text)).transpose();
        self.complete(store, tree, written, ahead)
    }

    /// Adds the head: as it is written where it is in order, else made again from all events.
    fn complete(
        &mut self,
        store: &GitStore,
        tree: Tree,
        written: Result<Option<Head>, HeadError>,
        ahead: Option<SignedDuration>,
    ) -> Result<Snapshot, StoreError> {
        let place = |what: Damage| {
            let newest = tree.parts.keys().next_back().map_or_else(|| "events".to_owned(), Part::path);
            let place = format!("{}:{}{newest}", store.place.branch, store.prefix());
            StoreError::from(RemoteError::Damaged { place, line: 0, what: Box::new(what) })
        };
        match &written {
            Err(error @ HeadError::UnknownVersion(_)) => {
                let path = PathBuf::from(format!("{}:{}head.json", store.place.branch, store.prefix()));
                Err(StoreError::Newer { path, line: 1, what: error.to_string() })
            }
            Ok(Some(head)) if head.book.seq() > 0 => match tree.last_line() {
                Some(line) if LineHash::of(line) == *head.book.hash() => {
                    Ok(Snapshot { head: head.clone(), tree, written, ahead })
                }
                Some(_) => Err(place(Damage::Changed)),
                None => Err(place(Damage::Short)),
            },
            Ok(Some(head)) => Ok(Snapshot { head: head.clone(), tree, written, ahead }),
            Ok(None) | Err(HeadError::Damaged | HeadError::Outdated(_)) => {
                let mut snapshot = Snapshot { tree, head: Head::default(), written, ahead };
                let (folder, _) = self.view(store, &snapshot, None)?;
                let book = audit(Lines::new(&Disk::Machine, &folder, shards(&Disk::Machine, &folder)?))
                    .map_err(|error| store.placed(error))?;
                snapshot.head = Head::at(book.into_book(), String::new(), 0, 0, 0);
                Ok(snapshot)
            }
        }
    }

    /// Whether the branch continues what was seen of it, and has the root that the budget file names.
    pub(super) fn check_seen(&mut self, store: &GitStore, snapshot: &Snapshot) -> Result<(), StoreError> {
        let place = &*store.place;
        let wanted = place.root.as_deref();
        let rewound = |what: String, forget: &str| {
            let (remote, branch) = (place.shown(), place.branch.clone());
            StoreError::from(RemoteError::Rewound { remote, branch, what, forget: forget.to_owned() })
        };
        if let Some(wanted) = wanted.filter(|wanted| snapshot.root() != Some(wanted)) {
            let what = match snapshot.root() {
                Some(root) => format!("it begins with {root}, and the budget file says {wanted}"),
                None => format!("it is gone, and the budget file says that it begins with {wanted}"),
            };
            return Err(rewound(what, "`ledger_root` from the budget file"));
        }
        let recalled = || seen::recall(place.seen.as_ref()?, &store.branch_key());
        let seen = [self.seen.clone(), recalled()].into_iter().flatten().max_by_key(|seen| seen.seq);
        if let Some(seen) = seen.filter(|seen| seen.seq > 0)
            && let Some(what) = self.discontinued(store, snapshot, &seen)?
        {
            let forget = place.seen.as_ref().map_or_else(
                || "nothing: this run alone remembers".to_owned(),
                |path| format!("`{}`, which remembers it", path.display()),
            );
            return Err(rewound(what, &forget));
        }
        self.remember(store, snapshot);
        Ok(())
    }

    /// How a snapshot does not continue what was seen.
    fn discontinued(
        &mut self,
        store: &GitStore,
        snapshot: &Snapshot,
        seen: &Seen,
    ) -> Result<Option<String>, StoreError> {
        let last = snapshot.head.book.seq();
        if snapshot.tree.tip.is_none() {
            return Ok(Some(format!("event {} was seen on it, and it is gone", seen.seq)));
        }
        if last < seen.seq {
            return Ok(Some(format!("event {} was seen on it, and it ends with event {last}", seen.seq)));
        }
        let same = if last == seen.seq {
            *snapshot.head.book.hash() == seen.hash
        } else {
            self.hash_of(store, snapshot, seen.seq)? == Some(seen.hash.clone())
        };
        Ok((!same).then(|| format!("event {} is not the one that was seen on it", seen.seq)))
    }

    pub(super) fn remember(&mut self, store: &GitStore, snapshot: &Snapshot) {
        let seen = snapshot.seen();
        if self.seen.as_ref().is_none_or(|known| known.seq < seen.seq) {
            if let Some(path) = &store.place.seen {
                seen::remember(path, &store.branch_key(), &seen);
            }
            self.seen = Some(seen);
        }
    }

    /// Whether the commit that the branch names as its first is that: asked of the whole history.
    pub(super) fn check_root(&mut self, store: &GitStore, snapshot: &Snapshot) -> Result<(), StoreError> {
        let place = &*store.place;
        let (Some(tip), Some(root)) = (&snapshot.tree.tip, snapshot.root()) else { return Ok(()) };
        let repo = self.repo(place)?;
        repo.fetch_all(place)?;
        let roots = repo.roots(place, tip)?;
        if roots == [root] {
            return Ok(());
        }
        let what = format!("it says that it begins with {root}, and it begins with {}", roots.join(", "));
        Err(foreign(store, &what).into())
    }
}

/// What is wrong with the list of older events.
pub(super) fn gap(store: &GitStore, what: &str) -> RemoteError {
    let place = format!("{}:{}events/older", store.place.branch, store.prefix());
    RemoteError::Damaged { place, line: 0, what: Box::new(Damage::Past(what.to_owned())) }
}

fn foreign(store: &GitStore, what: &str) -> RemoteError {
    let (remote, branch) = (store.place.shown(), store.place.branch.clone());
    RemoteError::Foreign { remote, branch, what: what.to_owned() }
}
