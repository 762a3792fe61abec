//! The local repository as an event, and changed files for events that come without.
//!
//! A pull request's files are those between its merge base and its head, as GitHub shows them. Work that
//! is not committed is not part of it.

use super::git::{Git, GitError};
use super::json::cut;
use super::{Change, Event, FILES_MAX, FileChange, Kind, PATCH_BYTES_MAX, PATCHES_BYTES_MAX, Person};

/// The most commits whose messages go into the body.
const COMMITS_MAX: usize = 50;

/// Changed files, and their number and lines in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// At most [`FILES_MAX`] of them.
    pub files: Vec<FileChange>,
    /// How many there are.
    pub total: u64,
    /// Lines added.
    pub additions: u64,
    /// Lines deleted.
    pub deletions: u64,
}

impl Files {
    fn put_into(self, change: &mut Change) {
        change.files = self.files;
        change.files_total = self.total;
        change.additions_total = self.additions;
        change.deletions_total = self.deletions;
    }
}

/// A range of commits: from a tree-ish, not included, to a commit.
struct Range {
    from: String,
    to: String,
    /// The range is no more than its last commit.
    single: bool,
}

/// The repository as an event: the current branch against its merge base with the default branch, or
/// the last commit where that is empty.
///
/// # Errors
/// No repository, no commit, or a repository that git will not read.
pub fn event(git: &Git) -> Result<Event, GitError> {
    // Each question is a process of its own: those that do not need each other's answers go together.
    let actor = || configured_person(git);
    let (found, actor) = both(actor, || change(git));
    let (top, change) = found?;
    let name = std::path::Path::new(&top).file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Event {
        default_branch: change.base.clone(),
        actor,
        change: Some(change),
        ..Event::bare(Kind::Local, &name.unwrap_or_default())
    })
}

/// Runs `aside` in a thread of its own meanwhile.
fn both<A: Send, B>(aside: impl FnOnce() -> A + Send, main: impl FnOnce() -> B) -> (B, A) {
    std::thread::scope(|scope| {
        let aside = scope.spawn(aside);
        let main = main();
        (main, aside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// The repository's top folder, and what the current branch changes.
fn change(git: &Git) -> Result<(String, Change), GitError> {
    let names = || (git.line(&["symbolic-ref", "-q", "--short", "HEAD"]), default_branch(git));
    let (tip, (branch, default)) = both(names, || {
        let top = git.run(&["rev-parse", "--show-toplevel"])?;
        Ok((String::from_utf8_lossy(&top).trim_end().to_owned(), commit(git, "HEAD")))
    });
    let (top, Some(head)) = tip? else {
        return Err(GitError::NoCommits(git.dir().to_owned()));
    };
    let branch = branch.unwrap_or_default();
    let default_branch = default.unwrap_or_else(|| branch.clone());
    let range = range(git, &head, &branch, &default_branch);
    let mut change = Change {
        branch,
        base: default_branch,
        base_sha: range.as_ref().map(|range| range.from.clone()).unwrap_or_default(),
        head_sha: head.clone(),
        ..Change::default()
    };
    // A shallow clone may lack the parent, a partial one the contents: then no files are known, rather
    // than all of them or none changed.
    let found = || range.as_ref().map(|range| files(git, &range.from, &range.to));
    let several = range.as_ref().filter(|range| !range.single);
    let (described, found) =
        both(found, || describe(git, &mut change, several.map(|range| range.from.as_str())));
    described?;
    if let Some(Ok(found)) = found {
        found.put_into(&mut change);
    }
    Ok((top, change))
}

/// Fills in the changed files of an event that came without, best effort: an event stays as it is where
/// the checkout does not have its commits.
pub fn fill(git: &Git, event: &mut Event) {
    let Some(change) = &mut event.change else { return };
    if !change.files.is_empty() {
        return;
    }
    let found = match event.kind {
        Kind::Push => pushed_files(git, change, &event.default_branch),
        Kind::IssueComment => checked_out_pull_request(git, change),
        Kind::WorkflowDispatch => checked_out_branch(git, change),
        _ => files_between(git, &change.base_sha, &change.head_sha),
    };
    let Some(found) = found else { return };
    // GitHub's own totals stay, since the list may be of a merge that came later.
    if change.files_total == 0 {
        found.put_into(change);
    } else {
        change.files = found.files;
    }
}

/// What a pull request from `base_sha` to `head_sha` changes, as far as the checkout knows; `None` where
/// it does not have both.
#[must_use]
pub fn files_between(git: &Git, base_sha: &str, head_sha: &str) -> Option<Files> {
    // `actions/checkout` leaves a merge of the two. It has the answer even in a shallow clone.
    if commit(git, "HEAD^2").is_some_and(|second| second == head_sha) {
        return files(git, &commit(git, "HEAD^1")?, "HEAD").ok();
    }
    let (base, head) = (commit(git, base_sha)?, commit(git, head_sha)?);
    let merge_base = git.line(&["merge-base", &base, &head])?;
    files(git, &merge_base, &head).ok()
}

fn pushed_files(git: &Git, change: &Change, default_branch: &str) -> Option<Files> {
    let head = commit(git, &change.head_sha)?;
    if let Some(before) = commit(git, &change.base_sha) {
        return files(git, &before, &head).ok();
    }
    // A branch that is new, or was rewritten.
    let default = commit(git, &format!("refs/remotes/origin/{default_branch}")).filter(|tip| *tip != head);
    let from = match default {
        Some(tip) => git.line(&["merge-base", &tip, &head])?,
        None => parent_tree(git, &head)?,
    };
    files(git, &from, &head).ok()
}

/// A comment's payload names no commits. Its pull request is there when `actions/checkout` was told to
/// fetch it, which leaves a reference with its number.
fn checked_out_pull_request(git: &Git, change: &mut Change) -> Option<Files> {
    let number = change.number?;
    let current = commit(git, "HEAD")?;
    let merge = commit(git, &format!("refs/remotes/pull/{number}/merge"));
    if merge.as_ref() == Some(&current) {
        change.base_sha = commit(git, "HEAD^1")?;
        change.head_sha = commit(git, "HEAD^2").unwrap_or_default();
        return files(git, &change.base_sha, "HEAD").ok();
    }
    let head = commit(git, &format!("refs/remotes/pull/{number}/head"))?;
    let base = commit(git, &format!("refs/remotes/origin/{}", change.base))?;
    let found = files_between(git, &base, &head)?;
    (change.base_sha, change.head_sha) = (base, head);
    Some(found)
}

fn checked_out_branch(git: &Git, change: &mut Change) -> Option<Files> {
    let head = commit(git, &format!("refs/remotes/origin/{}", change.branch))?;
    let base = commit(git, &format!("refs/remotes/origin/{}", change.base))?;
    let found = files_between(git, &base, &head)?;
    (change.base_sha, change.head_sha) = (base, head);
    Some(found)
}

/// The commit that `name` means here, if there is one.
fn commit(git: &Git, name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with('-') {
        return None;
    }
    git.line(&["rev-parse", "-q", "--verify", &format!("{name}^{{commit}}")])
}

fn default_branch(git: &Git) -> Option<String> {
    let remote = git.line(&["symbolic-ref", "-q", "--short", "refs/remotes/origin/HEAD"]);
    if let Some(branch) = remote.as_deref().and_then(|name| name.strip_prefix("origin/")) {
        return Some(branch.to_owned());
    }
    let usual = ["main", "master"];
    let refs = usual.map(|name| [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")]);
    let ask = ["for-each-ref", "--format=%(refname)"].map(str::to_owned);
    let there = git.run(&[&ask[..], &refs.concat()].concat()).unwrap_or_default();
    let there = String::from_utf8_lossy(&there);
    let exists = |refs: &[String; 2]| there.lines().any(|line| refs.iter().any(|name| name == line));
    usual.into_iter().zip(&refs).find(|(_, refs)| exists(refs)).map(|(name, _)| name.to_owned())
}

/// What to look at: the shortest way from the default branch, as the remote or as the clone has it; the
/// last commit where there is none.
fn range(git: &Git, head: &str, branch: &str, default_branch: &str) -> Option<Range> {
    let mut bases = vec![format!("refs/remotes/origin/{default_branch}")];
    if branch != default_branch {
        bases.push(format!("refs/heads/{default_branch}"));
    }
    let ahead = |base: &String| {
        let merge_base = git.line(&["merge-base", &commit(git, base)?, head])?;
        let count = git.line(&["rev-list", "--count", &format!("{merge_base}..{head}")])?;
        Some((count.parse::<u64>().ok()?, merge_base))
    };
    match bases.iter().filter_map(ahead).min() {
        Some((count, from)) if count > 0 => Some(Range { from, to: head.to_owned(), single: count == 1 }),
        _ => Some(Range { from: parent_tree(git, head)?, to: head.to_owned(), single: true }),
    }
}

/// The first parent of `commit_id`, or the empty tree for a first commit; `None` where a shallow clone
/// has cut the parent off.
fn parent_tree(git: &Git, commit_id: &str) -> Option<String> {
    if let Some(parent) = commit(git, &format!("{commit_id}^1")) {
        return Some(parent);
    }
    let raw = git.run(&["cat-file", "commit", commit_id]).ok()?;
    let has_parent = raw.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    if has_parent.into_iter().any(|line| line.starts_with(b"parent ")) {
        return None;
    }
    // Computed, because it is another one in SHA-256 repositories.
    git.line(&["hash-object", "-t", "tree", "/dev/null"])
}

/// The files that differ between two trees, renames followed.
fn files(git: &Git, from: &str, to: &str) -> Result<Files, GitError> {
    const DIFF: [&str; 7] = ["diff", "--numstat", "-z", "-M", "--no-color", "--no-ext-diff", "--no-textconv"];
    let mut args = DIFF.to_vec();
    args.extend(["--ignore-submodules=none", from, to, "--"]);
    let mut found = parse_numstat(&git.run(&args)?);
    add_patches(git, from, to, &mut found);
    Ok(found)
}

/// More changed lines than this in all, and the patches are not asked for.
const PATCHED_LINES_MAX: u64 = 5_000;
/// More changed files than this, and the patches are not asked for.
const PATCHED_FILES_MAX: u64 = 200;

/// Puts the patches of a change of modest size beside its files, with enough lines around them to see
/// where comments begin. Best effort: without them less is known.
fn add_patches(git: &Git, from: &str, to: &str, found: &mut Files) {
    let lines = found.additions.saturating_add(found.deletions);
    if lines == 0 || lines > PATCHED_LINES_MAX || found.total > PATCHED_FILES_MAX {
        return;
    }
    const DIFF: [&str; 8] = [
        "diff",
        "-U20",
        "-M",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--no-prefix",
        "--ignore-submodules=all",
    ];
    let args = [&DIFF[..], &[from, to, "--"]].concat();
    let Some(output) = git.run_at_most(&args, PATCHES_BYTES_MAX) else { return };
    for section in String::from_utf8_lossy(&output).split("\ndiff --git ") {
        let Some(hunks) = section.find("\n@@").map(|at| &section[at + 1..]) else { continue };
        let head = &section[..section.len() - hunks.len()];
        let named =
            |mark: &str| head.lines().find_map(|line| Some(line.strip_prefix(mark)?.trim_end_matches('\t')));
        let path = named("+++ ").filter(|path| *path != "/dev/null").or_else(|| named("--- "));
        let file = path.and_then(|path| found.files.iter_mut().find(|file| file.path == path));
        if let Some(file) = file.filter(|_| hunks.len() <= PATCH_BYTES_MAX) {
            file.patch = Some(hunks.to_owned());
        }
    }
}

/// Reads `git diff --numstat -z`: `added TAB deleted TAB path NUL`, or for a rename an empty path and
/// then `old NUL new NUL`. Binary files have `-` for counts, and no lines.
fn parse_numstat(output: &[u8]) -> Files {
    let mut found = Files::default();
    let mut fields = output.split(|byte| *byte == 0);
    while let Some(field) = fields.next() {
        let mut columns = field.splitn(3, |byte| *byte == b'\t');
        let (Some(added), Some(deleted), Some(path)) = (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        let path = if path.is_empty() { fields.nth(1).unwrap_or_default() } else { path };
        let count =
            |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let file = FileChange {
            path: String::from_utf8_lossy(path).into_owned(),
            additions: count(added),
            deletions: count(deleted),
            patch: None,
        };
        found.total += 1;
        found.additions = found.additions.saturating_add(file.additions);
        found.deletions = found.deletions.saturating_add(file.deletions);
        if found.files.len() < FILES_MAX {
            found.files.push(file);
        }
    }
    found
}

/// Title, body and author from the commit messages: the last commit's, and where the range has more,
/// their first lines as a list.
fn describe(git: &Git, change: &mut Change, from: Option<&str>) -> Result<(), GitError> {
    let limit = format!("--max-count={}", if from.is_some() { COMMITS_MAX } else { 1 });
    let span = from.map_or_else(|| change.head_sha.clone(), |from| format!("{from}..{}", change.head_sha));
    let format = "--format=%an%n%B";
    let args = ["log", "-z", "--encoding=UTF-8", "--no-color", limit.as_str(), format, span.as_str(), "--"];
    let output = git.run(&args)?;
    let text = String::from_utf8_lossy(&output);
    let mut commits = text.split('\0').filter_map(|commit| commit.split_once('\n'));
    if let Some((author, message)) = commits.next() {
        (change.title, change.body) = super::github::split_message(message);
        change.author =
            Person { login: author.to_owned(), bot: author.ends_with("[bot]"), association: None };
    }
    let others: Vec<String> =
        commits.map(|(_, message)| format!("- {}", super::github::split_message(message).0)).collect();
    if !others.is_empty() {
        let separator = if change.body.is_empty() { "" } else { "\n\n" };
        change.body = cut(&format!("{}{separator}{}", change.body, others.join("\n")));
    }
    Ok(())
}

/// Whoever git would write into a commit made now.
fn configured_person(git: &Git) -> Person {
    let login = ["user.name", "user.email"].iter().find_map(|key| git.line(&["config", "--get", key]));
    Person { login: login.unwrap_or_else(|| "local".to_owned()), bot: false, association: None }
}

#[cfg(test)]
mod tests;
