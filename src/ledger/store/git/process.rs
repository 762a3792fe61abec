//! One git process: its arguments, its environment, its time.
//!
//! Nothing of the surroundings gets in that is not named here. A token is in the environment of the one
//! process that needs it, never in its arguments, which any user of the machine can read.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Credentials, GitPlace};

/// The most that is kept of what git writes on one stream.
const OUTPUT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How long a git that was asked to end may take for it.
const GRACE: Duration = Duration::from_secs(2);

/// Options that overrule whatever a configuration says.
const OPTIONS: [(&str, &str); 12] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
    // Version 2 of HTTP gains nothing here, and older gits do not redact its trace.
    ("http.version", "HTTP/1.1"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "30"),
    ("push.gpgSign", "false"),
    ("push.followTags", "false"),
    ("push.recurseSubmodules", "no"),
    ("fetch.recurseSubmodules", "no"),
];

/// Variables that git always gets.
const FIXED: [(&str, &str); 7] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh"),
    ("GIT_PAGER", "cat"),
    ("LC_ALL", "C"),
    // Nobody is there to type a passphrase: one that is asked for is a failure.
    ("SSH_ASKPASS", "/bin/false"),
    ("SSH_ASKPASS_REQUIRE", "force"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
];

/// Variables that any git may see: how to reach a network.
pub(super) const PASSED: [&str; 14] = [
    "PATH",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_EXEC_PATH",
];

/// Variables that a git with its user's own credentials may see besides.
pub(super) const OWN: [&str; 7] = [
    "HOME",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GIT_SSH",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
];

/// What a git process came to.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` when its time was up.
    pub(super) status: Option<ExitStatus>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Output {
    pub(super) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// A git process about to be run.
pub(super) struct Call<'a> {
    pub(super) place: &'a GitPlace,
    pub(super) repository: &'a Path,
    /// It talks to the remote.
    pub(super) remote: bool,
    pub(super) args: Vec<OsString>,
    pub(super) stdin: Vec<u8>,
    pub(super) until: Instant,
}

impl Call<'_> {
    /// Runs it. What outlasts its time is killed, with everything it has started.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn run(self) -> std::io::Result<Output> {
        let mut child = self.command().spawn()?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let input = child.stdin.take();
        let stdin = self.stdin;
        // A git that does not read what it is given has failed already, and says why.
        let writer = std::thread::spawn(move || input.map(|mut input| input.write_all(&stdin)));
        let stdout = collected(child.stdout.take());
        let stderr = collected(child.stderr.take());
        let mut texts = Vec::with_capacity(2);
        let mut in_time = true;
        for stream in [stdout, stderr] {
            let left = self.until.saturating_duration_since(Instant::now());
            texts.push(stream.recv_timeout(left).unwrap_or_else(|_| {
                in_time = false;
                end(&mut child, group, &stream);
                Vec::new()
            }));
        }
        let status = child.wait()?;
        let _ = writer.join();
        let stderr = texts.pop().unwrap_or_default();
        let stdout = texts.pop().unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(Output { status: in_time.then_some(status), stdout, stderr })
    }

    fn command(&self) -> Command {
        let place = self.place;
        let mut command = Command::new(&place.program);
        for (key, value) in OPTIONS {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        command.arg("--git-dir").arg(self.repository).args(&self.args);
        command.env_clear().envs(FIXED).current_dir(self.repository);
        let passed = |names: &[&'static str]| -> Vec<(&'static str, OsString)> {
            names.iter().filter_map(|name| Some((*name, place.env.get(*name)?.clone()))).collect()
        };
        command.envs(passed(&PASSED));
        match &place.credentials {
            Credentials::Own => {
                command
                    .env_remove("GIT_CONFIG_NOSYSTEM")
                    .envs(passed(&OWN))
                    .envs(passed(&["GIT_CONFIG_NOSYSTEM"]));
            }
            Credentials::Token(_) => {
                command.env("HOME", self.repository).env("GIT_CONFIG_GLOBAL", "/dev/null");
            }
        }
        if self.remote {
            self.for_the_remote(&mut command);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A signal for us is ours to handle: git finishes what it is at.
        command.process_group(0);
        command
    }

    fn for_the_remote(&self, command: &mut Command) {
        // The server's time stands in the headers of its answer; git shows them, credentials redacted.
        command.env("GIT_TRACE_CURL", "1").env("GIT_TRACE_CURL_NO_DATA", "1").env("GIT_TRACE_REDACT", "1");
        let Credentials::Token(token) = &self.place.credentials else { return };
        let Some(server) = server(&self.place.url) else { return };
        let login = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{}", token.0));
        let scoped = format!("http.{server}/.extraheader");
        let pairs = [
            ("credential.helper".to_owned(), String::new()),
            ("http.extraheader".to_owned(), String::new()),
            (scoped.clone(), String::new()),
            (scoped, format!("AUTHORIZATION: basic {login}")),
        ];
        command.env("GIT_CONFIG_COUNT", pairs.len().to_string());
        for (number, (key, value)) in pairs.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
    }
}

/// `https://host:port` of a URL that goes over HTTP.
pub(super) fn server(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    matches!(scheme, "http" | "https").then(|| &url[..scheme.len() + 3 + host.len()])
}

/// Whether a token may go to a URL: encrypted, or to this machine.
pub(super) fn is_safe_for_tokens(url: &str) -> bool {
    let Some(host) = url.strip_prefix("http://") else { return true };
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return false;
    }
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "127.0.0.1" | "localhost" | "::1")
}

/// Ends it. It is asked first: a git that is killed leaves its lock files in the way of the next one.
fn end(child: &mut Child, group: Option<Pid>, stream: &Receiver<Vec<u8>>) {
    let asked = group.is_some_and(|group| kill_process_group(group, Signal::TERM).is_ok());
    if asked && stream.recv_timeout(GRACE).is_ok() {
        return;
    }
    // Either may be gone already.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.kill();
}

fn collected(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stream.map(|stream| stream.take(OUTPUT_BYTES_MAX).read_to_end(&mut text));
        let _ = sender.send(text);
    });
    receiver
}

/// A folder of our own, removed when it is dropped.
#[derive(Debug)]
pub(in crate::ledger::store) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(parent: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = parent.join(format!("tollgate-{}", crate::id::random_hex(12)));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_git_that_is_too_slow_is_asked_to_end_first() {
        let scratch = Scratch::new(&std::env::temp_dir()).expect("a folder");
        let program = scratch.path().join("git");
        let script =
            "#!/bin/sh\ntrap 'echo asked >asked; exit 1' TERM\n>began\nwhile :; do sleep 0.02; done\n";
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("set");
        let env = [("PATH".into(), std::env::var_os("PATH").unwrap_or_default())].into_iter();
        let env: BTreeMap<_, _> = env.collect();
        let place = GitPlace::new(program, "file:///nowhere", "ledger", Credentials::Own, &env);
        let until = Instant::now() + Duration::from_secs(3);
        let (args, stdin) = (Vec::new(), Vec::new());
        let call = Call { place: &place, repository: scratch.path(), remote: false, args, stdin, until };
        let output = call.run().expect("it starts");
        assert!(output.status.is_none(), "its time was up");
        assert!(scratch.path().join("began").exists(), "it has begun in time");
        assert!(scratch.path().join("asked").exists(), "it was killed without a word");
    }
}
