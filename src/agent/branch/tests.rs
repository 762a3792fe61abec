//! Branches pushed to a bare repository, by the real git.

use std::path::{Path, PathBuf};

use super::*;
use crate::agent::patch::PatchOutcome;

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().expect("a folder") };
        for folder in ["tree", "run"] {
            std::fs::create_dir(world.path(folder)).expect("a folder");
        }
        world.git("", &["init", "--quiet", "--bare", "remote.git"]);
        world.git("tree", &["init", "--quiet", "--initial-branch=main"]);
        world.write("a", "one\n");
        world.write(".github/workflows/ci.yml", "on: push\n");
        world.commit("first");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path("tree").join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    fn git(&self, folder: &str, args: &[&str]) -> String {
        let mut command = std::process::Command::new(git());
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@a.invalid");
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.current_dir(self.path(folder)).args(args).output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn commit(&self, message: &str) -> String {
        self.git("tree", &["add", "--all"]);
        self.git("tree", &["commit", "--quiet", "--message", message]);
        self.git("tree", &["rev-parse", "HEAD"])
    }

    async fn baseline(&self) -> Baseline {
        Baseline::take(&git(), &self.path("tree"), &self.path("run")).await.expect("a baseline")
    }

    async fn push(&self, baseline: &Baseline, head: Option<&str>) -> Result<Pushed, BranchError> {
        let outcome = baseline.save().await;
        assert!(matches!(outcome, PatchOutcome::Saved { .. }), "{outcome:?}");
        let url = format!("file://{}", self.path("remote.git").display());
        let spec = Push {
            url: &url,
            token: Some("ghs_canary"),
            branch: "tollgate/pr-9-abc",
            message: "The agent's work",
            head,
            environment: &[],
        };
        push(baseline, &spec).await
    }

    fn pushed(&self, what: &str) -> String {
        self.git("remote.git", &["show", &format!("tollgate/pr-9-abc{what}")])
    }
}

fn git() -> PathBuf {
    crate::agent::preset::find_program("git", &std::env::var_os("PATH").unwrap_or_default()).expect("git")
}

/// Hooks, filters and monitors that say so when they run.
fn plant(world: &World) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let ran = world.path("ran");
    let script = format!("#!/bin/sh\ntouch {}\n", ran.display());
    for hook in ["pre-push", "pre-commit", "post-commit", "reference-transaction", "post-index-change"] {
        let hook = world.path("tree/.git/hooks").join(hook);
        std::fs::create_dir_all(hook.parent().expect("a parent")).expect("a folder");
        std::fs::write(&hook, &script).expect("a hook");
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let touch = format!("touch {}", ran.display());
    for (name, value) in [
        ("core.fsmonitor", touch.as_str()),
        ("filter.x.clean", touch.as_str()),
        ("filter.x.process", touch.as_str()),
        ("diff.external", touch.as_str()),
        ("credential.helper", &format!("!{touch}")),
        ("core.sshCommand", touch.as_str()),
        ("gpg.program", touch.as_str()),
        ("commit.gpgSign", "true"),
    ] {
        world.git("tree", &["config", name, value]);
    }
    world.git("tree", &["config", "url.file:///nowhere/.pushInsteadOf", "file://"]);
    ran
}

#[tokio::test]
async fn committed_and_uncommitted_work_is_one_commit_of_tollgates() {
    let world = World::new();
    let base = world.git("tree", &["rev-parse", "HEAD"]);
    let baseline = world.baseline().await;
    world.write("a", "two\n");
    world.commit("by the agent");
    world.write("new", "new\n");
    let ran = plant(&world);
    world.write(".gitattributes", "* filter=x\n");
    let pushed = world.push(&baseline, None).await.expect("it is pushed");
    assert_eq!((pushed.parent.as_str(), pushed.files), (base.as_str(), 3));
    assert_eq!(pushed.left_out, Vec::<String>::new());
    let about = ["log", "-1", "--format=%H %P %an <%ae> %cn: %s", "tollgate/pr-9-abc"];
    assert_eq!(
        world.git("remote.git", &about),
        format!(
            "{} {base} tollgate[bot] <agent@tollgate.invalid> tollgate[bot]: The agent's work",
            pushed.commit
        )
    );
    assert_eq!((world.pushed(":a"), world.pushed(":new")), ("two".to_owned(), "new".to_owned()));
    assert!(!ran.exists(), "something of the repository's ran");
}

#[tokio::test]
async fn workflows_stay_as_they_were() {
    let world = World::new();
    let baseline = world.baseline().await;
    world.write(".github/workflows/ci.yml", "on: pull_request_target\n");
    world.write(".github/workflows/evil.yml", "on: push\n");
    world.write("a", "two\n");
    let pushed = world.push(&baseline, None).await.expect("it is pushed");
    assert_eq!(pushed.left_out, [".github/workflows/ci.yml", ".github/workflows/evil.yml"]);
    assert_eq!(pushed.files, 1);
    assert_eq!(world.pushed(":.github/workflows/ci.yml"), "on: push");
    assert_eq!(world.pushed(":.github/workflows").lines().last(), Some("ci.yml"));
}

#[tokio::test]
async fn workflows_alone_are_no_branch() {
    let world = World::new();
    let baseline = world.baseline().await;
    world.write(".github/workflows/ci.yml", "on: pull_request_target\n");
    let error = world.push(&baseline, None).await.expect_err("there is nothing");
    assert_eq!(
        error.to_string(),
        "nothing is changed but workflow files, which a branch of an agent's never changes: .github/workflows/ci.yml"
    );
}

#[tokio::test]
async fn a_branch_that_is_there_is_not_touched() {
    let world = World::new();
    let remote = world.path("remote.git");
    world.git("tree", &["push", "--quiet", &remote.to_string_lossy(), "main:tollgate/pr-9-abc"]);
    let baseline = world.baseline().await;
    world.write("a", "two\n");
    let error = world.push(&baseline, None).await.expect_err("it is there").to_string();
    assert!(error.starts_with("`git push` failed: "), "{error}");
    assert!(!error.contains("ghs_canary"), "{error}");
    assert_eq!(world.pushed(":a"), "one");
}

#[tokio::test]
async fn work_on_a_merge_goes_on_from_the_pull_requests_head() {
    let world = World::new();
    world.git("tree", &["switch", "--quiet", "--create", "topic"]);
    world.write("theirs", "theirs\n");
    let head = world.commit("theirs");
    world.git("tree", &["switch", "--quiet", "main"]);
    world.write("meanwhile", "meanwhile\n");
    world.commit("meanwhile");
    world.git("tree", &["merge", "--quiet", "--no-ff", "--message", "merge", "topic"]);
    let baseline = world.baseline().await;
    world.write("theirs", "theirs, mended\n");
    let pushed = world.push(&baseline, Some(&head)).await.expect("it is pushed");
    assert_eq!(pushed.parent, head);
    assert_eq!(world.pushed(":theirs"), "theirs, mended");
    let names = world.git("remote.git", &["ls-tree", "--name-only", "tollgate/pr-9-abc"]);
    assert_eq!(names, ".github\na\ntheirs", "nothing of the base branch comes along");
}

#[tokio::test]
async fn a_shallow_checkout_can_be_pushed_from() {
    let world = World::new();
    world.write("a", "two\n");
    world.commit("second");
    let remote = world.path("remote.git");
    world.git("tree", &["push", "--quiet", &remote.to_string_lossy(), "main"]);
    std::fs::remove_dir_all(world.path("tree")).expect("it is there");
    let url = format!("file://{}", remote.display());
    world.git("", &["clone", "--quiet", "--depth=1", "--branch=main", &url, "tree"]);
    assert!(Path::new(&world.path("tree/.git/shallow")).exists());
    let baseline = world.baseline().await;
    world.write("a", "three\n");
    world.push(&baseline, None).await.expect("it is pushed");
    assert_eq!(world.pushed(":a"), "three");
}
