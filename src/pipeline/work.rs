//! The working tree around a run: what it must not be, what it is made before the agent starts, and what
//! the agent has left in it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::inputs::Inputs;
use super::{Story, folder, trust};
use crate::agent::environment;
use crate::agent::output::Redactor;
use crate::agent::patch::{Baseline, PatchOutcome};
use crate::agent::steering::{Source, Steering};
use crate::budget::Deliver;
use crate::cli::Shell;
use crate::event::git::Git;
use crate::event::{Event, Kind};
use crate::exit::Failure;
use crate::report::defuse;

/// The most lines about files that steer agents; the number of the others is said.
const SAID_MAX: usize = 50;

/// The working tree as it was before the agent started, and what it was made then.
#[derive(Debug)]
pub(super) struct Work {
    baseline: Result<Baseline, PatchOutcome>,
    steering: Option<Steering>,
    /// What must not leave the machine.
    redactor: Redactor,
}

/// What the agent left behind.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Its last text, without secrets.
    pub(super) text: Option<String>,
    /// Where that is.
    pub(super) result: Option<PathBuf>,
    /// Where its work is.
    pub(super) patch: Option<PathBuf>,
    /// What its work can be pushed from, where there is any.
    pub(super) baseline: Option<Baseline>,
    /// What is worth knowing of it.
    pub(super) notes: Vec<String>,
}

/// Refuses to run an agent on a pull request's own files where the event gives secrets and a token that
/// writes to whatever runs: there the checkout must be the default branch. Prices that the budget file demands
/// must be there as well.
///
/// # Errors
/// When it is another, or they are not, as a [`Failure`] with exit code 2.
pub(super) fn check_checkout(story: &Story<'_>, shell: &Shell) -> anyhow::Result<()> {
    let inputs = story.inputs;
    inputs.check_prices()?;
    let kind = inputs.event.kind;
    let bound = matches!(kind, Kind::PullRequestTarget | Kind::WorkflowRun);
    if !bound || !inputs.on_actions || story.request.simulate {
        return Ok(());
    }
    let Some(git) = git(inputs, shell) else { return Ok(()) };
    let Some(head) = commit(&git, "HEAD") else { return Ok(()) };
    let default = default_commit(&git, &inputs.event);
    let of_workflow = shell.var("GITHUB_SHA");
    let theirs = inputs.event.change.as_ref().map(|change| change.head_sha.as_str());
    let trusted = theirs != Some(&head) && [default.as_deref(), of_workflow].contains(&Some(head.as_str()));
    if trusted {
        return Ok(());
    }
    let message = format!(
        "the checkout is {}, which is not the default branch: on `{}` an agent would work on files of the pull \
         request with the repository's secrets at hand\n\nhint: leave `ref` out of actions/checkout, or run on \
         `pull_request`",
        head.get(..12).unwrap_or(&head),
        kind.as_str(),
    );
    Err(Failure::usage(message).into())
}

fn git(inputs: &Inputs, shell: &Shell) -> Option<Git> {
    Git::find(&|name: &str| shell.var(name).map(str::to_owned), &inputs.root).ok()
}

fn commit(git: &Git, name: &str) -> Option<String> {
    git.line(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
}

/// The default branch as the checkout knows it.
fn default_commit(git: &Git, event: &Event) -> Option<String> {
    commit(git, &format!("refs/remotes/origin/{}", event.default_branch))
}

impl Work {
    /// Notes the working tree, and takes what steers agents from the default branch where the checkout is
    /// somebody's wish. Local runs are left as they are.
    ///
    /// # Errors
    /// When the files that steer agents cannot be taken from there: then no agent may start.
    pub(super) async fn prepare(
        story: &Story<'_>,
        keys: &[String],
        shell: &Shell,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let inputs = story.inputs;
        let redactor = redactor(keys, shell);
        let Some(git) = git(inputs, shell) else {
            return Ok(Self { baseline: Err(PatchOutcome::NotARepository), steering: None, redactor });
        };
        // First: what is changed for the agent is none of its work.
        let baseline = Baseline::take(git.program(), &inputs.root, folder).await;
        let is_repository = !matches!(baseline, Err(PatchOutcome::NotARepository));
        let steering = if inputs.of_another && is_repository {
            let default = default_commit(&git, &inputs.event);
            let source = match (&default, story.github()) {
                (Some(commit), _) => Source::Commit(commit),
                (None, Some(github)) => {
                    let files = trust::steering(github, &inputs.event.default_branch).await;
                    files.ok().flatten().map_or(Source::Nowhere, Source::Files)
                }
                (None, None) => Source::Nowhere,
            };
            let taken = Steering::take(git.program(), &inputs.root, source, folder).await;
            Some(taken.context("the agent is not started")?)
        } else {
            None
        };
        Ok(Self { baseline, steering, redactor })
    }

    /// Says which files are not as the checkout has them.
    ///
    /// # Errors
    /// When nobody can be told.
    pub(super) fn announce(&self, shell: &mut Shell) -> std::io::Result<()> {
        let said = self.steering.as_ref().map_or(&[][..], Steering::said);
        for line in said.iter().take(SAID_MAX) {
            writeln!(shell.err, "note: {}", defuse::plain(line))?;
        }
        match said.len().saturating_sub(SAID_MAX) {
            0 => Ok(()),
            more => {
                writeln!(shell.err, "note: {more} more files that steer agents are not the pull request's")
            }
        }
    }

    /// Saves the agent's last text and its work in the run's folder, and puts the files that steer agents
    /// back as the checkout had them.
    pub(super) async fn save(self, story: &Story<'_>, text: Option<String>, run_folder: &Path) -> Saved {
        // Before the patch is made, which would hold them otherwise.
        let notes = self.steering.map(Steering::put_back).unwrap_or_default();
        let mut saved = words(text, &self.redactor, run_folder);
        saved.notes.splice(0..0, notes);
        let deliver = story.inputs.budget.agent.deliver.get(&story.class.task);
        // The built-in agent writes nothing: what differs is its user's own.
        if deliver != Some(&Deliver::Off) && !story.request.simulate {
            save_patch(self.baseline, &self.redactor, &mut saved).await;
        }
        saved
    }
}

/// What knows the secrets at hand: these keys, and what the environment holds.
pub(super) fn redactor(keys: &[String], shell: &Shell) -> Redactor {
    let known = environment::secrets(&shell.env);
    Redactor::new(keys.iter().chain(&known).map(String::as_str))
}

/// Saves the agent's last text, without secrets, in the run's folder.
pub(super) fn words(text: Option<String>, redactor: &Redactor, run_folder: &Path) -> Saved {
    let mut saved = Saved::default();
    if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
        // What is hidden goes first: without it, its neighbours may be a secret.
        let text = redactor.published(&defuse::visible(&text));
        let path = run_folder.join("result.md");
        match folder::write(&path, text.as_bytes()) {
            Ok(()) => saved.result = Some(path),
            Err(error) => saved.notes.push(format!("the agent's last text could not be saved: {error}")),
        }
        saved.text = Some(text);
    }
    saved
}

async fn save_patch(baseline: Result<Baseline, PatchOutcome>, redactor: &Redactor, saved: &mut Saved) {
    let was_dirty = baseline.as_ref().is_ok_and(Baseline::was_dirty);
    let (outcome, baseline) = match baseline {
        Ok(baseline) => {
            let outcome = baseline.save().await;
            let nested = baseline.nested().await;
            saved.notes.extend(nested.into_iter().take(SAID_MAX).map(|folder| {
                format!("{folder} is a git repository of its own: what the agent did in it is in no patch")
            }));
            (outcome, Some(baseline))
        }
        Err(outcome) => (outcome, None),
    };
    match outcome {
        PatchOutcome::Saved { path, .. } => {
            if was_dirty {
                let note =
                    "the working tree had changes before the agent started, and partial.patch holds them too";
                saved.notes.push(note.to_owned());
            }
            if holds_secret(&path, redactor) {
                saved.notes.push("partial.patch holds a secret of this job: do not publish it".to_owned());
                baseline.into_iter().for_each(Baseline::discard);
            } else {
                saved.baseline = baseline;
            }
            saved.patch = Some(path);
            return;
        }
        PatchOutcome::TooLarge { list, files } => saved.notes.push(format!(
            "the agent's work is too large for a patch; its {files} files are listed in {}",
            list.display()
        )),
        PatchOutcome::Failed(why) => saved.notes.push(format!("the agent's work could not be saved: {why}")),
        PatchOutcome::Nothing | PatchOutcome::NotARepository => {}
    }
    baseline.into_iter().for_each(Baseline::discard);
}

/// Whether a patch has a secret in it, by value.
fn holds_secret(patch: &Path, redactor: &Redactor) -> bool {
    let Ok(bytes) = std::fs::read(patch) else { return false };
    let before = String::from_utf8_lossy(&bytes).into_owned();
    let mut after = before.clone();
    redactor.redact(&mut after);
    before != after
}
