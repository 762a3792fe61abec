//! The agent's work as a patch: everything that differs from the commit it started at, committed or not.
//!
//! After an agent has run, nothing in the working tree or in `.git` can be trusted: its configuration may
//! name filters, hooks and monitors that git would run. So git works on a repository of our own that
//! borrows the objects, with our own configuration and a copy of the index taken before the agent
//! started; the user's index and configuration are neither read nor written after that.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::git::{GitError, bare as bare_git, os, output, run};

#[cfg(test)]
mod tests;

/// The largest patch that is saved, in bytes.
const PATCH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most that changed files may hold for a patch to be tried, in bytes.
const FILES_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Tollgate's own folder, which is nobody's work.
const OWN_FOLDER: &str = ":(top,exclude).tollgate";

/// What became of the agent's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchOutcome {
    /// It is in a patch.
    Saved {
        /// The patch, for `git apply`.
        path: PathBuf,
        /// How many files it changes.
        files: usize,
        /// Its size.
        bytes: u64,
    },
    /// There was none.
    Nothing,
    /// It is too large for a patch; a list of the files was saved.
    TooLarge {
        /// The list.
        list: PathBuf,
        /// How many files it names.
        files: usize,
    },
    /// The working tree is not one of git.
    NotARepository,
    /// It could not be saved, and why.
    Failed(String),
}

/// A repository as it was before the agent started.
#[derive(Clone, Debug)]
pub struct Baseline {
    git: PathBuf,
    work_tree: PathBuf,
    /// Our own repository, in the run's folder.
    shadow: PathBuf,
    /// What that was made of. An agent could write to its files, and git does what its configuration says:
    /// so they are made again once it has ended.
    made_of: Made,
    /// The commit the agent started at; the empty tree in a repository without one.
    base: String,
    /// Files differed from that commit before the agent started.
    dirty: bool,
    run_folder: PathBuf,
}

/// What our own repository is made of, besides the index.
#[derive(Clone, Debug)]
struct Made {
    config: String,
    /// The folder whose objects it borrows.
    objects: Vec<u8>,
    /// What is ignored besides what the working tree says.
    exclude: Vec<u8>,
    /// The commits whose parents the checkout does not have.
    shallow: Vec<u8>,
}

/// Why there is no patch.
#[derive(Debug, thiserror::Error)]
enum PatchError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Baseline {
    /// Notes where a repository is, before the agent starts. `git` is an absolute path, so that the agent
    /// cannot put another in its place on `PATH`.
    ///
    /// # Errors
    /// With the outcome there will be: the workspace is not in a repository, or something failed.
    pub async fn take(git: &Path, workspace: &Path, run_folder: &Path) -> Result<Self, PatchOutcome> {
        match Self::try_take(git, workspace, run_folder).await {
            Ok(Some(baseline)) => Ok(baseline),
            Ok(None) => Err(PatchOutcome::NotARepository),
            Err(error) => Err(PatchOutcome::Failed(error.to_string())),
        }
    }

    async fn try_take(git: &Path, workspace: &Path, folder: &Path) -> Result<Option<Self>, PatchError> {
        let here = |args: &[&str]| {
            let mut command = bare_git(git);
            let off = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];
            command.current_dir(workspace).args(["-c", "safe.directory=*"]).args(off).args(args);
            command
        };
        let ask = ["rev-parse", "--path-format=absolute", "--show-toplevel", "--show-object-format"];
        let paths = [
            "--git-path",
            "objects",
            "--git-path",
            "index",
            "--git-path",
            "info/exclude",
            "--git-path",
            "shallow",
        ];
        let commit = here(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
        // What the file system is like is for the repository to say; there may be nothing to say.
        let about_files = r"^core\.(autocrlf|eol|filemode|ignorecase|symlinks)$";
        let config = here(&["config", "--null", "--get-regexp", about_files]);
        let paths = here(&[&ask[..], &paths].concat());
        let status = ["--no-optional-locks", "status", "--porcelain", "-z", "--ignore-submodules=all"];
        let status = here(&status);
        // The agent waits for these: all at once.
        let (answer, commit, config, status) =
            tokio::join!(output(paths), output(commit), output(config), output(status));
        let Ok(answer) = answer else { return Ok(None) };
        let answer: Vec<&[u8]> = answer.split(|byte| *byte == b'\n').collect();
        let [work_tree, format, objects, index, exclude, shallow, _] = answer[..] else { return Ok(None) };
        let base = match commit {
            Ok(commit) => commit,
            // No commit yet: everything is new.
            Err(_) => output(here(&["hash-object", "-t", "tree", "/dev/null"])).await?,
        };
        let config = config.unwrap_or_default();
        let shadow = folder.join("shadow.git");
        let mut ignored = std::fs::read(os(exclude)).unwrap_or_default();
        // Not by a pathspec: `git add` fails where one names a folder that is ignored already.
        // aider keeps a cache of the repository in it, and nowhere else.
        ignored.extend_from_slice(b"\n/.tollgate/\n/.aider.tags.cache.v*/\n");
        let made_of = Made {
            config: shadow_config(format, &config),
            objects: objects.to_vec(),
            exclude: ignored,
            shallow: std::fs::read(os(shallow)).unwrap_or_default(),
        };
        make_shadow(&shadow, &made_of)?;
        copy_if_there(Path::new(os(index)), &shadow.join("index"))?;
        Ok(Some(Self {
            made_of,
            git: git.to_owned(),
            work_tree: PathBuf::from(os(work_tree)),
            shadow,
            base: String::from_utf8_lossy(&base).trim().to_owned(),
            dirty: status.is_ok_and(|status| !status.is_empty()),
            run_folder: folder.to_owned(),
        }))
    }

    /// Whether there were changes in the working tree before the agent started: the patch has them too.
    #[must_use]
    pub fn was_dirty(&self) -> bool {
        self.dirty
    }

    /// Saves what differs from the baseline as `partial.patch` in the run's folder, after the agent has
    /// ended. New files count, ignored ones do not.
    pub async fn save(&self) -> PatchOutcome {
        self.try_save().await.unwrap_or_else(|error| PatchOutcome::Failed(error.to_string()))
    }

    /// Removes the objects of the patch: of no more use then, and as large as what has changed.
    pub fn discard(self) {
        let _ = std::fs::remove_dir_all(&self.shadow);
    }

    /// Folders that the agent has made repositories of their own: what is in them is in no patch.
    pub async fn nested(&self) -> Vec<String> {
        let names = self.untracked().await.unwrap_or_default();
        let names: Vec<&[u8]> = names.split(|byte| *byte == 0).collect();
        nested(&names).map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    async fn try_save(&self) -> Result<PatchOutcome, PatchError> {
        self.make_anew()?;
        let names = self.untracked().await?;
        let names: Vec<&[u8]> = names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        if let Some(outcome) = self.too_large_to_read(&names)? {
            return Ok(outcome);
        }
        let mut add = self.git(&["add", "--all", "--ignore-errors", "--", ":(top)"]);
        // Adding a submodule would run git in it, with a configuration that is the agent's; adding a repository
        // that is new would leave nothing of it but the name of a commit that nobody has.
        add.args(self.submodules().await?).args(nested(&names).map(left_out));
        // A file that cannot be read is left out; the rest is still worth saving.
        let added = output(add).await;
        let diff =
            ["diff", "--cached", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all"];
        let names = ["--name-status", "-z", "--no-renames", &self.base, "--", ":(top)", OWN_FOLDER];
        let names = output(self.git(&[&diff[..], &names].concat())).await?;
        // Status and name take turns, each with a zero byte after it.
        let names: Vec<&[u8]> = names.split(|byte| *byte == 0).skip(1).step_by(2).collect();
        if names.is_empty() {
            return Ok(added.map(|_| PatchOutcome::Nothing)?);
        }
        let path = self.run_folder.join("partial.patch");
        let mut file = new_file(&path)?;
        let full = ["--binary", "--full-index", "--find-renames", &self.base, "--", ":(top)", OWN_FOLDER];
        let bytes = run(self.git(&[&diff[..], &full].concat()), PATCH_BYTES_MAX, &mut file).await?;
        if bytes > PATCH_BYTES_MAX {
            // Half a patch applies to nothing.
            let _ = std::fs::remove_file(&path);
            return self.list(&names);
        }
        Ok(PatchOutcome::Saved { path, files: names.len(), bytes })
    }

    /// Our own repository again, from what nobody else could write to, and with the index, which git
    /// only reads.
    fn make_anew(&self) -> Result<(), PatchError> {
        let (index, kept) = (self.shadow.join("index"), self.run_folder.join("index.before"));
        let is_file = std::fs::symlink_metadata(&index).is_ok_and(|index| index.is_file());
        if is_file {
            std::fs::rename(&index, &kept).map_err(at(&kept))?;
        }
        make_shadow(&self.shadow, &self.made_of)?;
        if is_file {
            std::fs::rename(&kept, &index).map_err(at(&index))?;
        }
        Ok(())
    }

    /// Files that are new or not as the index has them, each with a zero byte after it.
    async fn untracked(&self) -> Result<Vec<u8>, GitError> {
        let args = ["ls-files", "-z", "--modified", "--others", "--exclude-standard", "--", ":(top)"];
        output(self.git(&args)).await
    }

    /// Whether what changed is so large that git would spend minutes and gigabytes on it.
    fn too_large_to_read(&self, names: &[&[u8]]) -> Result<Option<PatchOutcome>, PatchError> {
        let size = |name: &&[u8]| {
            let path = self.work_tree.join(os(name));
            std::fs::symlink_metadata(path).map_or(0, |file| file.len())
        };
        if names.iter().map(size).sum::<u64>() <= FILES_BYTES_MAX {
            return Ok(None);
        }
        self.list(names).map(Some)
    }

    fn list(&self, names: &[&[u8]]) -> Result<PatchOutcome, PatchError> {
        let list = self.run_folder.join("partial.txt");
        // Quoted and escaped: a name may hold anything, a line end included.
        let text: String = names.iter().map(|name| format!("{:?}\n", os(name))).collect();
        new_file(&list)?.write_all(text.as_bytes()).map_err(at(&list))?;
        Ok(PatchOutcome::TooLarge { list, files: names.len() })
    }

    /// Pathspecs that leave every submodule out.
    async fn submodules(&self) -> Result<Vec<OsString>, PatchError> {
        let staged = output(self.git(&["ls-files", "-z", "--stage", "--full-name"])).await?;
        let entries = staged.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"160000 "));
        let names = entries.filter_map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1));
        Ok(names.map(left_out).collect())
    }

    /// The commit the agent started at; the empty tree in a repository without one.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Git on our own repository and the agent's working tree.
    pub(super) fn git(&self, args: &[&str]) -> Command {
        let mut command = bare_git(&self.git);
        command
            .current_dir(&self.work_tree)
            .env("GIT_DIR", &self.shadow)
            .env("GIT_WORK_TREE", &self.work_tree)
            .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
            .args([
                "-c",
                "core.bare=false",
                "-c",
                "core.untrackedCache=false",
                "-c",
                "advice.addEmbeddedRepo=false",
            ])
            .args(args);
        command
    }
}

/// Of names that git lists as new, those of repositories: it names them as folders, and does not look inside.
fn nested<'a>(names: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let folders: Vec<&[u8]> = names.iter().filter_map(|name| name.strip_suffix(b"/")).collect();
    folders.into_iter()
}

/// A pathspec that leaves this out.
fn left_out(name: &[u8]) -> OsString {
    let mut pathspec = OsString::from(":(top,exclude,literal)");
    pathspec.push(os(name));
    pathspec
}

/// A repository without history, whose objects are another's.
fn make_shadow(shadow: &Path, made_of: &Made) -> Result<(), PatchError> {
    // What is there is not known to be ours alone.
    match std::fs::remove_dir_all(shadow) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(shadow)(error)),
        _ => {}
    }
    for folder in ["objects/info", "refs", "info"] {
        let folder = shadow.join(folder);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(at(&folder))?;
    }
    let alternates = [&made_of.objects[..], b"\n"].concat();
    let files: [(&str, &[u8]); 4] = [
        ("HEAD", b"ref: refs/heads/main\n"),
        ("config", made_of.config.as_bytes()),
        ("info/exclude", &made_of.exclude),
        ("objects/info/alternates", &alternates),
    ];
    for (name, content) in files {
        let path = shadow.join(name);
        new_file(&path)?.write_all(content).map_err(at(&path))?;
    }
    if !made_of.shallow.is_empty() {
        let path = shadow.join("shallow");
        new_file(&path)?.write_all(&made_of.shallow).map_err(at(&path))?;
    }
    Ok(())
}

/// The configuration of our own repository. `settings` are `core.name`, a line end and a value, each
/// with a zero byte after it; only plain words are taken over.
fn shadow_config(object_format: &[u8], settings: &[u8]) -> String {
    let mut config = "[core]\n\trepositoryformatversion = 1\n".to_owned();
    for setting in settings.split(|byte| *byte == 0) {
        let text = String::from_utf8_lossy(setting);
        if let Some((name, value)) = text.strip_prefix("core.").and_then(|text| text.split_once('\n'))
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            config.push_str(&format!("\t{name} = {value}\n"));
        }
    }
    if object_format != b"sha1" {
        let format = String::from_utf8_lossy(object_format);
        config.push_str(&format!("[extensions]\n\tobjectFormat = {format}\n"));
    }
    config
}

/// Copies a file with its time, by which git tells whether the index is older than the files it lists.
fn copy_if_there(from: &Path, to: &Path) -> Result<(), PatchError> {
    let Ok(metadata) = std::fs::metadata(from) else { return Ok(()) };
    std::fs::copy(from, to).map_err(at(to))?;
    let copy = OpenOptions::new().write(true).open(to).map_err(at(to))?;
    metadata.modified().and_then(|time| copy.set_modified(time)).map_err(at(to))
}

/// A file that is new, whatever an agent has put in its place: a link, or a pipe that nobody reads.
fn new_file(path: &Path) -> Result<std::fs::File, PatchError> {
    // What cannot be removed makes the next step fail, and says why.
    let _ = std::fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PatchError {
    move |source| PatchError::Io { path: path.to_owned(), source }
}
