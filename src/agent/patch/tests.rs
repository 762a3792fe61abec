//! Patches are made and applied by the real git.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Repo {
    folder: tempfile::TempDir,
}

impl Repo {
    fn new() -> Self {
        let repo = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(repo.tree()).expect("a folder");
        std::fs::create_dir(repo.run()).expect("a folder");
        repo.git(&["init", "--quiet"]);
        repo.write("kept", b"kept\n");
        repo.write("changed", b"one\ntwo\nthree\n");
        repo.write("gone", b"gone\n");
        repo.write("moved", b"a file that is moved\nwith more than one line\nto be found again\n");
        repo.write("binary", &[0, 1, 2, 255]);
        repo.write("script", b"#!/bin/sh\n");
        repo.write(".gitignore", b"ignored\n");
        symlink("kept", repo.tree().join("link")).expect("a link");
        repo.commit();
        repo
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.tree().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    fn git(&self, args: &[&str]) -> String {
        git_in(&self.tree(), args)
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "a commit"]);
    }

    async fn baseline(&self) -> Baseline {
        Baseline::take(&git(), &self.tree(), &self.run()).await.expect("a baseline")
    }
}

fn git() -> PathBuf {
    crate::agent::preset::find_program("git", &std::env::var_os("PATH").unwrap_or_default()).expect("git")
}

fn git_in(folder: &Path, args: &[&str]) -> String {
    let mut command = std::process::Command::new(git());
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@a.invalid");
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.current_dir(folder).args(args).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The tree that the working tree would be as a commit.
fn tree_of(folder: &Path) -> String {
    git_in(folder, &["add", "--all", "--", ":(top)", OWN_FOLDER]);
    git_in(folder, &["write-tree"])
}

#[tokio::test]
async fn a_patch_applied_to_the_base_gives_the_agents_tree() {
    let repo = Repo::new();
    let base = repo.git(&["rev-parse", "HEAD"]);
    let baseline = repo.baseline().await;
    // Some of it committed by the agent, some staged, some not, some new, some ignored.
    repo.write("changed", b"one\n2\nthree\n");
    std::fs::rename(repo.tree().join("moved"), repo.tree().join("moved here")).expect("a rename");
    repo.commit();
    repo.write("binary", &[9, 0, 255, 3, 10, 13]);
    repo.git(&["add", "binary"]);
    std::fs::remove_file(repo.tree().join("gone")).expect("a removal");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(repo.tree().join("script"), mode).expect("a mode");
    std::fs::remove_file(repo.tree().join("link")).expect("a removal");
    symlink("changed", repo.tree().join("link")).expect("a link");
    repo.write("src/größe \"x\"\tü.rs", "fn größe() {}".as_bytes());
    repo.write("no end of line", b"x");
    repo.write("empty", b"");
    repo.write("ignored", b"not work");
    repo.write(".tollgate/ledger", b"not work either");
    let before = std::fs::read(repo.tree().join(".git/index")).expect("an index");

    let outcome = baseline.save().await;
    let PatchOutcome::Saved { path, files, bytes } = outcome else { panic!("{outcome:?}") };
    assert_eq!((files, bytes), (10, std::fs::metadata(&path).expect("a patch").len()));
    assert_eq!(std::fs::read(repo.tree().join(".git/index")).expect("an index"), before, "left alone");
    baseline.discard();
    assert!(!repo.run().join("shadow.git").exists());

    let other = repo.folder.path().join("other");
    git_in(&repo.tree(), &["worktree", "add", "--quiet", "--detach", other.to_str().expect("text"), &base]);
    git_in(&other, &["apply", "--index", path.to_str().expect("text")]);
    assert_eq!(tree_of(&other), tree_of(&repo.tree()));
}

#[tokio::test]
async fn no_work_is_no_patch() {
    let repo = Repo::new();
    let baseline = repo.baseline().await;
    repo.write("ignored", b"x");
    repo.write(".tollgate/x", b"x");
    assert_eq!(baseline.save().await, PatchOutcome::Nothing);
    assert!(!repo.run().join("partial.patch").exists());
}

#[tokio::test]
async fn a_folder_without_git_is_no_repository() {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = Baseline::take(&git(), folder.path(), folder.path()).await.expect_err("no repository");
    assert_eq!(outcome, PatchOutcome::NotARepository);
}

#[tokio::test]
async fn a_repository_without_a_commit_gives_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tree, run) = (folder.path().join("tree"), folder.path().join("run"));
    for path in [&tree, &run] {
        std::fs::create_dir(path).expect("a folder");
    }
    git_in(&tree, &["init", "--quiet"]);
    std::fs::write(tree.join("a"), "a\n").expect("a file");
    let outcome = Baseline::take(&git(), &tree, &run).await.expect("a baseline").save().await;
    assert!(matches!(outcome, PatchOutcome::Saved { files: 1, .. }), "{outcome:?}");
}

#[tokio::test]
async fn nothing_that_the_agent_has_configured_is_run() {
    let repo = Repo::new();
    let baseline = repo.baseline().await;
    let trap = repo.folder.path().join("sprung");
    let touch = format!("touch {}; cat", trap.display());
    for (name, value) in [
        ("core.fsmonitor", touch.as_str()),
        ("filter.x.clean", &touch),
        ("filter.x.process", &touch),
        ("diff.x.textconv", &touch),
        ("diff.x.command", &touch),
        ("diff.external", &touch),
        ("core.pager", &touch),
    ] {
        repo.git(&["config", name, value]);
    }
    repo.write(".gitattributes", b"* filter=x diff=x\n");
    repo.write("changed", b"1\n");
    repo.write("binary", &[0, 9]);
    for hook in ["post-index-change", "pre-commit"] {
        repo.write(&format!(".git/hooks/{hook}"), format!("#!/bin/sh\n{touch}\n").as_bytes());
        let path = repo.tree().join(".git/hooks").join(hook);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let outcome = baseline.save().await;
    assert!(matches!(outcome, PatchOutcome::Saved { files: 3, .. }), "{outcome:?}");
    assert!(!trap.exists(), "something of the agent's was run");
}

#[tokio::test]
async fn a_submodule_is_left_alone() {
    let repo = Repo::new();
    let inner = repo.folder.path().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    git_in(&inner, &["init", "--quiet"]);
    std::fs::write(inner.join("file"), "x\n").expect("a file");
    git_in(&inner, &["add", "--all"]);
    git_in(&inner, &["commit", "--quiet", "--message", "x"]);
    let url = inner.to_str().expect("text");
    repo.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "sub"]);
    repo.commit();
    let baseline = repo.baseline().await;
    let trap = repo.folder.path().join("sprung");
    let touch = format!("touch {}", trap.display());
    for name in ["core.fsmonitor", "filter.x.clean"] {
        git_in(&repo.tree().join("sub"), &["config", name, &touch]);
    }
    repo.write("sub/.gitattributes", b"* filter=x\n");
    repo.write("sub/file", b"y\n");
    repo.write("changed", b"1\n");
    let outcome = baseline.save().await;
    assert!(matches!(outcome, PatchOutcome::Saved { files: 1, .. }), "{outcome:?}");
    assert!(!trap.exists(), "something of the agent's was run");
}

#[tokio::test]
async fn a_repository_that_the_agent_makes_is_named() {
    let repo = Repo::new();
    let baseline = repo.baseline().await;
    repo.write("made/file", b"x\n");
    repo.write("folder/file", b"x\n");
    git_in(&repo.tree().join("made"), &["init", "--quiet"]);
    git_in(&repo.tree().join("made"), &["add", "--all"]);
    git_in(&repo.tree().join("made"), &["commit", "--quiet", "--message", "x"]);
    let outcome = baseline.save().await;
    assert!(matches!(outcome, PatchOutcome::Saved { files: 1, .. }), "{outcome:?}");
    assert_eq!(baseline.nested().await, ["made"]);
}

#[tokio::test]
async fn work_that_is_too_large_is_listed() {
    let repo = Repo::new();
    let baseline = repo.baseline().await;
    // Nothing but a length: it is never read.
    let file = std::fs::File::create(repo.tree().join("huge\nfile")).expect("a file");
    file.set_len(FILES_BYTES_MAX + 1).expect("a length");
    let list = repo.run().join("partial.txt");
    assert_eq!(baseline.save().await, PatchOutcome::TooLarge { list: list.clone(), files: 1 });
    assert_eq!(std::fs::read_to_string(list).expect("a list"), "\"huge\\nfile\"\n");
}

#[tokio::test]
async fn a_patch_beyond_the_limit_is_not_half_saved() {
    let repo = Repo::new();
    let baseline = repo.baseline().await;
    let line = "a line of a large file that is text, and so is a patch of its own size\n";
    let lines = usize::try_from(PATCH_BYTES_MAX).expect("a size") / line.len() + 1;
    repo.write("large", line.repeat(lines).as_bytes());
    let list = repo.run().join("partial.txt");
    assert_eq!(baseline.save().await, PatchOutcome::TooLarge { list, files: 1 });
    assert!(!repo.run().join("partial.patch").exists());
}
