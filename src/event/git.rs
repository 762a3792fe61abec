//! The system's `git`, found once, run without anything that could change what it does or make it wait.
//!
//! Repositories are data here, and may be hostile: hooks, file-system monitors, external diff drivers,
//! pagers and prompts are off, nothing is fetched, and nothing is written.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::source::Env;

/// Variables that git may see; everything else is gone, `GIT_DIR` and its kin above all.
const PASSED: [&str; 9] = [
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "TMPDIR",
    "SYSTEMROOT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CEILING_DIRECTORIES",
];

/// Variables that git always gets.
const FIXED: [(&str, &str); 5] = [
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_PAGER", "cat"),
    ("LC_ALL", "C"),
];

/// Options that overrule whatever the repository's own configuration says.
const OPTIONS: [&str; 12] = [
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.quotepath=off",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "log.showSignature=false",
    "-c",
    "diff.renameLimit=2000",
];

/// Why git gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error("git is not on PATH\n\nhint: install git, or pass an event with --event FILE")]
    NotFound,
    /// The folder is in no repository.
    #[error(
        "{0} is not in a git repository\n\nhint: start tollgate in one, or pass an event with --event FILE"
    )]
    NotARepository(PathBuf),
    /// Git refuses to read a repository of another user.
    #[error(
        "git does not trust the repository at {dir}, because another user owns it\n\nhint: if you do, run git config --global --add safe.directory '{dir}'"
    )]
    Owner {
        /// The folder.
        dir: PathBuf,
    },
    /// The repository is empty.
    #[error(
        "the repository at {0} has no commits\n\nhint: commit something first, or pass an event with --event FILE"
    )]
    NoCommits(PathBuf),
    /// Git could not be started.
    #[error("{program} cannot be started: {error}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Git failed for another reason.
    #[error("git {command} failed in {dir}: {message}")]
    Failed {
        /// The subcommand.
        command: String,
        /// Where.
        dir: PathBuf,
        /// Its first line on stderr.
        message: String,
    },
}

/// A git that works in one folder.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
    dir: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Git {
    /// Finds git on `PATH`, for use in `dir`. Entries of `PATH` that are relative, or lie in the repository
    /// that `dir` is in or in the runner's workspace, are passed over: a repository must not bring its own git.
    ///
    /// # Errors
    /// [`GitError::NotFound`].
    pub fn find(env: Env<'_>, dir: &Path) -> Result<Self, GitError> {
        let path = env("PATH").unwrap_or_default();
        let name = format!("git{}", std::env::consts::EXE_SUFFIX);
        let mut inside = vec![enclosing_repository(dir)];
        inside.extend(env("GITHUB_WORKSPACE").filter(|path| !path.is_empty()).map(PathBuf::from));
        let program = std::env::split_paths(&path)
            .filter(|entry| entry.is_absolute() && !inside.iter().any(|folder| lies_in(entry, folder)))
            .map(|entry| entry.join(&name))
            .find(|candidate| is_executable(candidate))
            .ok_or(GitError::NotFound)?;
        let environment = PASSED.iter().filter_map(|name| Some((*name, env(name)?))).collect();
        Ok(Self { program, dir: dir.to_owned(), environment })
    }

    /// The absolute path of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The folder it works in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs git and returns what it wrote on stdout.
    ///
    /// # Errors
    /// Git cannot be started or fails; ownership and "not a repository" have errors of their own.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Vec<u8>, GitError> {
        let output = self.output(args)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        if stderr.contains("dubious ownership") {
            return Err(GitError::Owner { dir: self.dir.clone() });
        }
        if stderr.contains("not a git repository") {
            return Err(GitError::NotARepository(self.dir.clone()));
        }
        Err(GitError::Failed {
            command: args.first().map_or_else(String::new, |arg| arg.as_ref().to_string_lossy().into_owned()),
            dir: self.dir.clone(),
            message: stderr.lines().next().unwrap_or("it did not say why").to_owned(),
        })
    }

    /// Runs git and returns what it wrote on stdout; `None` where it fails or writes more than `bytes_max`,
    /// in which case it is ended.
    #[must_use]
    pub fn run_at_most<S: AsRef<OsStr>>(&self, args: &[S], bytes_max: usize) -> Option<Vec<u8>> {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut stdout = child.stdout.take()?;
        let mut output = Vec::new();
        let read = (&mut stdout).take(bytes_max as u64 + 1).read_to_end(&mut output);
        if read.is_err() || output.len() > bytes_max {
            // It may have ended by itself; waiting is what matters, so that nothing is left behind.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        child.wait().ok().filter(std::process::ExitStatus::success).map(|_| output)
    }

    /// Runs git for a one-line answer; `None` where it fails or says nothing.
    #[must_use]
    pub fn line<S: AsRef<OsStr>>(&self, args: &[S]) -> Option<String> {
        let stdout = self.run(args).ok()?;
        let text = String::from_utf8_lossy(&stdout).trim_end_matches(['\n', '\r']).to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn output<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Output, GitError> {
        self.command(args).output().map_err(|error| GitError::Start { program: self.program.clone(), error })
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(OPTIONS)
            .args(args)
            .current_dir(&self.dir)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(FIXED)
            .stdin(Stdio::null());
        command
    }
}

/// The nearest folder around `dir` that holds a repository; `dir` itself where there is none.
fn enclosing_repository(dir: &Path) -> PathBuf {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let around = dir.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok());
    around.unwrap_or(&dir).to_owned()
}

fn lies_in(entry: &Path, folder: &Path) -> bool {
    // A link into the repository is as good as a folder in it.
    entry.starts_with(folder) || entry.canonicalize().is_ok_and(|entry| entry.starts_with(folder))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}
