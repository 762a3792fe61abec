//! What a run says on its pull request while it runs and when it is over. Nothing here delays the agent,
//! fails the run or decides the verdict: what cannot be written is a warning.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::forge::{self, Forge};
use super::inputs::Inputs;
use crate::budget::{CommentMode, CommentWhen};
use crate::cli::Shell;
use crate::github::Error;
use crate::report::alerts::Alert;
use crate::report::post::{self, Step, There};
use crate::report::running::{self, Started};

/// The most writes of one run: its start, its alerts, its end.
const WRITES_MAX: u32 = 5;
/// How long the end of a run waits for a write that is under way.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for a run that was cancelled: the runner kills what is not gone by then.
const HURRIED: Duration = Duration::from_secs(3);

/// How long the end of a run waits for GitHub.
pub(super) fn patience(hurried: bool) -> Duration {
    if hurried { HURRIED } else { PATIENCE }
}

/// Which comment is this run's.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// Which of several comments on one pull request: each workflow file has its own, unless
    /// `TOLLGATE_COMMENT_KEY` says otherwise.
    pub(super) key: String,
    /// The workflow run and its attempt, which put runs in order; the hold where there is no workflow run.
    pub(super) run: String,
}

impl Name {
    /// The name by the runner's variables.
    pub(super) fn of(inputs: &Inputs, hold: Option<&str>, shell: &Shell) -> Self {
        let file = inputs.workflow.as_deref().and_then(|path| path.rsplit('/').next());
        let run = match (inputs.on_actions, shell.var("GITHUB_RUN_ID")) {
            (true, Some(id)) => format!("{id}.{}", shell.var("GITHUB_RUN_ATTEMPT").unwrap_or("1")),
            _ => hold.unwrap_or("none").to_owned(),
        };
        let key = shell.var("TOLLGATE_COMMENT_KEY").or(file).unwrap_or("default");
        Self { key: key.to_owned(), run }
    }
}

/// Writes one run's comment.
#[derive(Clone, Debug)]
pub(super) struct Poster {
    forge: Forge,
    number: u64,
    mode: CommentMode,
    writes_left: u32,
}

impl Poster {
    /// A poster, where this run has something to write on and may.
    pub(super) fn of(inputs: &Inputs) -> Option<Self> {
        let forge = inputs.known.forge.clone()?;
        let number = forge.number?;
        let mode = inputs.budget.comment.mode;
        let may = mode != CommentMode::Off && forge::may_comment(&inputs.event);
        may.then_some(Self { forge, number, mode, writes_left: WRITES_MAX })
    }

    /// The issue or pull request.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Brings the comment to `text`; `speak` says whether one may be begun.
    ///
    /// # Errors
    /// When GitHub does not take it.
    async fn post(&mut self, text: &str, speak: bool) -> Result<(), Error> {
        let github = &self.forge.github;
        let (me, comments) = tokio::join!(github.whoami(), github.comments(self.number));
        let (me, comments) = (me?, comments?);
        let there: Vec<There> = comments
            .into_iter()
            .map(|comment| There {
                id: comment.id,
                node_id: comment.node_id,
                // A name can be taken over by another account, its number cannot.
                ours: comment.author.id == me.id && comment.author.login == me.login,
                body: comment.body,
            })
            .collect();
        match post::step(self.mode, &there, text, speak) {
            Step::Leave(_) => return Ok(()),
            Step::Edit { id } => {
                self.writes_left = self.writes_left.saturating_sub(1);
                github.update_comment(id, text).await?;
            }
            Step::Create { hide } => {
                self.writes_left = self.writes_left.saturating_sub(1);
                for node_id in hide {
                    github.hide_comment(&node_id).await?;
                }
                let marker = text.lines().next().unwrap_or_default();
                github.create_comment_once(self.number, text, marker).await?;
            }
        }
        Ok(())
    }

    /// The last word of a run. Returns what went wrong.
    pub(super) async fn conclude(mut self, text: &str, speak: bool, hurried: bool) -> Option<String> {
        let patience = patience(hurried);
        match timeout(patience, self.post(text, speak)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("GitHub did not answer within {} s", patience.as_secs())),
        }
    }
}

/// The voice of a run that is under way.
pub(super) struct Voice {
    started: Started,
    name: Name,
    alerts: Vec<Alert>,
    speaking: Option<Speaking>,
}

struct Speaking {
    /// The newest text, and whether a comment may be begun with it.
    text: watch::Sender<Option<(String, bool)>>,
    task: JoinHandle<(Poster, Option<String>)>,
}

impl Voice {
    /// Says that the run has started, in the background.
    pub(super) fn start(inputs: &Inputs, started: Started, name: Name) -> Self {
        let speaking = Poster::of(inputs).map(|poster| {
            let (text, texts) = watch::channel(None);
            Speaking { text, task: tokio::spawn(speak(poster, texts)) }
        });
        let voice = Self { started, name, alerts: Vec::new(), speaking };
        voice.say(inputs.budget.comment.only_when == CommentWhen::Always);
        voice
    }

    /// Says that a threshold was crossed.
    pub(super) fn alert(&mut self, alert: &Alert) {
        self.alerts.push(alert.clone());
        self.say(true);
    }

    fn say(&self, speak: bool) {
        if let Some(speaking) = &self.speaking {
            let text = running::render(&self.started, &self.alerts, &self.name.key, &self.name.run);
            // A task that is gone has said why.
            let _ = speaking.text.send(Some((text, speak)));
        }
    }

    /// Waits for the write that is under way. Returns the poster for the last word, and what went wrong.
    pub(super) async fn end(self, hurried: bool) -> (Option<Poster>, Option<String>) {
        let Some(Speaking { text, mut task }) = self.speaking else { return (None, None) };
        drop(text);
        let patience = patience(hurried);
        match timeout(patience, &mut task).await {
            Ok(Ok((poster, wrong))) => (Some(poster), wrong),
            Ok(Err(_)) => (None, Some("the task that writes it has failed".to_owned())),
            Err(_) => {
                task.abort();
                (None, Some(format!("GitHub did not answer within {} s", patience.as_secs())))
            }
        }
    }
}

/// Writes each newest text while the run goes on; one write is kept for its end.
async fn speak(
    mut poster: Poster,
    mut texts: watch::Receiver<Option<(String, bool)>>,
) -> (Poster, Option<String>) {
    let mut wrong = None;
    while texts.changed().await.is_ok() {
        let newest = texts.borrow_and_update().clone();
        let Some((text, speak)) = newest else { continue };
        if poster.writes_left <= 1 || wrong.is_some() {
            continue;
        }
        wrong = poster.post(&text, speak).await.err().map(|error| error.to_string());
    }
    (poster, wrong)
}
