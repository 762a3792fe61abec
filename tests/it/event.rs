//! Events out of real git repositories.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tollgate::event::git::Git;
use tollgate::event::{Change, Event, Kind, current, local};

/// A repository in a folder of its own, with a configuration of its own.
struct Repo {
    dir: TempDir,
}

impl Repo {
    fn new(branch: &str) -> Self {
        let repo = Self { dir: TempDir::new().unwrap() };
        repo.git(&["init", "-q", "-b", branch]);
        repo.git(&["config", "user.name", "Maria"]);
        repo.git(&["config", "user.email", "maria@example.org"]);
        repo
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, args: &[&str]) -> String {
        git_in(self.path(), args)
    }

    fn commit(&self, path: &str, text: &str, message: &str) -> String {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn event(&self) -> Event {
        self.event_with(&[]).unwrap()
    }

    fn event_with(&self, variables: &[(&str, &str)]) -> Result<Event, String> {
        event_in(self.path(), variables)
    }
}

fn environment(variables: &[(&str, &str)]) -> HashMap<String, String> {
    let mut environment = HashMap::from([
        ("PATH".to_owned(), std::env::var("PATH").unwrap()),
        ("HOME".to_owned(), "/nonexistent".to_owned()),
        ("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned()),
        ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
    ]);
    environment.extend(variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    environment
}

fn event_in(dir: &Path, variables: &[(&str, &str)]) -> Result<Event, String> {
    let environment = environment(variables);
    current(&|name| environment.get(name).cloned(), None, dir).map_err(|error| error.to_string())
}

fn tool(dir: &Path) -> Git {
    let environment = environment(&[]);
    Git::find(&|name| environment.get(name).cloned(), dir).unwrap()
}

fn git_in(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(environment(&[]))
        .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn paths(change: &Change) -> Vec<(&str, u64, u64)> {
    change.files.iter().map(|file| (file.path.as_str(), file.additions, file.deletions)).collect()
}

#[test]
fn the_branch_against_its_merge_base() {
    let repo = Repo::new("main");
    let base = repo.commit("a.txt", "1\n2\n3\n4\n5\n6\n", "Begin");
    repo.git(&["switch", "-q", "-c", "topic/größe"]);
    repo.commit("src/new file.rs", "fn main() {}\n", "Add a program");
    repo.git(&["mv", "a.txt", "b\"ü.txt"]);
    let head = repo.commit("logo.png", "\0\u{1}binary", "Add a logo\n\nIt is small.");
    repo.git(&["switch", "-q", "main"]);
    repo.commit("other.txt", "elsewhere\n", "Main goes on");
    repo.git(&["switch", "-q", "topic/größe"]);
    std::fs::write(repo.path().join("uncommitted.rs"), "todo").unwrap();

    let event = repo.event();
    let change = event.change.unwrap();
    assert_eq!(event.kind, Kind::Local);
    assert_eq!(event.repository, repo.path().file_name().unwrap().to_str().unwrap());
    assert_eq!((event.default_branch.as_str(), event.actor.login.as_str()), ("main", "Maria"));
    assert_eq!((change.branch.as_str(), change.base.as_str()), ("topic/größe", "main"));
    assert_eq!((&change.base_sha, &change.head_sha), (&base, &head));
    assert_eq!(
        (change.title.as_str(), change.body.as_str()),
        ("Add a logo", "It is small.\n\n- Add a program")
    );
    assert_eq!((change.author.login.as_str(), change.author.trusted()), ("Maria", true));
    assert_eq!(paths(&change), [("b\"ü.txt", 0, 0), ("logo.png", 0, 0), ("src/new file.rs", 1, 0)]);
    assert_eq!((change.files_total, change.additions_total, change.deletions_total), (3, 1, 0));
}

#[test]
fn the_last_commit_where_nothing_is_ahead() {
    let repo = Repo::new("master");
    repo.commit("a.txt", "1\n", "Begin");
    repo.commit("a.txt", "1\n2\n", "Go on");
    let change = repo.event().change.unwrap();
    assert_eq!((change.title.as_str(), change.base.as_str()), ("Go on", "master"));
    assert_eq!(paths(&change), [("a.txt", 1, 0)]);
}

#[test]
fn the_first_commit_adds_everything() {
    let repo = Repo::new("main");
    repo.commit("a.txt", "1\n2\n", "Begin");
    assert_eq!(paths(&repo.event().change.unwrap()), [("a.txt", 2, 0)]);
}

#[test]
fn unpushed_commits_on_the_default_branch() {
    let origin = Repo::new("trunk");
    origin.commit("a.txt", "1\n", "Begin");
    let work = TempDir::new().unwrap();
    let clone = work.path().join("clone");
    git_in(work.path(), &["clone", "-q", origin.path().to_str().unwrap(), "clone"]);
    for (name, message) in [("b.txt", "Second"), ("c.txt", "Third")] {
        std::fs::write(clone.join(name), "x\n").unwrap();
        git_in(&clone, &["add", "-A"]);
        git_in(&clone, &["-c", "user.name=Lee", "-c", "user.email=l@example.org", "commit", "-qm", message]);
    }
    let event = event_in(&clone, &[]).unwrap();
    let change = event.change.unwrap();
    assert_eq!(event.default_branch, "trunk");
    assert_eq!((change.title.as_str(), change.body.as_str()), ("Third", "- Second"));
    assert_eq!(paths(&change), [("b.txt", 1, 0), ("c.txt", 1, 0)]);
    assert_eq!(event.actor.login, "local");
}

#[test]
fn a_detached_head() {
    let repo = Repo::new("main");
    let first = repo.commit("a.txt", "1\n", "Begin");
    repo.commit("a.txt", "2\n", "Go on");
    repo.git(&["checkout", "-q", &first]);
    let change = repo.event().change.unwrap();
    assert_eq!((change.branch.as_str(), change.head_sha), ("", first));
    assert_eq!(change.title, "Begin");
}

/// The parent is cut off; that is no reason to take every file for new.
#[test]
fn a_shallow_clone_knows_no_files() {
    let origin = Repo::new("main");
    origin.commit("a.txt", "1\n", "Begin");
    origin.commit("b.txt", "1\n", "Go on");
    let work = TempDir::new().unwrap();
    let url = format!("file://{}", origin.path().display());
    git_in(work.path(), &["clone", "-q", "--depth=1", &url, "clone"]);
    let change = event_in(&work.path().join("clone"), &[]).unwrap().change.unwrap();
    assert_eq!((change.title.as_str(), change.files_total, change.files), ("Go on", 0, vec![]));
}

#[test]
fn the_environment_does_not_lead_git_astray() {
    let (repo, other) = (Repo::new("main"), Repo::new("main"));
    repo.commit("a.txt", "1\n", "Here");
    other.commit("a.txt", "1\n", "Elsewhere");
    let git_dir = other.path().join(".git");
    let variables =
        [("GIT_DIR", git_dir.to_str().unwrap()), ("GIT_WORK_TREE", "/"), ("GIT_INDEX_FILE", "/x")];
    assert_eq!(repo.event_with(&variables).unwrap().change.unwrap().title, "Here");
}

/// What a repository's own configuration names must not run.
#[cfg(unix)]
#[test]
fn the_repository_runs_nothing() {
    let repo = Repo::new("main");
    repo.commit("a.txt", "1\n", "Begin");
    repo.commit("a.txt", "2\n", "Go on");
    let trap = repo.path().join("ran");
    let command = format!("touch {}", trap.display());
    for key in ["core.fsmonitor", "diff.external", "core.pager", "diff.x.textconv", "core.sshCommand"] {
        repo.git(&["config", key, &command]);
    }
    std::fs::write(repo.path().join(".git/info/attributes"), "* diff=x\n").unwrap();
    assert_eq!(paths(&repo.event().change.unwrap()), [("a.txt", 1, 1)]);
    assert!(!trap.exists());
}

#[test]
fn whole_messages() {
    let nowhere = TempDir::new().unwrap();
    let dir = nowhere.path();
    let ceiling = [("GIT_CEILING_DIRECTORIES", dir.parent().unwrap().to_str().unwrap())];
    assert_eq!(
        event_in(dir, &ceiling).unwrap_err(),
        format!(
            "{} is not in a git repository\n\nhint: start tollgate in one, or pass an event with --event FILE",
            dir.display()
        )
    );
    let empty = Repo::new("main");
    assert_eq!(
        empty.event_with(&[]).unwrap_err(),
        format!(
            "the repository at {} has no commits\n\nhint: commit something first, or pass an event with --event FILE",
            empty.path().display()
        )
    );
    assert_eq!(
        event_in(dir, &[("PATH", "relative:bin")]).unwrap_err(),
        "git is not on PATH\n\nhint: install git, or pass an event with --event FILE"
    );
    assert_eq!(
        event_in(dir, &[("GITHUB_EVENT_NAME", "push")]).unwrap_err(),
        "GITHUB_EVENT_NAME is `push`, but GITHUB_EVENT_PATH is not set\n\nhint: pass the payload with --event FILE"
    );
}

/// Git has a switch that makes it take every repository for another user's.
#[test]
fn a_repository_of_somebody_else() {
    let repo = Repo::new("main");
    repo.commit("a.txt", "1\n", "Begin");
    let environment = environment(&[]);
    let fake = TempDir::new().unwrap();
    let real = tool(repo.path()).program().to_owned();
    let script = format!("#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {} \"$@\"\n", real.display());
    let program = fake.path().join("git");
    std::fs::write(&program, script).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", fake.path().display(), environment["PATH"]);
    assert_eq!(
        repo.event_with(&[("PATH", &path)]).unwrap_err(),
        format!(
            "git does not trust the repository at {0}, because another user owns it\n\n\
             hint: if you do, run git config --global --add safe.directory '{0}'",
            repo.path().display()
        )
    );
}

/// `main` with two commits, and `topic`, which left after the first.
fn forked() -> (Repo, String, String) {
    let repo = Repo::new("main");
    repo.commit("a.txt", "1\n", "Begin");
    repo.git(&["switch", "-q", "-c", "topic"]);
    let head = repo.commit("topic.rs", "1\n2\n", "On topic");
    repo.git(&["switch", "-q", "main"]);
    let base = repo.commit("main.rs", "1\n", "On main");
    (repo, base, head)
}

#[test]
fn files_between_two_commits_start_at_the_merge_base() {
    let (repo, base, head) = forked();
    let found = local::files_between(&tool(repo.path()), &base, &head).unwrap();
    assert_eq!((found.files[0].path.as_str(), found.total, found.additions), ("topic.rs", 1, 2));
    assert_eq!(local::files_between(&tool(repo.path()), &base, &"0".repeat(40)), None);
    assert_eq!(local::files_between(&tool(repo.path()), "--output=x", &head), None);
}

fn payload(dir: &Path, value: &serde_json::Value) -> String {
    let path = dir.join("payload.json");
    std::fs::write(&path, value.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn pull_request(base: &str, head: &str) -> serde_json::Value {
    serde_json::json!({
        "action": "opened",
        "repository": { "full_name": "acme/widgets", "id": 5, "private": false, "default_branch": "main" },
        "sender": { "login": "lee", "type": "User" },
        "pull_request": {
            "number": 9, "title": "On topic", "body": null, "user": null, "labels": [],
            "head": { "ref": "topic", "sha": head, "repo": null }, "base": { "ref": "main", "sha": base },
            "changed_files": 1, "additions": 2, "deletions": 0
        }
    })
}

/// `actions/checkout` leaves a merge of head and base, most often without any history.
#[test]
fn a_pull_requests_files_come_from_the_checkout() {
    let (repo, base, head) = forked();
    let files = TempDir::new().unwrap();
    let path = payload(files.path(), &pull_request(&base, &head));
    let variables = [("GITHUB_EVENT_NAME", "pull_request_target"), ("GITHUB_EVENT_PATH", path.as_str())];
    let event = repo.event_with(&variables).unwrap();
    assert_eq!((event.kind, event.actor.login.as_str()), (Kind::PullRequestTarget, "lee"));
    assert_eq!(paths(&event.change.unwrap()), [("topic.rs", 2, 0)]);

    repo.git(&["merge", "-q", "--no-edit", "topic"]);
    let url = format!("file://{}", repo.path().display());
    for (depth, known) in [("--depth=2", 1), ("--depth=1", 0)] {
        let work = TempDir::new().unwrap();
        git_in(work.path(), &["clone", "-q", depth, &url, "clone"]);
        let change = event_in(&work.path().join("clone"), &variables).unwrap().change.unwrap();
        assert_eq!((change.files.len(), change.files_total), (known, 1), "{depth}");
    }
}

#[test]
fn a_comments_pull_request_is_found_by_its_number() {
    let (repo, base, head) = forked();
    let issue = serde_json::json!({ "number": 9, "title": "On topic", "pull_request": {}, "labels": [] });
    let mut value = pull_request(&base, &head);
    value["issue"] = issue;
    value["comment"] = serde_json::json!({ "body": "/review", "user": null, "author_association": "OWNER" });
    value.as_object_mut().unwrap().remove("pull_request");
    let files = TempDir::new().unwrap();
    let path = payload(files.path(), &value);
    let variables = [("GITHUB_EVENT_NAME", "issue_comment"), ("GITHUB_EVENT_PATH", path.as_str())];
    assert_eq!(repo.event_with(&variables).unwrap().change.unwrap().files, vec![], "main is checked out");
    repo.git(&["update-ref", "refs/remotes/pull/9/head", &head]);
    repo.git(&["update-ref", "refs/remotes/origin/main", &base]);
    let change = repo.event_with(&variables).unwrap().change.unwrap();
    assert_eq!((paths(&change), change.head_sha.as_str()), (vec![("topic.rs", 2, 0)], head.as_str()));
}

#[test]
fn pushed_files() {
    let (repo, base, _) = forked();
    let last = repo.commit("third.rs", "1\n", "Third");
    let push = |before: &str| {
        let value = serde_json::json!({
            "ref": "refs/heads/main", "before": before, "after": last, "deleted": false,
            "repository": { "full_name": "acme/widgets", "default_branch": "main" }
        });
        let files = TempDir::new().unwrap();
        let path = payload(files.path(), &value);
        let environment = environment(&[("GITHUB_REPOSITORY_ID", "77"), ("GITHUB_ACTOR", "renovate[bot]")]);
        let event =
            current(&|name| environment.get(name).cloned(), Some(Path::new(&path)), repo.path()).unwrap();
        assert_eq!((event.kind, event.repository_id, event.actor.bot), (Kind::Push, Some(77), true));
        event.change.unwrap()
    };
    assert_eq!(paths(&push(&base)), [("third.rs", 1, 0)]);
    assert_eq!(paths(&push(&"0".repeat(40))), [("third.rs", 1, 0)]);
    let whole = push(&repo.git(&["rev-list", "--max-parents=0", "HEAD"]));
    assert_eq!(paths(&whole), [("main.rs", 1, 0), ("third.rs", 1, 0)]);
}
