//! The beginning of `tollgate finish`: what `start` left is found again, and its meter is ended.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::sealed::{Broken, Handle};
use super::state::State;
use super::{CLOSING, COUNT, Closing, Counted, METER, Process, STATE};
use crate::cli::Shell;
use crate::exit::{self, Failure};
use crate::gate::AgentEnd;
use crate::meter::journal;
use crate::pipeline::conclude::{Count, Spent};
use crate::pipeline::finish::Reported;
use crate::pipeline::folder::{self, RunFolder};
use crate::pipeline::place::Place;
use crate::pipeline::reserve::Begun;
use crate::pipeline::retry::Earlier;
use crate::pipeline::{Premise, Story, books};
use crate::report::defuse;

/// How long the meter may take to end by itself: it lets what is in flight end.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the system may take to end it.
const KILLED: Duration = Duration::from_secs(2);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// How the step ended, in the runner's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Outcome {
    /// All is well
    #[default]
    Success,
    /// It failed
    Failure,
    /// It was cancelled
    Cancelled,
    /// It was not run at all
    Skipped,
}

/// What `tollgate finish` is asked for.
#[derive(Debug, Default)]
pub struct Finish {
    /// What `start` handed over; nothing for `TOLLGATE_STATE`.
    pub state: Option<String>,
    /// How the step ended.
    pub outcome: Outcome,
    /// Where to write the summary as JSON.
    pub summary_json: Option<PathBuf>,
}

/// What `start` left.
pub(in crate::pipeline) struct Left {
    handle: Handle,
    state: State,
}

/// What is found of it.
pub(in crate::pipeline) enum Found {
    /// A run that is to be finished.
    Left(Box<Left>),
    /// Nothing is left to do, and this is the exit code.
    Over(u8),
}

/// Finds what `start` left.
///
/// # Errors
/// When it is not to be found, as a [`Failure`] with exit code 2; when something has changed it, with 3.
pub(in crate::pipeline) fn find(request: &Finish, shell: &mut Shell) -> anyhow::Result<Found> {
    let text = request.state.as_deref().or_else(|| shell.var("TOLLGATE_STATE")).map(str::trim);
    let hint = "hint: give it the output `state` of `tollgate start`, with --state or in TOLLGATE_STATE";
    let handle = match text.filter(|text| !text.is_empty()) {
        None => {
            let what = "which run is to be finished is not said: there is no state";
            return Err(Failure::usage(format!("{what}\n\n{hint}")).into());
        }
        Some("none") => {
            writeln!(shell.err, "note: `tollgate start` began no run, so there is none to finish")?;
            return Ok(Found::Over(exit::PASS));
        }
        Some(text) => Handle::read(text).ok_or_else(|| {
            Failure::usage(format!("the state is not what `tollgate start` handed over\n\n{hint}"))
        })?,
    };
    if let Ok(closing) = handle.value::<Closing>(CLOSING) {
        return Ok(Found::Over(again(closing, shell)?));
    }
    let state: State = handle.value(STATE).map_err(changed)?;
    if !state.is_of_this_version() {
        bail!(
            "the run was begun by another version of tollgate\n\nhint: finish it with the one that began it"
        );
    }
    state.restore(&mut shell.env);
    Ok(Found::Left(Box::new(Left { handle, state })))
}

/// Nothing can be said of a run whose papers are gone: it was spent, and is not counted.
fn changed(error: Broken) -> Failure {
    let message = format!(
        "what the run has spent cannot be told: {error}\n\nhint: all of its hold is charged by the next command \
         here, or when its lease is over"
    );
    Failure { code: exit::GATE, message }
}

/// Says once more what was said at the end of a run.
fn again(closing: Closing, shell: &mut Shell) -> anyhow::Result<u8> {
    let Closing { code, reason, outputs } = closing;
    writeln!(shell.err, "note: this run was settled before: {}", defuse::plain(&reason))?;
    if let Some(path) = shell.var("GITHUB_OUTPUT") {
        let outputs: Vec<(&str, String)> =
            outputs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        crate::report::outputs::append(&outputs, &mut file)?;
    }
    Ok(code)
}

impl Left {
    /// What the run's story starts from, as it was.
    pub(in crate::pipeline) fn premise(&self, request: &Finish, shell: &Shell) -> anyhow::Result<Premise> {
        self.state.premise(request.summary_json.clone(), shell)
    }

    /// Ends the meter, and says what it has counted. The run's folder is this process's from then on.
    ///
    /// # Errors
    /// When the meter cannot be ended.
    pub(in crate::pipeline) async fn collect(
        &self,
        outcome: Outcome,
        shell: &mut Shell,
    ) -> anyhow::Result<(RunFolder, Spent)> {
        let folder = self.end_meter().await?;
        let counted = self.handle.value::<Counted>(COUNT);
        let time_up = counted.as_ref().is_ok_and(|counted| counted.time_up);
        let ended = counted.as_ref().map_or_else(|_| Timestamp::now(), |counted| counted.ended);
        let agent = match outcome {
            Outcome::Success | Outcome::Skipped => AgentEnd::Fine,
            Outcome::Failure if time_up => AgentEnd::TimedOut,
            Outcome::Failure => AgentEnd::Failed,
            // The signal by which GitHub's runner begins to cancel.
            Outcome::Cancelled => AgentEnd::Cancelled(exit::INTERRUPTED),
        };
        let (count, capped, words) = match counted {
            Ok(Counted { totals, .. }) if outcome == Outcome::Skipped && totals.requests == 0 => {
                (Count::Nothing, false, None)
            }
            Ok(Counted { totals, capped, text, .. }) => (Count::Told(totals), capped, text),
            Err(error) => {
                writeln!(shell.err, "warning: the meter is gone and has not said what it counted: {error}")?;
                (Count::Lost(self.evidence()), false, None)
            }
        };
        let took = ended.duration_since(self.state.started());
        let took = Duration::try_from(took).unwrap_or_default();
        Ok((
            folder,
            Spent {
                agent,
                count,
                capped,
                words,
                took,
                work: None,
                voice: None,
                grown: None,
                earlier: Earlier::default(),
            },
        ))
    }

    /// What the journal proves: something only where no agent could have written it.
    fn evidence(&self) -> Option<crate::ledger::Spend> {
        let text = folder::read(&self.handle.folder.join("journal")).ok()?;
        let recovered = journal::recover(&text).ok()?;
        self.state.simulate.then(|| books::evidence(&recovered))
    }

    /// Ends the process that the meter is, and takes its folder over.
    async fn end_meter(&self) -> anyhow::Result<RunFolder> {
        let take = || RunFolder::take_over(&self.handle.folder);
        if let Some(folder) = take()? {
            return Ok(folder);
        }
        // Only the meter has the lock, so that its number is its own for as long as it is not free.
        let Process { pid } = self.handle.value(METER).map_err(changed)?;
        let pid = Pid::from_raw(pid);
        for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, KILLED)] {
            if let Some(pid) = pid {
                // That it has just gone is what is waited for.
                let _ = kill_process(pid, signal);
            }
            let until = Instant::now() + patience;
            while Instant::now() < until {
                if let Some(folder) = take()? {
                    return Ok(folder);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        bail!(
            "something still has the lock of the run's folder {}, so it cannot be settled\n\nhint: all of its hold \
             is charged when its lease is over",
            self.handle.folder.display()
        )
    }

    /// The run as it was begun, with its ledger opened again.
    ///
    /// # Errors
    /// When the ledger cannot be used.
    pub(in crate::pipeline) fn begun(
        &self,
        story: &Story<'_>,
        folder: RunFolder,
        shell: &mut Shell,
    ) -> anyhow::Result<Begun> {
        let inputs = story.inputs;
        let place = Place::find(shell, &inputs.budget, &inputs.root, self.state.simulate)?;
        let store = books::open(place, inputs, self.state.simulate, shell)?;
        Ok(Begun { store, route: self.state.route.clone(), held: self.state.held.clone(), folder })
    }

    /// Remembers what was said, for whoever asks once more. Returns the exit code.
    ///
    /// # Errors
    /// When nobody can be told that it is not remembered.
    pub(in crate::pipeline) fn close(&self, reported: &Reported, shell: &mut Shell) -> anyhow::Result<u8> {
        let Reported { code, reason, outputs, settled } = reported;
        // What is not settled is to be settled by whoever asks next.
        if *settled {
            let outputs = outputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let closing = Closing { code: *code, reason: reason.clone(), outputs };
            if let Err(error) = self.handle.write(CLOSING, &closing) {
                writeln!(shell.err, "warning: the run's folder cannot be written: {error}")?;
            }
        }
        Ok(*code)
    }
}
