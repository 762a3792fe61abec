//! Pull requests: their facts, files and labels, who set a label, who pushed last.

use super::client::{GitHub, found, repository_root};
use super::error::Error;
use super::transport::{Call, Deadline};
use super::wire::{self, account};
use super::{ChangedFile, Files, Labeled, PullRequest, Push, path};

/// GitHub lists 3,000 files at most.
const FILE_PAGES_MAX: usize = 30;
/// GitHub allows 100 labels on an issue.
const LABEL_PAGES_MAX: usize = 10;
const EVENT_PAGES_MAX: usize = 100;
/// The longest patch that is kept, in bytes.
const PATCH_BYTES_MAX: usize = 512 * 1024;
/// The most bytes of patches that are kept in all.
const PATCHES_BYTES_MAX: usize = 8 * 1024 * 1024;

const PULLS_READ: &str = "pull-requests: read";

impl GitHub {
    /// A pull request as it is now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pull_request(&self, number: u64) -> Result<PullRequest, Error> {
        let call = Call::get(self.at(&format!("/pulls/{number}")), PULLS_READ);
        let pull: wire::Pull = self.read(&call, self.deadline()).await?;
        let same = match (&pull.head.repo, &pull.base.repo) {
            (Some(head), Some(base)) => head.id == base.id,
            _ => false,
        };
        Ok(PullRequest {
            number: pull.number,
            opened: pull.created_at,
            title: pull.title,
            body: pull.body.unwrap_or_default(),
            author: account(pull.user),
            author_association: pull.author_association,
            labels: pull.labels.into_iter().map(|label| label.name).collect(),
            open: pull.state == "open" && !pull.draft,
            base_branch: pull.base.r#ref,
            base_commit: pull.base.sha,
            head_branch: pull.head.r#ref,
            head_commit: pull.head.sha,
            head_repository: pull.head.repo.map(|repository| repository.full_name),
            fork: !same,
            additions: pull.additions,
            deletions: pull.deletions,
            files_total: pull.changed_files,
        })
    }

    /// The files that a pull request changes: at most 3,000, which is GitHub's own limit.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn files(&self, number: u64) -> Result<Files, Error> {
        let call = Call::get(self.at(&format!("/pulls/{number}/files?per_page=100")), PULLS_READ);
        let (found, last) = self.pages::<wire::File>(&call, FILE_PAGES_MAX, self.deadline()).await?;
        let complete = last && found.len() < FILE_PAGES_MAX * 100;
        let (mut bytes, mut patches_dropped) = (0, 0);
        let mut kept = |patch: String| {
            if patch.len() > PATCH_BYTES_MAX || bytes + patch.len() > PATCHES_BYTES_MAX {
                patches_dropped += 1;
                return None;
            }
            bytes += patch.len();
            Some(patch)
        };
        let files = found
            .into_iter()
            .map(|file| ChangedFile {
                path: file.filename,
                status: file.status,
                additions: file.additions,
                deletions: file.deletions,
                patch: file.patch.and_then(&mut kept),
            })
            .collect();
        Ok(Files { files, complete, patches_dropped })
    }

    /// The labels of an issue or a pull request as they are now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn labels(&self, number: u64) -> Result<Vec<String>, Error> {
        self.labels_by(number, self.deadline()).await
    }

    async fn labels_by(&self, number: u64, deadline: Deadline) -> Result<Vec<String>, Error> {
        let call = Call::get(self.at(&format!("/issues/{number}/labels?per_page=100")), PULLS_READ);
        let labels: Vec<wire::Label> = self.whole(&call, LABEL_PAGES_MAX, deadline).await?;
        Ok(labels.into_iter().map(|label| label.name).collect())
    }

    /// Who set a label last, and when; `None` where it is not set now, or where its setting is not told.
    ///
    /// Both the labels and the events must say that it is set: either may be behind. Names are the same
    /// whatever their case, as on GitHub.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn labeled(&self, number: u64, label: &str) -> Result<Option<Labeled>, Error> {
        let same = |name: &str| name.to_lowercase() == label.to_lowercase();
        let deadline = self.deadline();
        if !self.labels_by(number, deadline).await?.iter().any(|name| same(name)) {
            return Ok(None);
        }
        let call = Call::get(self.at(&format!("/issues/{number}/events?per_page=100")), PULLS_READ);
        let events: Vec<wire::IssueEvent> = self.whole(&call, EVENT_PAGES_MAX, deadline).await?;
        let about = |event: &wire::IssueEvent| {
            matches!(event.event.as_str(), "labeled" | "unlabeled")
                && event.label.as_ref().is_some_and(|label| same(&label.name))
        };
        let last = events.into_iter().filter(about).max_by_key(|event| (event.created_at, event.id));
        Ok(last.filter(|event| event.event == "labeled").map(|event| Labeled {
            label: event.label.map_or_else(|| label.to_owned(), |label| label.name),
            by: account(event.actor),
            at: event.created_at,
        }))
    }

    /// Who made the pull request's newest commit its newest, and when; `None` where GitHub does not tell:
    /// the branch has moved, its repository is gone or not to be seen, or the push is too long ago.
    ///
    /// Commits name their authors and times themselves and prove nothing; this is GitHub's own record.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn last_push(&self, pull: &PullRequest) -> Result<Option<Push>, Error> {
        let Some(root) = pull.head_repository.as_deref().and_then(repository_root) else { return Ok(None) };
        let branch = path::segment(&format!("refs/heads/{}", pull.head_branch));
        let call = Call::get(format!("{root}/activity?ref={branch}&per_page=100"), "contents: read");
        let activities: Option<Vec<wire::Activity>> = found(self.read(&call, self.deadline()).await)?;
        let newest = activities.unwrap_or_default().into_iter().max_by_key(|activity| activity.timestamp);
        Ok(newest.filter(|activity| activity.after == pull.head_commit).map(|activity| Push {
            by: account(activity.actor),
            at: activity.timestamp,
            before: activity.before,
            after: activity.after,
            forced: activity.activity_type == "force_push",
        }))
    }
}
