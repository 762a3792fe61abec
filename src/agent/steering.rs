//! Files that steer an agent, taken from the default branch while it works on a pull request.
//!
//! Instructions, settings, hooks and tools that an agent finds in the working tree are orders to it. A
//! pull request must not give them, so what it adds or changes of these files is moved aside before the
//! agent starts, what the default branch has takes its place, and afterwards everything is put back: a
//! patch made then holds none of it. Links are never followed, neither to read nor to write.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use super::git::{GitError, bare, os, output, run};

#[cfg(test)]
mod tests;

/// Names that steer an agent, at any depth, files and folders alike; compared without case.
const NAMES: &[&str] = &[
    // Claude Code
    ".claude",
    ".claude.json",
    ".mcp.json",
    "claude.md",
    "claude.local.md",
    // Codex, and the name that many read
    ".agents",
    ".codex",
    "agents.md",
    "agents.override.md",
    // Gemini CLI
    ".gemini",
    ".geminiignore",
    "gemini.md",
    // opencode
    ".opencode",
    "opencode.json",
    "opencode.jsonc",
    // aider
    ".aider.conf.yml",
    ".aider.model.metadata.json",
    ".aider.model.settings.yml",
    // Editors whose agents run in pipelines as well
    ".clinerules",
    ".cursor",
    ".cursorrules",
    ".windsurf",
    ".windsurfrules",
    // Variables that agents and their runtimes read from the working folder
    ".env",
    ".envrc",
    "bunfig.toml",
    // What git runs or fetches
    ".gitmodules",
    ".husky",
];
/// Beginnings of such names.
const PREFIXES: &[&str] = &[".env."];
/// Paths from the top that steer an agent.
const PATHS: &[&str] = &[
    ".github/agents",
    ".github/chatmodes",
    ".github/copilot-instructions.md",
    ".github/instructions",
    ".github/prompts",
    ".github/skills",
];

/// The most files and folders that are looked at.
const ENTRIES_MAX: usize = 1_000_000;
/// The largest file that is taken from the default branch, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The mode of a link in a tree.
const LINK: &[u8] = b"120000";
/// The most links that are followed within the default branch's own tree.
const LINKS_MAX: usize = 8;

/// Why the files could not be taken from the default branch: then no agent is started.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// Git could not tell what the default branch has.
    #[error("the files that steer an agent cannot be read from the default branch: {0}")]
    Git(#[from] GitError),
    /// A file could not be read, written or moved.
    #[error("the files that steer an agent cannot be taken from the default branch: {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is more than is looked at.
    #[error(
        "the working tree has more than {ENTRIES_MAX} files, which is more than are searched for files that steer an agent"
    )]
    TooManyFiles,
}

/// Whether a path, relative to the top of the working tree, steers an agent.
#[must_use]
pub fn steers(path: &Path) -> bool {
    let lower = path.as_os_str().to_string_lossy().to_ascii_lowercase();
    let by_path = PATHS
        .iter()
        .any(|known| lower.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    by_path
        || lower
            .split('/')
            .any(|part| NAMES.contains(&part) || PREFIXES.iter().any(|prefix| part.starts_with(prefix)))
}

/// A working tree whose steering files are the default branch's, until it is put back.
#[derive(Debug)]
pub struct Steering {
    root: PathBuf,
    /// Where the pull request's own versions wait, and where the agent's end.
    aside: PathBuf,
    swaps: Vec<Swap>,
    /// Folders that were made for files of the default branch.
    made: Vec<PathBuf>,
    said: Vec<String>,
}

/// One file that is not as the pull request has it.
#[derive(Debug)]
struct Swap {
    /// From the top of the working tree.
    path: PathBuf,
    /// Where the pull request's version waits, if it has one.
    theirs: Option<PathBuf>,
    /// What stands in its place, if anything.
    ours: Option<Vec<u8>>,
}

/// Where the default branch's files come from.
#[derive(Debug)]
pub enum Source<'a> {
    /// A commit that the repository has.
    Commit(&'a str),
    /// The steering files themselves.
    Files(Vec<Given>),
    /// Nowhere: then the agent gets none.
    Nowhere,
}

/// A steering file of the default branch.
#[derive(Clone, Debug)]
pub struct Given {
    /// From the top of the working tree.
    pub path: PathBuf,
    /// Whether it can be executed.
    pub executable: bool,
    /// What is in it.
    pub content: Vec<u8>,
}

/// A file of the default branch.
struct Blob {
    mode: Vec<u8>,
    id: String,
    /// What is in it, where git need not be asked.
    content: Option<Vec<u8>>,
}

/// The default branch: all its files, by path.
struct DefaultBranch {
    files: BTreeMap<PathBuf, Blob>,
    /// Those that the working tree does not have as they are here.
    differing: BTreeSet<PathBuf>,
}

impl Steering {
    /// Takes every steering file below `root` from `source`. `git` is an absolute path. What was done is in
    /// [`Steering::said`].
    ///
    /// # Errors
    /// When it could not be done wholly: then everything is as it was before.
    pub async fn take(
        git: &Path,
        root: &Path,
        source: Source<'_>,
        run_folder: &Path,
    ) -> Result<Self, SteeringError> {
        let known = !matches!(source, Source::Nowhere);
        let default = match source {
            Source::Commit(commit) => read_default(git, root, commit).await?,
            Source::Files(files) => given(root, files),
            Source::Nowhere => given(root, Vec::new()),
        };
        let found = walk(root)?;
        let mut wrong = default.differing.clone();
        wrong.extend(leading_out(&default, git, root).await?);
        wrong.extend(found.iter().filter(|path| !default.files.contains_key(*path)).cloned());
        let aside = run_folder.join("steering");
        let mut this =
            Self { root: root.to_owned(), aside, swaps: Vec::new(), made: Vec::new(), said: Vec::new() };
        let mut done = this.remove(&wrong, known, &default);
        if done.is_ok() {
            done = this.place(git, &default).await;
        }
        // Where it failed, what was done already is undone when `this` is dropped.
        done.map(|()| this)
    }

    /// What was done, one line for each file.
    #[must_use]
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Moves the pull request's own versions aside.
    fn remove(
        &mut self,
        wrong: &BTreeSet<PathBuf>,
        known: bool,
        default: &DefaultBranch,
    ) -> Result<(), SteeringError> {
        let waiting = self.aside.join("before");
        for (number, path) in wrong.iter().enumerate() {
            let here = self.root.join(path);
            let is_there = fs::symlink_metadata(&here).is_ok_and(|file| !file.is_dir());
            let theirs = is_there.then(|| waiting.join(number.to_string()));
            if let Some(theirs) = &theirs {
                folder(&waiting)?;
                relocate(&here, theirs).map_err(at(&here))?;
            }
            let shown = shown(path);
            let ours = default.files.contains_key(path);
            self.said.push(match (known, is_there, ours) {
                (false, ..) => format!(
                    "{shown} is kept from the agent: it steers agents, and this checkout has no default branch to take it from"
                ),
                (true, _, false) => format!("{shown} is kept from the agent: it steers agents, and the default branch has no such file"),
                (true, true, true) => format!("{shown} is the default branch's while the agent runs: it steers agents"),
                (true, false, true) => format!("{shown} is put back while the agent runs: it steers agents, and the default branch has it"),
            });
            self.swaps.push(Swap { path: path.clone(), theirs, ours: None });
        }
        Ok(())
    }

    /// Writes the default branch's versions.
    async fn place(&mut self, git: &Path, default: &DefaultBranch) -> Result<(), SteeringError> {
        for index in 0..self.swaps.len() {
            let path = self.swaps[index].path.clone();
            if !default.files.contains_key(&path) {
                continue;
            }
            let Some(blob) = resolve(default, git, &self.root, &path).await? else {
                self.said.push(format!(
                    "{} is kept from the agent: it is a link to what is no file",
                    shown(&path)
                ));
                continue;
            };
            let Some(content) = content(git, &self.root, blob).await? else {
                self.said.push(format!("{} is kept from the agent: it is too large", shown(&path)));
                continue;
            };
            let here = self.root.join(&path);
            if !self.make_parents(&path)? {
                self.said
                    .push(format!("{} is kept from the agent: a link or a file is in its way", shown(&path)));
                continue;
            }
            // Only an empty folder goes: what it held steers agents as well, and was moved.
            let _ = fs::remove_dir(&here);
            let mode = if blob.mode == b"100755" { 0o755 } else { 0o644 };
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(mode).open(&here).map_err(at(&here))?;
            self.swaps[index].ours = Some(Vec::new());
            file.write_all(&content).map_err(at(&here))?;
            self.swaps[index].ours = Some(content);
        }
        Ok(())
    }

    /// Makes the folders that a path lies in; whether they are all folders, and no links to such.
    fn make_parents(&mut self, path: &Path) -> Result<bool, SteeringError> {
        let mut folder = self.root.clone();
        for part in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(part) = part else { return Ok(false) };
            folder.push(part);
            match fs::symlink_metadata(&folder) {
                Ok(there) if there.is_dir() => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&folder).map_err(at(&folder))?;
                    self.made.push(folder.clone());
                }
                Err(error) => return Err(at(&folder)(error)),
            }
        }
        Ok(true)
    }

    /// Puts everything back as the pull request has it, after the agent has ended. What the agent has
    /// made of these files meanwhile is kept beside the patch; what is worth knowing is returned.
    #[must_use]
    pub fn put_back(mut self) -> Vec<String> {
        self.put_all_back()
    }

    fn put_all_back(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        for swap in std::mem::take(&mut self.swaps) {
            match self.put_one_back(&swap) {
                Ok(note) => notes.extend(note),
                Err(error) => notes.push(format!(
                    "{} could not be put back as the pull request has it: {error}",
                    shown(&swap.path)
                )),
            }
        }
        // The innermost first; one that the agent has put something into stays.
        for folder in std::mem::take(&mut self.made).iter().rev() {
            let _ = fs::remove_dir(folder);
        }
        notes
    }

    fn put_one_back(&mut self, swap: &Swap) -> io::Result<Option<String>> {
        let here = self.root.join(&swap.path);
        let parents = self.make_parents(&swap.path).map_err(io::Error::other)?;
        if !parents {
            return Err(io::Error::other("a link or a file is in its way"));
        }
        let there = fs::symlink_metadata(&here).is_ok();
        let untouched = match &swap.ours {
            Some(content) => there && is(&here, content),
            None => !there,
        };
        let mut note = None;
        if !untouched {
            let shown = shown(&swap.path);
            note = Some(format!(
                "the agent has removed {shown}, which steers agents: it is as the pull request has it"
            ));
            if there {
                let kept = self.aside.join("agent").join(&swap.path);
                folder(kept.parent().unwrap_or(&self.aside)).map_err(io::Error::other)?;
                relocate(&here, &kept)?;
                note = Some(format!(
                    "the agent has changed {shown}, which steers agents: its version is not in the patch, but in {}",
                    kept.display()
                ));
            }
        } else if there {
            fs::remove_file(&here)?;
        }
        if let Some(theirs) = &swap.theirs {
            relocate(theirs, &here)?;
        }
        Ok(note)
    }
}

/// A run that ends before its agent has started leaves nothing behind either.
impl Drop for Steering {
    fn drop(&mut self) {
        drop(self.put_all_back());
    }
}

/// What of the files that were given the working tree has otherwise.
fn given(root: &Path, files: Vec<Given>) -> DefaultBranch {
    let mut default = DefaultBranch { files: BTreeMap::new(), differing: BTreeSet::new() };
    for Given { path, executable, content } in files {
        if !is(&root.join(&path), &content) {
            default.differing.insert(path.clone());
        }
        let mode = if executable { b"100755" } else { b"100644" };
        let blob = Blob { mode: mode.to_vec(), id: String::new(), content: Some(content) };
        default.files.insert(path, blob);
    }
    default
}

/// What the default branch has at `commit`, and what of the steering files the working tree has otherwise.
async fn read_default(git: &Path, root: &Path, commit: &str) -> Result<DefaultBranch, SteeringError> {
    let list = asked(git, root, &["ls-tree", "-r", "-z", "--full-tree", commit]);
    let diff =
        ["diff-index", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--ignore-submodules=all"];
    let diff = asked(git, root, &[&diff[..], &[commit, "--"]].concat());
    let (list, diff) = tokio::join!(output(list), output(diff));
    let (list, diff) = (list?, diff?);
    let mut files = BTreeMap::new();
    for entry in list.split(|byte| *byte == 0) {
        let mut halves = entry.splitn(2, |byte| *byte == b'\t');
        let (Some(head), Some(name)) = (halves.next(), halves.next()) else { continue };
        let mut head = head.split(|byte| *byte == b' ');
        let (Some(mode), Some(b"blob"), Some(id)) = (head.next(), head.next(), head.next()) else { continue };
        let blob = Blob { mode: mode.to_vec(), id: String::from_utf8_lossy(id).into_owned(), content: None };
        files.insert(PathBuf::from(os(name)), blob);
    }
    let names = diff.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let names = names.map(|name| PathBuf::from(os(name)));
    let differing = names.filter(|path| steers(path)).collect();
    Ok(DefaultBranch { files, differing })
}

/// Git on the working tree, before the agent starts: what runs by the repository's own word is off.
fn asked(git: &Path, root: &Path, args: &[&str]) -> tokio::process::Command {
    let mut command = bare(git);
    command
        .current_dir(root)
        .args(["-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
        .args(["-c", "core.untrackedCache=false", "--literal-pathspecs"])
        .args(args);
    command
}

/// Links of the default branch that would show the agent something that is not the default branch's: all
/// but those that point at another file that steers agents, since that one is taken from there as well.
async fn leading_out(
    default: &DefaultBranch,
    git: &Path,
    root: &Path,
) -> Result<Vec<PathBuf>, SteeringError> {
    let mut out = Vec::new();
    for (path, blob) in &default.files {
        if blob.mode == LINK && steers(path) {
            let target = target(git, root, path, blob).await?;
            if !target.is_some_and(|target| steers(&target) && default.files.contains_key(&target)) {
                out.push(path.clone());
            }
        }
    }
    Ok(out)
}

/// Where a link of the default branch points, within the tree.
async fn target(git: &Path, root: &Path, path: &Path, blob: &Blob) -> Result<Option<PathBuf>, SteeringError> {
    let target = output(asked(git, root, &["cat-file", "blob", &blob.id])).await?;
    Ok(joined(path.parent().unwrap_or(Path::new("")), Path::new(os(&target))))
}

/// The file behind a path of the default branch, its links followed within that branch alone.
async fn resolve<'a>(
    default: &'a DefaultBranch,
    git: &Path,
    root: &Path,
    path: &Path,
) -> Result<Option<&'a Blob>, SteeringError> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(blob) = default.files.get(&path) else { return Ok(None) };
        if blob.mode != LINK {
            return Ok(Some(blob));
        }
        match target(git, root, &path, blob).await? {
            Some(next) => path = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// What is in a file; `None` where that is too large.
async fn content(git: &Path, root: &Path, blob: &Blob) -> Result<Option<Vec<u8>>, SteeringError> {
    if let Some(content) = &blob.content {
        return Ok(Some(content.clone()));
    }
    let mut content = Vec::new();
    let command = asked(git, root, &["cat-file", "blob", &blob.id]);
    let bytes = run(command, FILE_BYTES_MAX, &mut content).await?;
    Ok((bytes <= FILE_BYTES_MAX).then_some(content))
}

/// A relative path from a folder, within the tree; `None` where it leaves it.
fn joined(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut out = folder.to_owned();
    for part in path.components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

/// Every steering file below `root`, relative to it. Links count as files.
fn walk(root: &Path) -> Result<Vec<PathBuf>, SteeringError> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    let mut seen = 0_usize;
    while let Some(folder) = folders.pop() {
        let here = root.join(&folder);
        let entries = match fs::read_dir(&here) {
            Ok(entries) => entries,
            // Not ours to read, so not the agent's: it runs as the same user.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(at(&here)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(at(&here))?;
            seen += 1;
            if seen > ENTRIES_MAX {
                return Err(SteeringError::TooManyFiles);
            }
            let name = entry.file_name();
            let at_top = folder.as_os_str().is_empty();
            if name == OsStr::from_bytes(b".git") || (at_top && name == OsStr::from_bytes(b".tollgate")) {
                continue;
            }
            let path = folder.join(&name);
            if entry.file_type().map_err(at(&here))?.is_dir() {
                folders.push(path);
            } else if steers(&path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether a file that is one holds this.
fn is(path: &Path, content: &[u8]) -> bool {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let Ok(file) = file else { return false };
    if !file.metadata().is_ok_and(|file| file.is_file()) {
        return false;
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).is_ok() && bytes == content
}

/// Moves a file or a link, never through one.
fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        other => return other,
    }
    let there = fs::symlink_metadata(from)?;
    if there.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
    } else if there.is_file() {
        fs::copy(from, to)?;
    } else {
        return Err(io::Error::other("it is neither a file nor a link"));
    }
    fs::remove_file(from)
}

fn folder(path: &Path) -> Result<(), SteeringError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// A name as a log can show it: whatever is unusual in it is escaped.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('`') {
        format!("`{text}`")
    } else {
        format!("{:?}", path)
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SteeringError {
    move |source| SteeringError::Io { path: path.to_owned(), source }
}
