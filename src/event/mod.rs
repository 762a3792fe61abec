//! The event that a run answers to, as one value.

/// A person or a bot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The login.
    pub login: String,
    /// Whether it is a bot.
    pub bot: bool,
    /// How the forge relates it to the repository (`OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, …).
    pub association: Option<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// No forge: the repository that tollgate was started in.
    Local,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// Lines added.
    pub additions: u64,
    /// Lines deleted.
    pub deletions: u64,
}

/// The change at hand: a pull request, a pushed range, or the local branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The pull request's number.
    pub number: Option<u64>,
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
    /// Its newest commit.
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The comment, its text and its author, where the event is one.
    pub comment: Option<(String, Person)>,
    /// Inputs of a dispatch.
    pub inputs: std::collections::BTreeMap<String, String>,
}
