//! What a run starts from: the event, the budget file, the folders, the key.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::budget::{self, Budget, PATH as BUDGET_FILE, UnknownModel};
use crate::cli::Shell;
use crate::event::git::Git;
use crate::event::{self, Event, Kind};
use crate::exit::Failure;
use crate::price::Table;

/// What a run starts from.
#[derive(Debug)]
pub struct Inputs {
    /// The event it answers to.
    pub event: Event,
    /// The checked budget file, or the built-in defaults.
    pub budget: Budget,
    /// The workflow file that runs it, by path.
    pub workflow: Option<String>,
    /// Whether GitHub's runner reads the log.
    pub on_actions: bool,
    /// The checkout is not known to be of the default branch: what lies in it is somebody's wish.
    pub of_another: bool,
    /// The repository's top folder, or the current one.
    pub root: PathBuf,
    /// The folder of ledger and runs.
    pub state: PathBuf,
}

impl Inputs {
    /// Reads everything a decision needs.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 for an event or a budget file that cannot be used.
    pub fn gather(
        shell: &mut Shell,
        event: Option<&Path>,
        budget_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("the current folder cannot be told")?;
        let env = |name: &str| shell.var(name).map(str::to_owned);
        let git = Git::find(&env, &here).ok();
        let (event, top) = std::thread::scope(|scope| {
            // A process of its own, whose answer the event does not need.
            let top = scope.spawn(|| git.as_ref()?.line(&["rev-parse", "--show-toplevel"]));
            (event::current(&env, event, &here), top.join().unwrap_or_default())
        });
        let event = event.map_err(|error| Failure::usage(error.to_string()))?;
        let root = top.map_or(here, PathBuf::from);
        let on_actions = shell.var("GITHUB_ACTIONS") == Some("true");
        let workflow = shell.var("GITHUB_WORKFLOW_REF").and_then(workflow_path);
        let of_another = on_actions && !is_on_default_branch(shell.var("GITHUB_REF"), &event);
        let budget = match find_budget(budget_file, &root, git.as_ref(), &event, of_another)? {
            Some((text, path)) => parse(&text, &path)?,
            None => {
                let note = "note: there is no budget file, so this run observes: it is metered and reported, and \
                            nothing stops or fails.\n\nhint: `tollgate init` writes a budget file that enforces";
                writeln!(shell.err, "{note}")?;
                Budget::builtin()
            }
        };
        let state = root.join(budget.ledger.folder());
        Ok(Self { event, budget, workflow, on_actions, of_another, root, state })
    }
}

/// The path in `owner/repo/.github/workflows/x.yml@refs/heads/main`.
fn workflow_path(reference: &str) -> Option<String> {
    let (path, _) = reference.split_once('@')?;
    path.splitn(3, '/').nth(2).map(str::to_owned)
}

/// Reads a checked budget out of a text.
///
/// # Errors
/// Every mistake, as a [`Failure`] with exit code 2.
pub fn parse(text: &str, path: &str) -> anyhow::Result<Budget> {
    let budget = budget::parse(text, path).map_err(|errors| Failure::usage(errors.to_string()))?;
    if budget.on.unknown_model == UnknownModel::Deny
        && let Some(model) = budget.models().into_iter().find(|model| Table::embedded().find(model).is_none())
    {
        let message = format!(
            "{path}: tiers: the model `{model}` has no price, so every request for it would be refused\n\n\
             hint: write a model of the price table, such as claude-sonnet-5-5, or let unknown models count at \
             the dearest price there is with `on: {{ unknown_model: ceiling }}`"
        );
        return Err(Failure::usage(message).into());
    }
    Ok(budget)
}

/// The budget of the working tree at `root`, or of a named file; the built-in one where there is none.
///
/// # Errors
/// A [`Failure`] with exit code 2 for a file that cannot be used.
pub fn working_tree_budget(given: Option<&Path>, root: &Path) -> anyhow::Result<Budget> {
    match read_budget(given, root)? {
        Some((text, path)) => parse(&text, &path),
        None => Ok(Budget::builtin()),
    }
}

fn read_budget(given: Option<&Path>, root: &Path) -> anyhow::Result<Option<(String, String)>> {
    let unreadable =
        |path: &str, error| Failure::usage(format!("the budget file {path} cannot be read: {error}"));
    let (path, shown) = match given {
        Some(path) => (path.to_owned(), path.display().to_string()),
        None => (root.join(BUDGET_FILE), BUDGET_FILE.to_owned()),
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((text, shown))),
        Err(error) if error.kind() == ErrorKind::NotFound && given.is_none() => Ok(None),
        Err(error) => Err(unreadable(&shown, error).into()),
    }
}

/// Whether an event's checkout is the default branch itself: so it is for schedules, and for pushes to it
/// and dispatches on it. What a pull request or another branch holds, its own budget file included, is
/// somebody's wish.
fn is_on_default_branch(reference: Option<&str>, event: &Event) -> bool {
    match event.kind {
        Kind::Schedule | Kind::Local => true,
        Kind::Push | Kind::WorkflowDispatch => {
            reference.and_then(|name| name.strip_prefix("refs/heads/")) == Some(&event.default_branch)
        }
        Kind::PullRequest
        | Kind::PullRequestTarget
        | Kind::IssueComment
        | Kind::ReviewComment
        | Kind::MergeGroup
        | Kind::WorkflowRun => false,
    }
}

/// The budget file's text, and how to call it: from the default branch as git has it where the checkout
/// is `of_another`. Everywhere else the working tree is what its owner means.
fn find_budget(
    given: Option<&Path>,
    root: &Path,
    git: Option<&Git>,
    event: &Event,
    of_another: bool,
) -> anyhow::Result<Option<(String, String)>> {
    if given.is_none() && of_another {
        return from_default_branch(git, event);
    }
    read_budget(given, root)
}

fn from_default_branch(git: Option<&Git>, event: &Event) -> anyhow::Result<Option<(String, String)>> {
    let branch = format!("refs/remotes/origin/{}", event.default_branch);
    let commit =
        git.and_then(|git| git.line(&["rev-parse", "--verify", "--quiet", &format!("{branch}^{{commit}}")]));
    let (Some(git), Some(commit)) = (git, commit) else {
        let message = format!(
            "the budget file is read from the default branch, and this checkout does not have \
             origin/{}\n\nhint: give `fetch-depth: 0` to actions/checkout, or name a trusted file with --budget-file",
            event.default_branch
        );
        return Err(Failure::usage(message).into());
    };
    let Some(blob) = git.line(&["rev-parse", "--verify", "--quiet", &format!("{commit}:{BUDGET_FILE}")])
    else {
        return Ok(None);
    };
    let text = git.run(&["cat-file", "blob", &blob])?;
    let text =
        String::from_utf8(text).map_err(|_| Failure::usage(format!("{BUDGET_FILE} is not UTF-8 text")))?;
    let short = commit.get(..12).unwrap_or(&commit);
    Ok(Some((text, format!("{BUDGET_FILE} at {short}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_branch_itself_brings_its_own_budget() {
        for (kind, reference, own) in [
            (Kind::Push, Some("refs/heads/main"), true),
            (Kind::Push, Some("refs/heads/feature"), false),
            (Kind::Push, Some("refs/tags/main"), false),
            (Kind::Push, Some("main"), false),
            (Kind::Push, None, false),
            (Kind::WorkflowDispatch, Some("refs/heads/main"), true),
            (Kind::WorkflowDispatch, Some("refs/heads/feature"), false),
            (Kind::Schedule, None, true),
            (Kind::PullRequest, Some("refs/heads/main"), false),
            (Kind::PullRequestTarget, Some("refs/heads/main"), false),
            (Kind::IssueComment, Some("refs/heads/main"), false),
        ] {
            let event = Event::bare(kind, "o/r");
            assert_eq!(is_on_default_branch(reference, &event), own, "{kind:?} {reference:?}");
        }
    }

    #[test]
    fn the_workflow_is_the_path_inside_the_repository() {
        for (reference, path) in [
            ("o/r/.github/workflows/x.yml@refs/heads/main", Some(".github/workflows/x.yml")),
            ("o/r/.github/workflows/x.yml", None),
            ("@", None),
        ] {
            assert_eq!(workflow_path(reference).as_deref(), path, "{reference}");
        }
    }
}
