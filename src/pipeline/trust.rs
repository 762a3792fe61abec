//! What only GitHub can say of an event before anything is spent: who may do what, and which pull request
//! another workflow's run belongs to.

use std::path::{Path, PathBuf};

use crate::agent::steering::{Given, steers};
use crate::event::{Change, Event, Kind, Person};
use crate::github::{Error, GitHub, Permission, TreeEntry, TreeKind};

/// The most files that steer agents that are asked for, one call each.
const STEERING_FILES_MAX: usize = 100;
/// Puts GitHub's word in the place of the event's where an outsider could have had a hand in it; what could
/// not be asked is returned, one line each.
pub(super) async fn confirm(github: Option<&GitHub>, event: &mut Event) -> Vec<String> {
    let mut notes = Vec::new();
    let is_comment = matches!(event.kind, Kind::IssueComment | Kind::ReviewComment);
    if is_comment && let Some((_, author)) = &mut event.comment {
        notes.extend(permission(github, author).await.err());
    }
    if event.kind == Kind::WorkflowRun
        && let Some(change) = &mut event.change
    {
        notes.extend(pull_request(github, change).await.err());
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

/// The number that another workflow's run brings counts only where that pull request is at the very commit
/// that was run.
async fn pull_request(github: Option<&GitHub>, change: &mut Change) -> Result<(), String> {
    let Some(number) = change.number else { return Ok(()) };
    let found = match github {
        Some(github) => github.pull_request(number).await.map_err(|error| error.to_string()),
        None => Err("there is no GITHUB_TOKEN".to_owned()),
    };
    match found {
        Ok(found) if found.head_commit == change.head_sha => Ok(()),
        Ok(_) => {
            change.number = None;
            Err(format!(
                "pull request #{number} is not at the commit that the workflow ran for, so this run is not counted as its own"
            ))
        }
        Err(why) => {
            change.number = None;
            Err(format!("that the workflow ran for pull request #{number} cannot be confirmed: {why}"))
        }
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
