//! GitHub: what a pull request is, who may do what, comments, statuses.
//!
//! It knows nothing of money. Facts come from the API at pinned commits, never from the checkout.
//! `client` speaks to the API; everything else in here is a value.

use jiff::Timestamp;

/// A pull request's facts as they are now: an event's payload is as old as the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its body.
    pub body: String,
    /// Who wrote it.
    pub author: Account,
    /// How GitHub relates the author to the repository (`OWNER`, `MEMBER`, `CONTRIBUTOR`, …).
    pub author_association: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// It is open, and not a draft.
    pub open: bool,
    /// The branch it goes to.
    pub base_branch: String,
    /// The commit of that branch it was last compared with.
    pub base_commit: String,
    /// The branch it comes from.
    pub head_branch: String,
    /// Its newest commit.
    pub head_commit: String,
    /// It comes from another repository, or from one that is gone.
    pub fork: bool,
    /// Lines added in all.
    pub additions: u64,
    /// Lines deleted in all.
    pub deletions: u64,
    /// Changed files in all.
    pub files_total: u64,
}

/// A user or a bot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The login, `github-actions[bot]` for the token of a workflow.
    pub login: String,
    /// The numeric id, which no rename changes.
    pub id: u64,
    /// Whether it is a bot.
    pub bot: bool,
}

/// A changed file of a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path.
    pub path: String,
    /// What became of it: `added`, `modified`, `removed`, `renamed`, ….
    pub status: String,
    /// Lines added.
    pub additions: u64,
    /// Lines deleted.
    pub deletions: u64,
    /// Its patch; `None` where it is binary or too long for GitHub to show.
    pub patch: Option<String>,
}

/// What an account may do in a repository, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Look after issues and pull requests.
    Triage,
    /// Push.
    Write,
    /// Look after the repository.
    Maintain,
    /// Everything.
    Admin,
}

/// A label that was set on an issue or a pull request, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labeled {
    /// The label.
    pub label: String,
    /// Who set it last.
    pub by: Account,
    /// When.
    pub at: Timestamp,
}

/// A comment on an issue or a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// Its id in GraphQL.
    pub node_id: String,
    /// Who wrote it.
    pub author: Account,
    /// The GitHub App that it was written through, by slug, if one was.
    pub app: Option<String>,
    /// Its text.
    pub body: String,
    /// Where it is.
    pub url: String,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// The state of a commit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusState {
    /// Not known yet.
    Pending,
    /// It passed.
    Success,
    /// It failed.
    Failure,
    /// It could not be told.
    Error,
}
