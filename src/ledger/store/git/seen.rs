//! What was seen of a branch last, so that one that is deleted or turned back is noticed.
//!
//! A hash chain can be built anew by whoever may write the branch; what a machine has seen it cannot
//! take back. Hashes of lines are compared, not commits: they are what the money hangs on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ledger::event::LineHash;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The last event that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) seq: u64,
    pub(super) hash: LineHash,
}

type All = BTreeMap<String, Seen>;

fn read(path: &Path) -> Option<All> {
    use std::io::Read as _;
    let mut text = Vec::new();
    super::super::plain::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What a file remembers of a branch.
pub(super) fn recall(path: &Path, branch: &str) -> Option<Seen> {
    read(path)?.remove(branch)
}

/// Remembers, unless something newer is remembered already. A machine that cannot remember is no worse
/// off than one that is new.
pub(super) fn remember(path: &Path, branch: &str, seen: &Seen) {
    let mut all = read(path).unwrap_or_default();
    if all.get(branch).is_some_and(|known| known.seq >= seen.seq) {
        return;
    }
    all.insert(branch.to_owned(), seen.clone());
    let Ok(text) = serde_json::to_vec(&all) else { return };
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = path.parent().map(std::fs::create_dir_all).unwrap_or(Ok(()));
    let written = written.and_then(|()| write_new(&beside, &text));
    let _ = written.and_then(|()| std::fs::rename(&beside, path));
}

fn write_new(path: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let _ = std::fs::remove_file(path);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file?.write_all(text)
}
