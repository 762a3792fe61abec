//! The plumbing: a bare repository of our own, and what is fetched into, made in and pushed from it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::{RemoteError, Trouble, is_conflict, said, trouble};
use super::process::{Call, Output, Scratch};
use super::{Credentials, GitPlace};
use crate::ledger::store::Damage;

/// How long one conversation with the server may take.
const TALK_MAX: Duration = Duration::from_secs(60);
/// The most bytes of files that are read of one commit.
const TREE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Commits of the past that one conversation brings.
const COMMITS_AT_ONCE: usize = 64;
/// Where the fetched tip is kept.
const TIP: &str = "refs/tollgate/tip";

/// A commit's name.
pub(super) type Oid = String;

/// A bare repository in a folder of its own.
#[derive(Debug)]
pub(super) struct Repo {
    pub(super) scratch: std::sync::Arc<Scratch>,
    folder: PathBuf,
    commits: u64,
}

/// What a fetch brought.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The branch's commit; `None` where there is no such branch.
    pub(super) tip: Option<Oid>,
    /// The server's clock, where it has told.
    pub(super) date: Option<Timestamp>,
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Write(Vec<u8>),
    Remove,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Done,
    /// Somebody else was faster.
    Conflict,
}

impl Repo {
    pub(super) fn new(place: &GitPlace) -> Result<Self, RemoteError> {
        let failed = |error: std::io::Error| RemoteError::Program { what: "open", said: error.to_string() };
        let scratch = std::sync::Arc::new(Scratch::new(&place.scratch).map_err(failed)?);
        let folder = scratch.path().join("repo.git");
        std::fs::create_dir(&folder).map_err(failed)?;
        let repo = Self { scratch, folder, commits: 0 };
        // Without a template there are no hooks, not even samples.
        repo.local(place, "open", &["init", "--quiet", "--bare", "--template="], Vec::new())?;
        Ok(repo)
    }

    /// The branch as the server has it: what is compared, and the text, from one answer.
    pub(super) fn fetch(&self, place: &GitPlace) -> Result<Fetched, RemoteError> {
        let refspec = format!("+refs/heads/{}:{TIP}", place.branch);
        let args = ["fetch", "--quiet", "--no-tags", "--depth=1", "--", &place.url, &refspec];
        let output = self.talk(place, &args)?;
        let date = server_date(&output.stderr);
        if output.success() {
            let tip = self.local(place, "read", &["rev-parse", "--verify", TIP], Vec::new())?;
            let tip = String::from_utf8_lossy(&tip).trim().to_owned();
            return Ok(Fetched { tip: Some(tip), date });
        }
        let text = without_trace(&output.stderr);
        match trouble(&text) {
            Trouble::Absent => Ok(Fetched { tip: None, date }),
            what => Err(refused(place, what, &output, &text, "fetch")),
        }
    }

    /// Brings commits of the branch's past; the whole branch from a server that hands out tips only.
    ///
    /// A few at once: the time that an answer may take is for one of them, however long the past is.
    pub(super) fn fetch_commits(&self, place: &GitPlace, commits: &[&str]) -> Result<(), RemoteError> {
        for some in self.missing(place, commits)?.chunks(COMMITS_AT_ONCE) {
            let mut args = vec!["fetch", "--quiet", "--no-tags", "--depth=1", "--", &place.url];
            args.extend(some);
            let output = self.talk(place, &args)?;
            if output.status.is_none() {
                let text = without_trace(&output.stderr);
                return Err(refused(place, trouble(&text), &output, &text, "fetch"));
            }
            if !output.success() {
                return self.fetch_all(place);
            }
        }
        Ok(())
    }

    /// Brings the whole history of the branch.
    pub(super) fn fetch_all(&self, place: &GitPlace) -> Result<(), RemoteError> {
        let refspec = format!("+refs/heads/{}:{TIP}-whole", place.branch);
        let args = ["fetch", "--quiet", "--no-tags", "--depth=2147483647", "--", &place.url, &refspec];
        let output = self.talk(place, &args)?;
        if output.success() {
            return Ok(());
        }
        let text = without_trace(&output.stderr);
        Err(refused(place, trouble(&text), &output, &text, "fetch"))
    }

    /// The first commits of what was fetched with [`Self::fetch_all`].
    pub(super) fn roots(&self, place: &GitPlace, tip: &str) -> Result<Vec<Oid>, RemoteError> {
        let out = self.local(place, "read", &["rev-list", "--max-parents=0", tip], Vec::new())?;
        Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
    }

    /// Those of some commits that are not here, each once.
    fn missing<'a>(&self, place: &GitPlace, commits: &[&'a str]) -> Result<Vec<&'a str>, RemoteError> {
        let commits: BTreeSet<&str> = commits.iter().copied().collect();
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let input = commits.iter().flat_map(|oid| [oid, "\n"]).collect::<String>().into_bytes();
        let out = self.local(place, "read", &["cat-file", "--batch-check"], input)?;
        let out = String::from_utf8_lossy(&out);
        let absent: BTreeSet<&str> = out.lines().filter_map(|line| line.strip_suffix(" missing")).collect();
        Ok(commits.into_iter().filter(|oid| absent.contains(oid)).collect())
    }

    /// The files of a commit, each with the name of its content.
    pub(super) fn list(&self, place: &GitPlace, commit: &str) -> Result<BTreeMap<String, Oid>, RemoteError> {
        let args = ["ls-tree", "-r", "-z", "-l", "--full-tree", commit];
        let out = self.local(place, "read", &args, Vec::new())?;
        let mut files = BTreeMap::new();
        let mut bytes = 0_u64;
        for entry in out.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let text = String::from_utf8_lossy(entry);
            let Some((meta, path)) = text.split_once('\t') else { continue };
            let words: Vec<&str> = meta.split_whitespace().collect();
            if let ["100644" | "100755", "blob", oid, size] = words[..] {
                bytes = bytes.saturating_add(size.parse().unwrap_or(u64::MAX));
                files.insert(path.to_owned(), oid.to_owned());
            }
        }
        if bytes > TREE_BYTES_MAX {
            return Err(RemoteError::Foreign {
                remote: place.shown(),
                branch: place.branch.clone(),
                what: format!("its files have {bytes} bytes, and {TREE_BYTES_MAX} are read at most"),
            });
        }
        Ok(files)
    }

    /// Contents by their names, in the same order.
    pub(super) fn read(&self, place: &GitPlace, oids: &[&str]) -> Result<Vec<Vec<u8>>, RemoteError> {
        if oids.is_empty() {
            return Ok(Vec::new());
        }
        let input = oids.iter().flat_map(|oid| [oid, "\n"]).collect::<String>().into_bytes();
        let out = self.local(place, "read", &["cat-file", "--batch"], input)?;
        let cut = || RemoteError::Program { what: "read", said: "its answer was cut short".to_owned() };
        let mut rest = out.as_slice();
        let mut contents = Vec::with_capacity(oids.len());
        for oid in oids {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut)?;
            let header = String::from_utf8_lossy(&rest[..end]).into_owned();
            if header.ends_with(" missing") {
                let what = Box::new(Damage::Past("it is not in the branch's history".to_owned()));
                return Err(RemoteError::Damaged { place: (*oid).to_owned(), line: 0, what });
            }
            let size =
                header.split(' ').nth(2).and_then(|size| size.parse::<usize>().ok()).ok_or_else(cut)?;
            rest = &rest[end + 1..];
            contents.push(rest.get(..size).ok_or_else(cut)?.to_vec());
            rest = rest.get(size + 1..).unwrap_or_default();
        }
        Ok(contents)
    }

    /// Makes a commit on `parent`, or a first one.
    pub(super) fn commit(
        &mut self,
        place: &GitPlace,
        parent: Option<&str>,
        message: &str,
        at: Timestamp,
        changes: &[(String, Change)],
    ) -> Result<Oid, RemoteError> {
        self.commits += 1;
        let mut stream = Vec::new();
        let mut head = String::new();
        let seconds = at.as_second();
        // Writing to a string cannot fail.
        let _ = write!(
            head,
            "commit refs/tollgate/c{}\nmark :1\ncommitter tollgate <tollgate@localhost> {seconds} +0000\n\
             data {}\n{message}\n",
            self.commits,
            message.len()
        );
        if let Some(parent) = parent {
            let _ = writeln!(head, "from {parent}");
        }
        stream.extend_from_slice(head.as_bytes());
        for (path, change) in changes {
            match change {
                Change::Write(content) => {
                    let line = format!("M 100644 inline {path}\ndata {}\n", content.len());
                    stream.extend_from_slice(line.as_bytes());
                    stream.extend_from_slice(content);
                    stream.push(b'\n');
                }
                Change::Remove => stream.extend_from_slice(format!("D {path}\n").as_bytes()),
            }
        }
        stream.extend_from_slice(b"get-mark :1\ndone\n");
        let out = self.local(place, "write", &["fast-import", "--quiet", "--done", "--force"], stream)?;
        let oid = String::from_utf8_lossy(&out).trim().to_owned();
        match oid.len() >= 40 && oid.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(oid),
            false => Err(RemoteError::Program { what: "write", said: said(&oid) }),
        }
    }

    /// Sets the branch to `commit` if it is still at `old`, or still absent.
    pub(super) fn push(
        &self,
        place: &GitPlace,
        old: Option<&str>,
        commit: &str,
    ) -> Result<Pushed, RemoteError> {
        let reference = format!("refs/heads/{}", place.branch);
        let lease = format!("--force-with-lease={reference}:{}", old.unwrap_or_default());
        let refspec = format!("{commit}:{reference}");
        let args = ["push", "--porcelain", "--no-verify", &lease, "--", &place.url, &refspec];
        let output = self.talk(place, &args)?;
        if output.success() {
            return Ok(Pushed::Done);
        }
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = stdout.lines().find(|line| line.starts_with('!')).unwrap_or_default();
        if is_conflict(status) {
            return Ok(Pushed::Conflict);
        }
        let text = format!("{}\n{status}", without_trace(&output.stderr));
        Err(refused(place, trouble(&text), &output, &text, "push"))
    }

    fn talk(&self, place: &GitPlace, args: &[&str]) -> Result<Output, RemoteError> {
        let what = if args.first() == Some(&"push") { "push" } else { "fetch" };
        self.call(place, what, args, Vec::new(), true)
    }

    fn local(
        &self,
        place: &GitPlace,
        what: &'static str,
        args: &[&str],
        stdin: Vec<u8>,
    ) -> Result<Vec<u8>, RemoteError> {
        let output = self.call(place, what, args, stdin, false)?;
        match output.success() {
            true => Ok(output.stdout),
            false if output.status.is_none() => {
                let said = format!("it was not done within {} s", TALK_MAX.as_secs());
                Err(RemoteError::Program { what, said })
            }
            false => Err(RemoteError::Program { what, said: said(&output.stderr) }),
        }
    }

    fn call(
        &self,
        place: &GitPlace,
        what: &'static str,
        args: &[&str],
        stdin: Vec<u8>,
        remote: bool,
    ) -> Result<Output, RemoteError> {
        let args = args.iter().map(OsString::from).collect();
        let until = Instant::now() + TALK_MAX;
        let call = Call { place, repository: &self.folder, remote, args, stdin, until };
        call.run().map_err(|error| RemoteError::Program { what, said: error.to_string() })
    }
}

/// The error that an unsuccessful conversation is.
fn refused(
    place: &GitPlace,
    trouble: Trouble,
    output: &Output,
    text: &str,
    what: &'static str,
) -> RemoteError {
    let (remote, branch, said) = (place.shown(), place.branch.clone(), said(text));
    let unsure = what == "push";
    if output.status.is_none() {
        let said = format!("it did not answer within {} s", TALK_MAX.as_secs());
        return RemoteError::Network { remote, said, unsure };
    }
    match trouble {
        Trouble::Rules => RemoteError::Rules { remote, branch, said },
        Trouble::Unsigned => RemoteError::Unsigned { remote, branch },
        Trouble::Permission => RemoteError::Permission { remote, branch, said },
        Trouble::Authentication => {
            let hint = match place.credentials {
                Credentials::Token(_) => {
                    "check that GITHUB_TOKEN, or TOLLGATE_LEDGER_TOKEN for a ledger in another repository, is \
                     set to a token that has not expired"
                }
                Credentials::Own => "git must reach it without asking: try `git fetch` by hand",
            };
            RemoteError::Authentication { remote, said, hint }
        }
        Trouble::NotFound => RemoteError::NotFound { remote, said },
        Trouble::Network => RemoteError::Network { remote, said, unsure },
        Trouble::Absent | Trouble::Other => RemoteError::Program { what, said },
    }
}

/// Whether a line is one that `GIT_TRACE_CURL` adds: a time, then the place in git's source.
fn is_trace(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let time = words.next().is_some_and(|word| word.len() >= 8 && word.as_bytes().get(2) == Some(&b':'));
    time && words.next().is_some_and(|word| word.starts_with("http.c:"))
}

fn without_trace(stderr: &str) -> String {
    stderr.lines().filter(|line| !is_trace(line)).flat_map(|line| [line, "\n"]).collect()
}

/// The time in the last `Date` header of the server's answers.
fn server_date(stderr: &str) -> Option<Timestamp> {
    let headers = stderr.lines().rev().filter(|line| is_trace(line));
    let date = headers.filter_map(|line| {
        let (_, header) = line.split_once("<= Recv header: ")?;
        let (name, value) = header.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| value.trim().to_owned())
    });
    let date = date.into_iter().next()?;
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(&date);
    parsed.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_is_read_off_the_trace_and_the_trace_is_never_shown() {
        let stderr = "12:00:01.000001 http.c:900              => Send header: Authorization: Basic <redacted>\n\
                      12:00:01.000002 http.c:897              <= Recv header: date: Mon, 23 Nov 2026 12:00:03 GMT\n\
                      fatal: unable to access 'x'\n";
        assert_eq!(server_date(stderr), Some("2026-11-23T12:00:03Z".parse().expect("a time")));
        assert_eq!(without_trace(stderr), "fatal: unable to access 'x'\n");
        assert_eq!(server_date("fatal: date: Mon, 23 Nov 2026 12:00:03 GMT"), None);
    }
}
