//! What a run starts from: the event, the budget file, the folders, the key.

use std::fs;
use std::io::{ErrorKind, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::OFlags;

use super::forge::{self, Known};
use super::prices::{self, Here};
use super::trust;
use crate::budget::{self, Budget, CommentShow, PATH as BUDGET_FILE};
use crate::cli::Shell;
use crate::event::git::Git;
use crate::event::{self, Event, Kind};
use crate::exit::Failure;
use crate::github::PullRequest;
use crate::limits::Limits;
use crate::overrides::Standing;
use crate::price::Table;
use crate::report::around::Proposal;

/// The most of a budget file that is read: far more than it may have, so that the message tells its size.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a run starts from.
#[derive(Debug)]
pub struct Inputs {
    /// The event it answers to.
    pub event: Event,
    /// The checked budget file, or the built-in defaults.
    pub budget: Budget,
    /// The text that it was read from and what that is called; nothing for the defaults.
    pub budget_text: Option<(String, String)>,
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
    /// What GitHub says.
    pub known: Known,
    /// The prices that hold; those that are built in where [`Inputs::no_prices`] says why.
    pub table: &'static Table,
    /// Why the prices that the budget file demands cannot be had. Only what meters needs them.
    pub no_prices: Option<String>,
}

impl Inputs {
    /// Reads everything a decision needs. GitHub is asked where `ask` is set, on its runner and with a token.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 for an event or a budget file that cannot be used.
    pub async fn gather(
        shell: &mut Shell,
        event: Option<&Path>,
        budget_file: Option<&Path>,
        ask: bool,
    ) -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("the current folder cannot be told")?;
        let env = |name: &str| shell.var(name).map(str::to_owned);
        let git = Git::find(&env, &here).ok();
        let (event, top) = std::thread::scope(|scope| {
            // A process of its own, whose answer the event does not need.
            let top = scope.spawn(|| git.as_ref()?.line(&["rev-parse", "--show-toplevel"]));
            (event::current(&env, event, &here), top.join().unwrap_or_default())
        });
        let mut event = event.map_err(|error| Failure::usage(error.to_string()))?;
        let root = top.map_or(here, PathBuf::from);
        let on_actions = shell.var("GITHUB_ACTIONS") == Some("true");
        let workflow = shell.var("GITHUB_WORKFLOW_REF").and_then(workflow_path);
        let of_another = on_actions && !is_on_default_branch(shell.var("GITHUB_REF"), &event);
        let mut known = Known::default();
        if ask {
            known.open_forge(shell, &event);
        }
        let github = known.forge.as_ref().map(|forge| forge.github.clone());
        for note in trust::confirm(github.as_ref(), &mut event).await {
            writeln!(shell.err, "note: {note}")?;
        }
        if let Some(forge) = &mut known.forge {
            forge.number = event.change.as_ref().and_then(|change| change.number).or(event.issue);
        }
        let pull = refresh(&mut event, &mut known).await;
        let pinned = budget_file.is_none() && of_another;
        let found = match pinned {
            true => pinned_budget(git.as_ref(), &event, &mut known).await?,
            false => read_budget(budget_file, &root)?,
        };
        let budget = match &found {
            Some((text, path)) => parse(text, path)?,
            None => {
                let note = "note: there is no budget file, so this run observes: it is metered and reported, and \
                            nothing stops or fails.\n\nhint: `tollgate init` writes a budget file that enforces";
                writeln!(shell.err, "{note}")?;
                Budget::builtin()
            }
        };
        let state = root.join(budget.ledger.folder());
        if pinned {
            known.proposal = proposal(&budget, pull.as_ref(), &event, git.as_ref(), &known).await;
        }
        lift(&budget, pull.as_ref(), &event, &mut known).await;
        let env = |name: &str| shell.var(name).map(str::to_owned);
        let (table, no_prices) = match prices::of_budget(&budget, &Here::now(&env, &root)) {
            Ok(prices) => {
                known.notes.extend(prices.notes);
                (prices.table, None)
            }
            Err(error) => (Table::embedded(), Some(error.to_string())),
        };
        let budget_text = found;
        Ok(Self {
            event,
            budget,
            budget_text,
            workflow,
            on_actions,
            of_another,
            root,
            state,
            known,
            table,
            no_prices,
        })
    }

    /// Refuses to go on where the budget file demands prices that cannot be had.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2.
    pub fn check_prices(&self) -> anyhow::Result<()> {
        match &self.no_prices {
            Some(why) => Err(Failure::usage(why.clone()).into()),
            None => Ok(()),
        }
    }

    /// Whether only the pull request's own budget is shown where anybody may read.
    #[must_use]
    pub fn for_outsiders(&self) -> bool {
        match self.budget.comment.show {
            CommentShow::Auto => self.event.public,
            CommentShow::All => false,
            CommentShow::Own => true,
        }
    }

    /// Limits, raised where an override counts.
    #[must_use]
    pub fn lifted(&self, limits: Limits) -> Limits {
        match &self.known.lift {
            Some(lift) => limits.lifted(lift.clone()),
            None => limits,
        }
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
    prices::check(&budget)?;
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
    match read_file(&path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| Failure::usage(not_text(&shown)))?;
            Ok(Some((text, shown)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && given.is_none() => Ok(None),
        Err(error) => Err(unreadable(&shown, error).into()),
    }
}

/// A budget file's bytes: of a file that is one, so that neither a pipe nor a device is read for ever.
///
/// # Errors
/// When it is not there, is something else, or cannot be read.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is said of a budget file that is no text.
#[must_use]
pub fn not_text(path: &str) -> String {
    format!("{path}: the file is not UTF-8 text\n\nhint: save it as UTF-8")
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

/// The pull request as it is now.
async fn refresh(event: &mut Event, known: &mut Known) -> Option<PullRequest> {
    let forge = known.forge.clone()?;
    match forge.refresh(event, known).await {
        Ok(pull) => pull,
        Err(why) => {
            known.notes.push(format!("the pull request is as it was when the event came: {why}"));
            None
        }
    }
}

/// The budget file's text, and how to call it, of the default branch: from GitHub, else as the checkout
/// has it.
async fn pinned_budget(
    git: Option<&Git>,
    event: &Event,
    known: &mut Known,
) -> anyhow::Result<Option<(String, String)>> {
    let why = match &known.forge {
        Some(forge) => match forge.budget_file().await {
            Ok((commit, text)) => {
                let named = text.map(|text| named(text, &commit)).transpose()?;
                known.budget_commit = Some(commit);
                return Ok(named);
            }
            Err(why) => why,
        },
        None => "GitHub was not asked, which takes `GITHUB_TOKEN`".to_owned(),
    };
    let branch = &event.default_branch;
    let (found, commit) = from_default_branch(git, event)?;
    known.notes.push(format!("the budget file is that of origin/{branch} in this checkout: {why}"));
    known.budget_commit = Some(commit);
    Ok(found)
}

fn named(text: Vec<u8>, commit: &str) -> anyhow::Result<(String, String)> {
    let text = String::from_utf8(text).map_err(|_| Failure::usage(not_text(BUDGET_FILE)))?;
    let short = commit.get(..12).unwrap_or(commit);
    Ok((text, format!("{BUDGET_FILE} at {short}")))
}

/// What the pull request would do to the budget file.
async fn proposal(
    budget: &Budget,
    pull: Option<&PullRequest>,
    event: &Event,
    git: Option<&Git>,
    known: &Known,
) -> Option<Proposal> {
    if let (Some(forge), Some(pull)) = (&known.forge, pull) {
        return forge.proposal(budget, pull, event).await;
    }
    let change = event.change.as_ref()?;
    change.number?;
    change.files.iter().find(|file| file.path == BUDGET_FILE)?;
    let head = Some(change.head_sha.as_str()).filter(|head| !head.is_empty())?;
    let text = git?.run(&["cat-file", "blob", &format!("{head}:{BUDGET_FILE}")]).ok();
    Some(forge::propose(budget, text.as_deref()))
}

/// The override, if the budget file has one and its label counts.
async fn lift(budget: &Budget, pull: Option<&PullRequest>, event: &Event, known: &mut Known) {
    let (Some(rule), Some(forge), Some(pull)) = (&budget.lift, &known.forge, pull) else { return };
    match forge.lift(rule, pull, event).await {
        Ok(Standing::Unset) => {}
        Ok(Standing::Ignored(why)) => known.remarks.push(why),
        Ok(Standing::Counts(lift)) => {
            let until = budget.timezone.to_datetime(lift.expires).strftime("%-d %b %Y %H:%M").to_string();
            known.remarks.push(format!(
                "the label `{}`, set by {}, raises every budget of this pull request's runs by {} until {until} ({})",
                lift.label,
                lift.by,
                lift.usd.shown(),
                budget.timezone.iana_name().unwrap_or("UTC"),
            ));
            known.lift = Some(lift);
        }
        Err(why) => known.remarks.push(format!("the label `{}` does not count: {why}", rule.label)),
    }
}

/// As [`named`], and the commit.
fn from_default_branch(
    git: Option<&Git>,
    event: &Event,
) -> anyhow::Result<(Option<(String, String)>, String)> {
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
        return Ok((None, commit));
    };
    let text = git.run(&["cat-file", "blob", &blob])?;
    Ok((Some(named(text, &commit)?), commit))
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
