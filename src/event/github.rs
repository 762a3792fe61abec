//! GitHub's event payloads, as they lie at `GITHUB_EVENT_PATH`.
//!
//! Payloads carry no file lists; [`super::local`] fills them in from the checkout where it can.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{At, cut};
use super::{Change, Event, EventError, Kind, Person};

/// The commit id that stands for "no commit" in pushes that make or delete a branch.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// The supported events, for messages.
#[must_use]
pub fn supported() -> String {
    Kind::GITHUB.map(|(name, _)| name).join(", ")
}

/// Reads the payload of the event called `name`.
///
/// # Errors
/// An unsupported name, JSON that is none, or a payload without something every such payload has.
pub fn parse(name: &str, payload: &[u8]) -> Result<Event, EventError> {
    let Some((_, kind)) = Kind::GITHUB.into_iter().find(|(known, _)| *known == name) else {
        return Err(EventError::Unsupported(name.to_owned()));
    };
    let value: Value = serde_json::from_slice(payload).map_err(EventError::Json)?;
    let document = format!("`{name}` payload");
    let root = At::root(&document, &value);
    let mut event = base(kind, &root)?;
    match kind {
        Kind::PullRequest | Kind::PullRequestTarget => {
            event.change = Some(pull_request(&root)?);
            event.label = root.opt("label").and_then(|label| label.text_opt("name"));
        }
        Kind::ReviewComment => {
            event.change = Some(pull_request(&root)?);
            event.comment = Some(comment(&root)?);
        }
        Kind::IssueComment => {
            let issue = root.object("issue")?;
            event.issue = Some(issue.number("number")?);
            if issue.opt("pull_request").is_some() {
                event.change = Some(commented_pull_request(&issue, &event.default_branch)?);
            }
            event.comment = Some(comment(&root)?);
        }
        Kind::WorkflowDispatch => {
            event.inputs = inputs(&root);
            event.change = dispatched_branch(&root, &event.default_branch);
        }
        Kind::Push => event.change = push(&root, &event)?,
        Kind::MergeGroup => event.change = Some(merge_group(&root)?),
        Kind::WorkflowRun => event.change = Some(workflow_run(&root, &event)?),
        Kind::Schedule | Kind::Local => {}
    }
    Ok(event)
}

/// Which event a payload is, by its shape; `preferred` wins where the shape fits several.
///
/// # Errors
/// JSON that is none, or a shape that no supported event has.
pub fn guess(payload: &[u8], preferred: Option<&str>) -> Result<String, EventError> {
    let value: Value = serde_json::from_slice(payload).map_err(EventError::Json)?;
    let has = |key: &str| value.get(key).is_some();
    let fits: &[&str] = if has("comment") && has("issue") {
        &["issue_comment"]
    } else if has("comment") && has("pull_request") {
        &["pull_request_review_comment"]
    } else if has("pull_request") && !has("review") {
        &["pull_request", "pull_request_target"]
    } else if has("workflow_run") {
        &["workflow_run"]
    } else if has("merge_group") {
        &["merge_group"]
    } else if has("schedule") {
        &["schedule"]
    } else if has("before") && has("after") && has("ref") {
        &["push"]
    } else if has("ref") && (has("inputs") || has("workflow")) {
        &["workflow_dispatch"]
    } else {
        return Err(EventError::UnknownShape);
    };
    let name = preferred.filter(|name| fits.contains(name)).unwrap_or(fits[0]);
    Ok(name.to_owned())
}

fn base(kind: Kind, root: &At<'_>) -> Result<Event, EventError> {
    // Scheduled runs have no more than the cron line on some servers; the environment names the rest.
    let repository = match kind {
        Kind::Schedule => root.opt("repository"),
        _ => Some(root.object("repository")?),
    };
    let repo_text = |key: &str| repository.as_ref().map(|repo| repo.text(key)).transpose();
    Ok(Event {
        kind,
        action: root.text_opt("action"),
        label: None,
        repository: repo_text("full_name")?.unwrap_or_default(),
        repository_id: repository.as_ref().and_then(|repo| repo.number_opt("id")),
        default_branch: repository
            .as_ref()
            .and_then(|repo| repo.text_opt("default_branch"))
            .unwrap_or_else(|| "main".to_owned()),
        public: repository.as_ref().is_none_or(is_public),
        actor: root.opt("sender").map(|sender| person(&sender, None)).unwrap_or_default(),
        change: None,
        issue: None,
        comment: None,
        inputs: BTreeMap::new(),
    })
}

/// Unknown counts as public, because less is shown there.
fn is_public(repository: &At<'_>) -> bool {
    match repository.text_opt("visibility") {
        Some(visibility) => visibility == "public",
        None => !repository.flag("private").unwrap_or(false),
    }
}

fn person(user: &At<'_>, association: Option<String>) -> Person {
    let login = user.text_or_empty("login");
    let bot = user.text_opt("type").as_deref() == Some("Bot") || login.ends_with("[bot]");
    Person { login, bot, association }
}

/// Who wrote `of`. A deleted account is null, and an unknown relation is none at all.
fn author(of: &At<'_>) -> Person {
    let association = Some(of.text_opt("author_association").unwrap_or_else(|| "NONE".to_owned()));
    match of.opt("user") {
        Some(user) => person(&user, association),
        None => Person { login: "ghost".to_owned(), bot: false, association },
    }
}

fn labels(of: &At<'_>) -> Vec<String> {
    let name = |label: &At<'_>| label.text_opt("name").or_else(|| label.value().as_str().map(cut));
    of.items("labels").iter().filter_map(name).collect()
}

fn comment(root: &At<'_>) -> Result<(String, Person), EventError> {
    let comment = root.object("comment")?;
    Ok((comment.text_or_empty("body"), author(&comment)))
}

fn pull_request(root: &At<'_>) -> Result<Change, EventError> {
    let pr = root.object("pull_request")?;
    let (head, base) = (pr.object("head")?, pr.object("base")?);
    let id = |side: &At<'_>| side.opt("repo").and_then(|repo| repo.number_opt("id"));
    let name = |side: &At<'_>| side.opt("repo").and_then(|repo| repo.text_opt("full_name"));
    // A head without a repository is a fork that was deleted.
    let same = match (id(&head), id(&base)) {
        (Some(head), Some(base)) => head == base,
        _ => name(&head).is_some() && name(&head) == name(&base),
    };
    Ok(Change {
        number: Some(pr.number("number")?),
        opened: pr.time_opt("created_at"),
        title: pr.text("title")?,
        body: pr.text_or_empty("body"),
        author: author(&pr),
        labels: labels(&pr),
        branch: head.text("ref")?,
        base: base.text("ref")?,
        base_sha: base.text("sha")?,
        head_sha: head.text("sha")?,
        fork: !same,
        files: Vec::new(),
        files_total: pr.number_opt("changed_files").unwrap_or(0),
        additions_total: pr.number_opt("additions").unwrap_or(0),
        deletions_total: pr.number_opt("deletions").unwrap_or(0),
    })
}

/// A comment on a pull request comes with the issue half of it: neither branches nor commits. Whether
/// it is a fork is not said, so it counts as one.
fn commented_pull_request(issue: &At<'_>, default_branch: &str) -> Result<Change, EventError> {
    Ok(Change {
        number: Some(issue.number("number")?),
        opened: issue.time_opt("created_at"),
        title: issue.text("title")?,
        body: issue.text_or_empty("body"),
        author: author(issue),
        labels: labels(issue),
        base: default_branch.to_owned(),
        fork: true,
        ..Change::default()
    })
}

fn inputs(root: &At<'_>) -> BTreeMap<String, String> {
    let Some(Value::Object(inputs)) = root.opt("inputs").map(|inputs| inputs.value()) else {
        return BTreeMap::new();
    };
    let text = |value: &Value| match value {
        Value::String(text) => cut(text),
        Value::Null => String::new(),
        other => cut(&other.to_string()),
    };
    inputs.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A dispatch on a branch other than the default one is about that branch.
fn dispatched_branch(root: &At<'_>, default_branch: &str) -> Option<Change> {
    let reference = root.text_opt("ref")?;
    let branch = reference.strip_prefix("refs/heads/").unwrap_or(&reference);
    if branch == default_branch || branch.starts_with("refs/") {
        return None;
    }
    let author = root.opt("sender").map(|sender| person(&sender, None)).unwrap_or_default();
    Some(Change { branch: branch.to_owned(), base: default_branch.to_owned(), author, ..Change::default() })
}

fn push(root: &At<'_>, event: &Event) -> Result<Option<Change>, EventError> {
    let after = root.text("after")?;
    if root.flag("deleted") == Some(true) || after == NO_COMMIT {
        return Ok(None);
    }
    let reference = root.text("ref")?;
    let message = root.opt("head_commit").map(|commit| commit.text_or_empty("message")).unwrap_or_default();
    let (title, body) = split_message(&message);
    let before = root.text_opt("before").filter(|before| before != NO_COMMIT);
    Ok(Some(Change {
        title,
        body,
        // Whoever may push may write to the repository.
        author: event.actor.clone(),
        branch: reference.strip_prefix("refs/heads/").unwrap_or(&reference).to_owned(),
        base: event.default_branch.clone(),
        base_sha: before.unwrap_or_default(),
        head_sha: after,
        ..Change::default()
    }))
}

fn merge_group(root: &At<'_>) -> Result<Change, EventError> {
    let group = root.object("merge_group")?;
    let branch_of = |reference: String| match reference.strip_prefix("refs/heads/") {
        Some(branch) => branch.to_owned(),
        None => reference,
    };
    let branch = branch_of(group.text("head_ref")?);
    let head_commit = group.opt("head_commit");
    let message = head_commit.as_ref().map(|commit| commit.text_or_empty("message")).unwrap_or_default();
    let (title, body) = split_message(&message);
    let login = head_commit
        .and_then(|commit| commit.opt("author"))
        .and_then(|author| author.text_opt("name"))
        .unwrap_or_default();
    Ok(Change {
        number: queued_number(&branch),
        title,
        body,
        author: Person { bot: login.ends_with("[bot]"), login, association: Some("NONE".to_owned()) },
        branch,
        base: branch_of(group.text("base_ref")?),
        base_sha: group.text("base_sha")?,
        head_sha: group.text("head_sha")?,
        ..Change::default()
    })
}

/// The change that another workflow has run for. Only ids are taken from it: the run that they are about was
/// in the hands of whoever made the change, and the payload names a pull request only where its branch is in
/// this repository. It counts only where its head is the commit that was run, and even then it is for the
/// API to confirm.
fn workflow_run(root: &At<'_>, event: &Event) -> Result<Change, EventError> {
    let run = root.object("workflow_run")?;
    let head_sha = run.text("head_sha")?;
    let head_of = |pr: &At<'_>| pr.opt("head").and_then(|head| head.text_opt("sha"));
    let pull_requests = run.items("pull_requests");
    let mut fitting = pull_requests.iter().filter(|pr| head_of(pr).as_deref() == Some(&head_sha));
    let pull_request = match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    };
    let base = pull_request.and_then(|pr| pr.opt("base"));
    let login = run.opt("actor").map(|actor| actor.text_or_empty("login")).unwrap_or_default();
    let of_run = run.opt("head_repository").and_then(|repository| repository.number_opt("id"));
    Ok(Change {
        number: pull_request.and_then(|pr| pr.number_opt("number")),
        author: Person { bot: login.ends_with("[bot]"), login, association: Some("NONE".to_owned()) },
        branch: run.text_opt("head_branch").unwrap_or_default(),
        base: base
            .as_ref()
            .and_then(|base| base.text_opt("ref"))
            .unwrap_or_else(|| event.default_branch.clone()),
        base_sha: base.and_then(|base| base.text_opt("sha")).unwrap_or_default(),
        head_sha,
        fork: of_run.is_none() || of_run != event.repository_id,
        ..Change::default()
    })
}

/// The pull request of a merge queue's branch, `gh-readonly-queue/main/pr-104-<commit>`.
fn queued_number(branch: &str) -> Option<u64> {
    let last = branch.rsplit('/').next()?;
    last.strip_prefix("pr-")?.split('-').next()?.parse().ok()
}

/// A commit message's first line, and the rest.
pub(super) fn split_message(message: &str) -> (String, String) {
    let (title, body) = message.trim_start().split_once('\n').unwrap_or((message.trim_start(), ""));
    (title.trim_end().to_owned(), body.trim().to_owned())
}

#[cfg(test)]
mod tests;
