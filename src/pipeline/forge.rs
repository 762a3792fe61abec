//! What only GitHub can say of an event before anything is spent: who may do what, and which pull request
//! another workflow's run belongs to.

use std::path::{Path, PathBuf};

use crate::agent::steering::{Given, steers};
use crate::cli::Shell;
use crate::event::{Change, Event, Kind, Person};
use crate::github::{Config, Error, GitHub, Permission, PullRequest, Secret, TreeEntry, TreeKind};

use super::inputs::Inputs;

/// The most files that steer agents that are asked for, one call each.
const STEERING_FILES_MAX: usize = 100;
/// Where the API is unless the runner says otherwise.
const API: &str = "https://api.github.com";

/// A client with the job's own token; `None` locally, in a simulation and without a token. An address that
/// cannot be used is said.
pub(super) fn connect(inputs: &Inputs, simulate: bool, shell: &Shell) -> Result<Option<GitHub>, String> {
    let (true, false, Some(token)) = (inputs.on_actions, simulate, shell.var("GITHUB_TOKEN")) else {
        return Ok(None);
    };
    let api = shell.var("GITHUB_API_URL").unwrap_or(API);
    let config = Config::new(api, inputs.event.repository.clone(), Secret::new(token.to_owned()));
    GitHub::new(&config).map(Some).map_err(|error| error.to_string())
}

/// Puts GitHub's word in the place of the event's where an outsider could have had a hand in it; what could
/// not be asked is returned, one line each.
pub(super) async fn confirm(github: Option<&GitHub>, event: &mut Event) -> Vec<String> {
    let mut notes = Vec::new();
    let is_comment = matches!(event.kind, Kind::IssueComment | Kind::ReviewComment);
    if is_comment && let Some((_, author)) = &mut event.comment {
        notes.extend(permission(github, author).await.err());
    }
    let asks_for = matches!(event.kind, Kind::IssueComment | Kind::WorkflowRun);
    if asks_for && let Some(change) = &mut event.change {
        notes.extend(pull_request(github, event.kind, change).await.err());
    }
    notes
}

/// What somebody may do, by GitHub's word of now.
async fn permission(github: Option<&GitHub>, author: &mut Person) -> Result<(), String> {
    let Some(github) = github else { return Ok(()) };
    match github.permission(&author.login).await {
        Ok(permission) => {
            let relation = if permission >= Permission::Write { "COLLABORATOR" } else { "NONE" };
            author.association = Some(relation.to_owned());
            Ok(())
        }
        Err(error) => {
            // The event's own word may be old, and `MEMBER` may mean no more than to read.
            author.association = Some("NONE".to_owned());
            Err(format!("what the comment's author may do cannot be told, so it starts nothing: {error}"))
        }
    }
}

/// Fills in the pull request as GitHub has it. The number that another workflow's run brings counts only
/// where that pull request is at the very commit that was run.
async fn pull_request(github: Option<&GitHub>, kind: Kind, change: &mut Change) -> Result<(), String> {
    let Some(number) = change.number else { return Ok(()) };
    let found = match github {
        Some(github) => github.pull_request(number).await.map_err(|error| error.to_string()),
        None => Err("there is no GITHUB_TOKEN".to_owned()),
    };
    match (found, kind) {
        (Ok(found), Kind::WorkflowRun) if found.head_commit != change.head_sha => {
            change.number = None;
            Err(format!(
                "pull request #{number} is not at the commit that the workflow ran for, so this run is not counted as its own"
            ))
        }
        (Ok(found), _) => {
            fill(change, found);
            Ok(())
        }
        (Err(why), Kind::WorkflowRun) => {
            change.number = None;
            Err(format!("that the workflow ran for pull request #{number} cannot be confirmed: {why}"))
        }
        (Err(_), _) if github.is_none() => Ok(()),
        (Err(why), _) => Err(format!("pull request #{number} cannot be read: {why}")),
    }
}

/// The default branch's files that steer agents, for a checkout that does not have it; `None` where GitHub
/// does not tell all of them. Links are left out.
///
/// # Errors
/// When GitHub does not answer.
pub(super) async fn steering(github: &GitHub, branch: &str) -> Result<Option<Vec<Given>>, Error> {
    let Some(commit) = github.branch(branch).await? else { return Ok(None) };
    let tree = github.tree(&commit, "").await?;
    let is_file = |entry: &&TreeEntry| matches!(entry.kind, TreeKind::File | TreeKind::Executable);
    let wanted: Vec<&TreeEntry> =
        tree.entries.iter().filter(is_file).filter(|entry| steers(Path::new(&entry.path))).collect();
    if !tree.complete || wanted.len() > STEERING_FILES_MAX {
        return Ok(None);
    }
    let mut files = Vec::new();
    for entry in wanted {
        let content = github.blob(&entry.sha).await?;
        let executable = entry.kind == TreeKind::Executable;
        files.push(Given { path: PathBuf::from(&entry.path), executable, content });
    }
    Ok(Some(files))
}

fn fill(change: &mut Change, found: PullRequest) {
    *change = Change {
        number: Some(found.number),
        title: found.title,
        body: found.body,
        author: Person {
            login: found.author.login,
            bot: found.author.bot,
            association: Some(found.author_association),
        },
        labels: found.labels,
        branch: found.head_branch,
        base: found.base_branch,
        base_sha: found.base_commit,
        head_sha: found.head_commit,
        fork: found.fork,
        files: std::mem::take(&mut change.files),
        files_total: found.files_total,
        additions_total: found.additions,
        deletions_total: found.deletions,
    };
}
