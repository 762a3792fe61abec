//! The event that a run answers to, as one value.
//!
//! [`github`] reads the payloads that GitHub sends, [`line`] one line of `tollgate classify --input`,
//! [`local`] the git repository that tollgate was started in, through [`git`]. [`source`] picks among
//! them, and is the only place here that looks at the environment. `classify` decides on the value.

mod borrowed;
pub mod git;
pub mod github;
mod json;
pub mod line;
pub mod local;
pub mod source;

pub use source::{Env, current};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest text kept of a title, a body, a comment or an input, in bytes. GitHub's own limit is
/// 65,536 characters; what a payload holds beyond this is cut.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// The most changed files kept by name; `files_total` counts all. GitHub lists no more either.
pub const FILES_MAX: usize = 3_000;

/// Why there is no event. The user's mistake or the repository's state, except for [`EventError::Git`].
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// An event that tollgate has no answer to.
    #[error(
        "the event `{0}` is not supported\n\nhint: run tollgate on one of {list}, or pass a payload of one with --event FILE",
        list = github::supported()
    )]
    Unsupported(String),
    /// The payload is not JSON.
    #[error("the event is not valid JSON: {0}")]
    Json(serde_json::Error),
    /// Something that every such document has is missing, or is of another type.
    #[error("the {document} has no {what} at {pointer}")]
    Missing {
        /// What was read, such as "`push` payload".
        document: String,
        /// What kind of value belongs there.
        what: &'static str,
        /// Where, as a JSON pointer.
        pointer: String,
    },
    /// A payload of unknown kind.
    #[error(
        "cannot tell from its shape which event this payload is\n\nhint: set GITHUB_EVENT_NAME to one of {list}",
        list = github::supported()
    )]
    UnknownShape,
    /// The file with the payload cannot be read.
    #[error("cannot read the event payload {path}: {error}")]
    Read {
        /// Its path.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The payload is longer than any that GitHub sends.
    #[error("the event payload {path} is larger than {max} MiB, which no payload of GitHub is")]
    TooLarge {
        /// Its path.
        path: std::path::PathBuf,
        /// The limit, in MiB.
        max: u64,
    },
    /// GitHub Actions without a payload.
    #[error(
        "GITHUB_EVENT_NAME is `{0}`, but GITHUB_EVENT_PATH is not set\n\nhint: pass the payload with --event FILE"
    )]
    NoPayload(String),
    /// The local repository cannot be read.
    #[error(transparent)]
    Git(#[from] git::GitError),
}

/// A person or a bot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The login.
    pub login: String,
    /// Whether it is a bot.
    pub bot: bool,
    /// How the forge relates it to the repository (`OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, …).
    /// `None` where the source has no such notion, as in a local repository.
    pub association: Option<String>,
}

impl Person {
    /// Whether what this person writes may choose a task and lower the stakes: people who may write to
    /// the repository. GitHub names those `OWNER`, `MEMBER` and `COLLABORATOR`.
    #[must_use]
    pub fn trusted(&self) -> bool {
        self.association
            .as_deref()
            .is_none_or(|relation| matches!(relation, "OWNER" | "MEMBER" | "COLLABORATOR"))
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `pull_request`
    PullRequest,
    /// `pull_request_target`
    PullRequestTarget,
    /// `issue_comment`
    IssueComment,
    /// `pull_request_review_comment`
    ReviewComment,
    /// `workflow_dispatch`
    WorkflowDispatch,
    /// `schedule`
    Schedule,
    /// `push`
    Push,
    /// `merge_group`
    MergeGroup,
    /// `workflow_run`
    WorkflowRun,
    /// No forge: the repository that tollgate was started in.
    Local,
}

impl Kind {
    /// Every event of GitHub that is understood, with its name there.
    pub const GITHUB: [(&'static str, Kind); 9] = [
        ("pull_request", Kind::PullRequest),
        ("pull_request_target", Kind::PullRequestTarget),
        ("issue_comment", Kind::IssueComment),
        ("pull_request_review_comment", Kind::ReviewComment),
        ("workflow_dispatch", Kind::WorkflowDispatch),
        ("schedule", Kind::Schedule),
        ("push", Kind::Push),
        ("merge_group", Kind::MergeGroup),
        ("workflow_run", Kind::WorkflowRun),
    ];

    /// The event's name at GitHub, or `local`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::GITHUB.iter().find(|(_, kind)| *kind == self).map_or("local", |(name, _)| name)
    }
}

/// The longest patch kept of a file, in bytes. A longer one is left out rather than cut.
pub const PATCH_BYTES_MAX: usize = 128 * 1024;

/// The most bytes of patches kept of a change.
pub const PATCHES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A changed file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// Lines added.
    pub additions: u64,
    /// Lines deleted.
    pub deletions: u64,
    /// Its hunks as a unified diff, with or without the header; `None` where they are not known or longer
    /// than [`PATCH_BYTES_MAX`].
    pub patch: Option<String>,
}

/// The change at hand: a pull request, a pushed range, or the local branch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The pull request's number.
    pub number: Option<u64>,
    /// When the pull request was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Timestamp>,
    /// Its title, or the first line of the last commit's message.
    pub title: String,
    /// Its body, or the rest of that message.
    pub body: String,
    /// Who wrote it.
    pub author: Person,
    /// Its labels.
    pub labels: Vec<String>,
    /// The branch it comes from.
    pub branch: String,
    /// The branch it goes to.
    pub base: String,
    /// The commit it starts from, or the tip of the base branch; empty where unknown.
    pub base_sha: String,
    /// Its newest commit; empty where unknown.
    pub head_sha: String,
    /// It comes from another repository.
    pub fork: bool,
    /// Changed files, as far as they are known.
    pub files: Vec<FileChange>,
    /// Changed files in all.
    pub files_total: u64,
    /// Lines added in all.
    pub additions_total: u64,
    /// Lines deleted in all.
    pub deletions_total: u64,
}

/// The event that a run answers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The payload's `action`, such as `opened` or `labeled`.
    pub action: Option<String>,
    /// The label that was just set or taken off, on `labeled` and `unlabeled`.
    pub label: Option<String>,
    /// `owner/name`, or the folder's name.
    pub repository: String,
    /// The repository's numeric id, where a forge gave one.
    pub repository_id: Option<u64>,
    /// The repository's default branch.
    pub default_branch: String,
    /// Anybody may read it.
    pub public: bool,
    /// Who caused the event.
    pub actor: Person,
    /// The change, where there is one.
    pub change: Option<Change>,
    /// The issue or pull request that was commented on, where the event is a comment.
    pub issue: Option<u64>,
    /// The comment, its text and its author, where the event is one.
    pub comment: Option<(String, Person)>,
    /// Inputs of a dispatch.
    pub inputs: std::collections::BTreeMap<String, String>,
}
