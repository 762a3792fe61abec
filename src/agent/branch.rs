//! The agent's work as a branch of its own, committed and pushed by tollgate after the agent has ended.
//!
//! It is made in the repository that [`super::patch`] borrows the objects into, so nothing that the agent
//! has left in `.git` (hooks, filters, remotes, configuration) is read. The token is in the environment of
//! the one process that pushes, as a header for the one server. A branch that is there already is never
//! touched: the push is a lease on its absence.

use std::ffi::OsString;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::git::{GitError, os, output};
use super::patch::Baseline;

#[cfg(test)]
mod tests;

/// Files that a workflow's token may not push, and that a branch of an agent's has no business to change.
const WORKFLOWS: &str = ".github/workflows";
/// Who the commit is by: a reserved domain, nobody's address and nobody's account.
const AUTHOR: (&str, &str) = ("tollgate[bot]", "agent@tollgate.invalid");

/// Where a branch goes.
#[derive(Clone, Debug)]
pub struct Push<'a> {
    /// The repository's URL.
    pub url: &'a str,
    /// The token that may write to it, if one is needed.
    pub token: Option<&'a str>,
    /// The branch's name.
    pub branch: &'a str,
    /// What the commit says.
    pub message: &'a str,
    /// The pull request's newest commit, which the branch should go on from where the checkout is a merge of
    /// it with the base branch.
    pub head: Option<&'a str>,
    /// Variables that git may need to reach the server: proxies, certificates.
    pub environment: &'a [(&'static str, OsString)],
}

/// A branch that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its commit.
    pub commit: String,
    /// The commit it goes on from.
    pub parent: String,
    /// How many files it changes.
    pub files: usize,
    /// Changed workflow files, which were left out.
    pub left_out: Vec<String>,
}

/// Why there is no branch. The work is in the patch in any case.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// There is nothing to push, but for changed workflow files, which are left out.
    #[error("nothing is changed but workflow files, which a branch of an agent's never changes: {}", .0.join(", "))]
    OnlyWorkflows(Vec<String>),
    /// The checkout has no commit to go on from.
    #[error("the checkout has no commit to go on from")]
    NoCommit,
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Commits the agent's work as [`Baseline::save`] has gathered it, and pushes it.
///
/// # Errors
/// When there is nothing to push, or git fails.
pub async fn push(baseline: &Baseline, push: &Push<'_>) -> Result<Pushed, BranchError> {
    let base = baseline.base();
    if !is_commit(baseline, base).await {
        return Err(BranchError::NoCommit);
    }
    let left_out = leave_out_workflows(baseline, base).await?;
    let tree = line(baseline, &["write-tree"]).await?;
    if tree == line(baseline, &["rev-parse", &format!("{base}^{{tree}}")]).await? {
        return Err(BranchError::OnlyWorkflows(left_out));
    }
    let names = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", base, &tree];
    let files = output(baseline.git(&names)).await?;
    let files = files.split(|byte| *byte == 0).filter(|name| !name.is_empty()).count();
    let (tree, parent) = onto_head(baseline, push, base, tree).await?;
    let commit = commit(baseline, push.message, &tree, &parent).await?;
    send(baseline, push, &commit).await?;
    Ok(Pushed { commit, parent, files, left_out })
}

async fn is_commit(baseline: &Baseline, name: &str) -> bool {
    let name = format!("{name}^{{commit}}");
    output(baseline.git(&["rev-parse", "--verify", "--quiet", &name])).await.is_ok()
}

async fn line(baseline: &Baseline, args: &[&str]) -> Result<String, GitError> {
    let bytes = output(baseline.git(args)).await?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Makes the workflow files in the index what they were; which had changed.
async fn leave_out_workflows(baseline: &Baseline, base: &str) -> Result<Vec<String>, GitError> {
    let diff = ["diff-index", "--cached", "-z", "--name-only", "--no-renames", "--ignore-submodules=all"];
    let names = output(baseline.git(&[&diff[..], &[base, "--", WORKFLOWS]].concat())).await?;
    let names: Vec<String> = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| os(name).to_string_lossy().into_owned())
        .collect();
    if names.is_empty() {
        return Ok(names);
    }
    output(baseline.git(&["rm", "-r", "-q", "--cached", "--ignore-unmatch", "--", WORKFLOWS])).await?;
    let before = format!("{base}:{WORKFLOWS}");
    if output(baseline.git(&["rev-parse", "--verify", "--quiet", &before])).await.is_ok() {
        output(baseline.git(&["read-tree", &format!("--prefix={WORKFLOWS}/"), &before])).await?;
    }
    Ok(names)
}

/// The tree and the commit it goes on from. Where the checkout is the merge that GitHub makes of a pull
/// request, that is the pull request's head, so that the branch brings none of the base branch along; else,
/// and where the two do not go together, the commit that was checked out.
async fn onto_head(
    baseline: &Baseline,
    push: &Push<'_>,
    base: &str,
    tree: String,
) -> Result<(String, String), GitError> {
    let here = || (tree.clone(), base.to_owned());
    let Some(head) = push.head.filter(|head| *head != base) else { return Ok(here()) };
    let second = line(baseline, &["rev-parse", "--verify", "--quiet", &format!("{base}^2")]).await;
    if second.ok().as_deref() != Some(head) || !is_commit(baseline, head).await {
        return Ok(here());
    }
    let work = commit(baseline, push.message, &tree, base).await?;
    let merge_base = format!("--merge-base={base}");
    let merged = line(baseline, &["merge-tree", "--write-tree", &merge_base, head, &work]).await;
    // It fails on a conflict, and with a git that does not know how.
    Ok(merged.map_or_else(|_| here(), |tree| (tree, head.to_owned())))
}

async fn commit(baseline: &Baseline, message: &str, tree: &str, parent: &str) -> Result<String, GitError> {
    let mut command =
        baseline.git(&["-c", "commit.gpgSign=false", "commit-tree", "-p", parent, "-m", message, tree]);
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), AUTHOR.0).env(format!("GIT_{role}_EMAIL"), AUTHOR.1);
    }
    let commit = output(command).await?;
    Ok(String::from_utf8_lossy(&commit).trim().to_owned())
}

async fn send(baseline: &Baseline, push: &Push<'_>, commit: &str) -> Result<(), GitError> {
    let name = format!("refs/heads/{}", push.branch);
    let (lease, refspec) = (format!("--force-with-lease={name}:"), format!("{commit}:{name}"));
    let quiet = ["-c", "credential.helper=", "-c", "http.followRedirects=false", "-c", "push.gpgSign=false"];
    let args = ["push", "--porcelain", "--no-verify", "--recurse-submodules=no", &lease, push.url, &refspec];
    let mut command = baseline.git(&[&quiet[..], &args].concat());
    command.envs(push.environment.iter().map(|(name, value)| (*name, value)));
    if let Some(token) = push.token {
        let basic = STANDARD.encode(format!("x-access-token:{token}"));
        // Neither in the arguments nor in the URL, where other processes and messages would show it.
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", format!("http.{}.extraheader", push.url))
            .env("GIT_CONFIG_VALUE_0", format!("AUTHORIZATION: basic {basic}"));
    }
    output(command).await.map(drop)
}
