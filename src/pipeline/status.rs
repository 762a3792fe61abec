//! The commit status that says the verdict: for rulesets to require where the job's own check is not one of the
//! pull request's, as after a comment or a `workflow_run`. What cannot be set is a warning, and decides nothing.

use tokio::time::timeout;

use super::voice::patience;
use super::{Story, forge};
use crate::exit;
use crate::github::StatusState;
use crate::outcome::Outcome;
use crate::report::{Run, headline};

/// Sets the status of the commit that the run was on, where the budget file asks for one. Returns what went wrong.
pub(super) async fn set(story: &Story<'_>, run: &Run, page: Option<String>, hurried: bool) -> Option<String> {
    let inputs = story.inputs;
    let context = inputs.budget.status.as_deref()?;
    let (forge, commit) = (inputs.known.forge.as_ref()?, inputs.known.commit.as_deref()?);
    if !forge::may_comment(&inputs.event) {
        return None;
    }
    let state = match (run.gate.code, run.gate.outcome) {
        (exit::PASS, _) => StatusState::Success,
        (exit::LEDGER, _) | (_, Outcome::Cancelled) => StatusState::Error,
        _ => StatusState::Failure,
    };
    let said = headline(run);
    let setting = forge.github.create_status(commit, state, context, &said, page.as_deref());
    let why = match timeout(patience(hurried), setting).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("GitHub did not answer within {} s", patience(hurried).as_secs()),
    };
    let commit = commit.get(..12).unwrap_or(commit);
    Some(format!(
        "the status `{context}` of commit {commit} could not be set, which takes `statuses: write`: {why}"
    ))
}
