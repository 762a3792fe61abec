//! What black-box tests share: the real binary in a world of its own, real git repositories, and tools
//! that may be missing.

pub(crate) mod expression;
pub(crate) mod git_http;
pub(crate) mod github;
pub(crate) mod long;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod runner;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long the binary may take unless a test says otherwise.
const TIME_MAX: Duration = Duration::from_secs(20);

/// A run of the real binary, hermetic: nothing of the environment but `PATH` gets in, the home is fresh
/// and empty, the working folder is a temporary one.
pub(crate) struct Tollgate {
    world: tempfile::TempDir,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    time_max: Duration,
}

/// What came of a run. Paths of the temporary world read `[WORLD]`.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
}

impl Tollgate {
    /// The binary in an empty folder.
    pub(crate) fn new() -> Self {
        let world = tempfile::Builder::new().prefix("tollgate-test-").tempdir().expect("a temporary folder");
        for folder in ["work", "home", "tmp"] {
            std::fs::create_dir(world.path().join(folder)).expect("a folder");
        }
        Self { world, args: Vec::new(), env: Vec::new(), stdin: Vec::new(), time_max: TIME_MAX }
    }

    /// The binary in a git repository with one commit, which holds these files.
    pub(crate) fn in_repository(files: &[(&str, &str)]) -> Self {
        let this = Self::new();
        git(&this.work(), &["init", "--quiet", "--initial-branch=main"]);
        this.commit(files, "The first commit");
        this
    }

    /// The working folder.
    pub(crate) fn work(&self) -> PathBuf {
        self.world.path().join("work")
    }

    /// The home.
    pub(crate) fn home(&self) -> PathBuf {
        self.world.path().join("home")
    }

    /// Writes a file below the working folder.
    pub(crate) fn file(&self, name: &str, content: &str) -> &Self {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
        self
    }

    /// Writes an executable script below the working folder.
    pub(crate) fn script(&mut self, name: &str, content: &str) -> &mut Self {
        use std::os::unix::fs::PermissionsExt;
        self.file(name, content);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.work().join(name), mode).expect("a mode");
        self
    }

    /// Writes files and commits everything there is.
    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> &Self {
        for (name, content) in files {
            self.file(name, content);
        }
        git(&self.work(), &["add", "--all"]);
        git(&self.work(), &["commit", "--quiet", "--allow-empty", "--message", message]);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    pub(crate) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Gives it something to read.
    pub(crate) fn stdin(&mut self, text: &str) -> &mut Self {
        self.stdin = text.as_bytes().to_vec();
        self
    }

    /// Gives it more or less time than usual.
    pub(crate) fn time_max(&mut self, time: Duration) -> &mut Self {
        self.time_max = time;
        self
    }

    /// The command, for tests that look after the process themselves.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("TMPDIR", self.world.path().join("tmp"))
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CEILING_DIRECTORIES", self.world.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it, and clears the arguments for the next run in the same world.
    ///
    /// # Panics
    /// When it takes too long; it is killed, and what it had said is shown.
    pub(crate) fn run(&mut self) -> Run {
        let child = self.command().spawn().expect("the binary starts");
        let command = self.args.drain(..).collect::<Vec<_>>();
        let (status, stdout, stderr) = wait(child, std::mem::take(&mut self.stdin), self.time_max);
        let (stdout, stderr) = (self.redacted(&stdout), self.redacted(&stderr));
        let Some(status) = status else {
            panic!("`tollgate {command:?}` took longer than {:?}\n{stdout}\n{stderr}", self.time_max);
        };
        Run { stdout, stderr, code: status.code() }
    }

    /// Clears the arguments, for tests that have used [`Self::command`].
    pub(crate) fn forget_args(&mut self) {
        self.args.clear();
    }

    /// Text with the temporary world's path taken out.
    pub(crate) fn redacted(&self, text: &[u8]) -> String {
        let text = String::from_utf8_lossy(text);
        let real = self.world.path().canonicalize().expect("the world is there");
        let text = text.replace(&*real.to_string_lossy(), "[WORLD]");
        text.replace(&*self.world.path().to_string_lossy(), "[WORLD]")
    }
}

impl Run {
    /// Checks the exit code, and shows everything when it is another.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }
}

/// Feeds a child and waits for it; its status is `None` when its time was up and it was killed.
fn wait(mut child: Child, stdin: Vec<u8>, time: Duration) -> (Option<ExitStatus>, Vec<u8>, Vec<u8>) {
    let mut input = child.stdin.take().expect("standard input is piped");
    // A child that does not read what it is given has ended already.
    std::thread::spawn(move || input.write_all(&stdin));
    let stdout = collected(child.stdout.take().expect("standard output is piped"));
    let stderr = collected(child.stderr.take().expect("standard error is piped"));
    let until = std::time::Instant::now() + time;
    let left = || until.saturating_duration_since(std::time::Instant::now());
    // The end of its output is the end of the child, or near it.
    let (mut texts, mut in_time) = (Vec::new(), true);
    for stream in [stdout, stderr] {
        let text = stream.recv_timeout(left()).or_else(|_| {
            in_time = false;
            let _ = child.kill();
            // Something that was left behind may hold the stream open: that is a failure as well.
            stream.recv_timeout(Duration::from_millis(500))
        });
        texts.push(text.unwrap_or_default());
    }
    let status = child.wait().expect("the child is ours");
    let stderr = texts.pop().unwrap_or_default();
    (in_time.then_some(status), texts.pop().unwrap_or_default(), stderr)
}

fn collected(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let _ = sender.send(text);
    });
    receiver
}

/// Runs git in a folder, with nobody's configuration; what it prints.
#[track_caller]
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Ada")
            .env(format!("GIT_{role}_EMAIL"), "ada@example.invalid");
        command.env(format!("GIT_{role}_DATE"), "2026-11-01T12:00:00Z");
    }
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.current_dir(folder).args(args).output().expect("git is needed for the tests");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A tool that a test needs: the variable names it, or else `PATH` has it. Where it is missing the test
/// says so loudly, and fails where everything must be there (`CI=true`).
#[track_caller]
pub(crate) fn tool(name: &str, variable: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    if let Some(path) = &named {
        assert!(path.is_file(), "{variable} names {}, where there is no file", path.display());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        named.or_else(|| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|f| f.is_file()));
    if found.is_none() {
        let message = format!("`{name}` is missing: this test has shown nothing (set {variable})");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED *** {message}\n");
    }
    found
}
