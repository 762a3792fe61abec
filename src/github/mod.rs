//! GitHub: what a pull request is, who may do what, comments, statuses.
//!
//! It knows nothing of money. Facts come from the API at pinned commits, never from the checkout.
//! `client` speaks to the API through `transport`, which knows when a call may be made again; its methods
//! are in `pulls`, `people`, `contents`, `comments` and `statuses`. What they return is here.

mod cache;
mod client;
mod clock;
mod comments;
mod contents;
mod error;
mod limits;
mod path;
mod people;
mod pulls;
mod statuses;
mod transport;
mod wire;

use jiff::Timestamp;

pub use client::{Config, GitHub, Secret};
pub use clock::{Clock, Wait};
pub use error::{ConfigError, Error, Limit};

/// The longest comment that GitHub takes, in characters.
pub const COMMENT_CHARS_MAX: usize = 65_536;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its numeric id, which no rename changes.
    pub id: u64,
    /// Its name as it is now, `OWNER/REPOSITORY`.
    pub name: String,
    /// The branch that others start from.
    pub default_branch: String,
    /// Not everybody may see it.
    pub private: bool,
}

/// A pull request's facts as they are now: an event's payload is as old as the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// When it was opened.
    pub opened: Option<Timestamp>,
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
    /// The repository it comes from, `OWNER/REPOSITORY`; `None` where that is gone.
    pub head_repository: Option<String>,
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

/// The changed files of a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// They, in GitHub's order.
    pub files: Vec<ChangedFile>,
    /// Whether these are all: GitHub lists 3,000 at most.
    pub complete: bool,
    /// How many patches were left out because there were too many bytes of them.
    pub patches_dropped: usize,
}

/// A push to a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Who pushed.
    pub by: Account,
    /// When, by GitHub's clock.
    pub at: Timestamp,
    /// The branch's commit before.
    pub before: String,
    /// The branch's commit after.
    pub after: String,
    /// Whether it replaced commits.
    pub forced: bool,
}

/// What lies below a folder at a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Everything below the folder, at every depth.
    pub entries: Vec<TreeEntry>,
    /// Whether this is all: GitHub cuts trees of more than 100,000 entries or 7 MB.
    pub complete: bool,
}

/// One thing in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its path in the repository.
    pub path: String,
    /// What it is.
    pub kind: TreeKind,
    /// The id of its content.
    pub sha: String,
    /// The length of a file or a link.
    pub bytes: Option<u64>,
}

/// What a thing in a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link, whose content is where it leads.
    Symlink,
    /// A commit of another repository.
    Submodule,
    /// A folder.
    Folder,
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

/// A comment that is there once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The comment.
    pub comment: Comment,
    /// Whether it was found after an answer had been lost.
    pub found: bool,
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
