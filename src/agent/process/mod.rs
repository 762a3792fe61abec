//! Starting an agent in a session of its own, and ending it with everything it has left behind.
//!
//! Signals first ask and then force: interrupt (most agents print what they have), terminate, kill. On
//! Linux the whole tree is found whatever the agent does ([`tree`]); elsewhere its process group.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::output::{Format, Log, Pump, Redactor, Said, pump};

#[cfg(not(target_os = "linux"))]
#[path = "group.rs"]
mod tree;
#[cfg(target_os = "linux")]
mod tree;

mod isolation;

#[cfg(test)]
mod tests;

pub use isolation::{Isolation, harden};
use tree::{Before, Tree};

/// How often a long run buries orphans that have ended.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// How long processes may need to end by themselves once the main one has.
const AFTERMATH: Duration = Duration::from_millis(100);
/// How long killed processes may need to disappear.
const KILL_WAIT: Duration = Duration::from_secs(3);
/// Quick blows in one round.
const STRIKES: usize = 100;
/// How many rounds in a row must find nothing: what forks and exits all the time may be between two lists of
/// processes once, or twice.
const QUIET_ROUNDS: usize = 4;
/// How long the rest of the output may need once every process is gone.
const OUTPUT_WAIT: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment: nothing is inherited.
    pub env: BTreeMap<OsString, OsString>,
    /// Where it works.
    pub workspace: PathBuf,
    /// How long it may take.
    pub time_limit: Duration,
    /// What its output looks like.
    pub format: Format,
    /// What its output must not show.
    pub redactor: Arc<Redactor>,
}

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused.
    #[error("the agent `{program}` could not be started: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The process tree could not be prepared, so nothing could promise to end it.
    #[error("the agent was not started, because its processes could not be kept track of: {0}")]
    Tree(io::Error),
}

/// How an agent's main process came to its end, or did not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself.
    Itself(ExitStatus),
    /// Its time is up. It still runs: end it.
    TimeUp,
}

/// How long an agent is asked before it is forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the interrupt to the termination signal.
    pub interrupt: Duration,
    /// From the termination signal to the kill.
    pub terminate: Duration,
}

impl Patience {
    /// When nobody is in a hurry: time to print a result.
    pub const GENTLE: Patience =
        Patience { interrupt: Duration::from_secs(5), terminate: Duration::from_secs(2) };
    /// When the run was cancelled: the runner itself kills after 7.5 s, and the ledger must be settled
    /// by then.
    pub const HURRIED: Patience =
        Patience { interrupt: Duration::from_millis(1_000), terminate: Duration::from_millis(500) };
}

/// What an agent was when all of it was over.
#[derive(Debug)]
pub struct Ended {
    /// The main process' status; `None` when it could not be ended.
    pub status: Option<ExitStatus>,
    /// The strongest signal that it took to end the main process; `None` when it ended by itself.
    pub signal: Option<Signal>,
    /// From start to end.
    pub duration: Duration,
    /// Processes that outlived the main one and were ended.
    pub left_behind: usize,
    /// Processes that could not be ended, because they belong to another user.
    pub survivors: usize,
    /// Whether the whole tree was searched, or only the process group (not on Linux).
    pub whole_tree: bool,
    /// What it said on standard output.
    pub said: Said,
    /// The end of what it said on standard error.
    pub complained: Said,
}

/// An agent that was started. Dropped without [`Running::end`], it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    tree: Tree,
    started: Instant,
    deadline: Instant,
    status: Option<ExitStatus>,
    over: bool,
    stdout: Option<Pump>,
    stderr: Option<Pump>,
}

/// Starts an agent. What it says goes to `log`, line by line.
///
/// # Errors
/// When the system refuses to start it.
pub fn start(spec: &Spec, log: &Log) -> Result<Running, StartError> {
    let before = Before::prepare().map_err(StartError::Tree)?;
    let spawn_error =
        |source: io::Error| StartError::Spawn { program: spec.program.display().to_string(), source };
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    own_session(&mut command);
    let mut child = command.spawn().map_err(spawn_error)?;
    let started = Instant::now();
    let root = child.id().expect("a child that was not waited for has a process id");
    let stdout = child.stdout.take().expect("standard output is piped").into_owned_fd();
    let stderr = child.stderr.take().expect("standard error is piped").into_owned_fd();
    let mut running = Running {
        child,
        tree: before.tree(root),
        started,
        deadline: started + spec.time_limit,
        status: None,
        over: false,
        stdout: None,
        stderr: None,
    };
    // From here on an error drops `running`, which ends the child.
    running.stdout =
        Some(pump(stdout.map_err(spawn_error)?, spec.format, &spec.redactor, log).map_err(spawn_error)?);
    running.stderr =
        Some(pump(stderr.map_err(spawn_error)?, Format::Plain, &spec.redactor, log).map_err(spawn_error)?);
    Ok(running)
}

/// Puts the child into a session of its own: no terminal to type into, no group shared with us, and a
/// mark that it can never take off.
#[expect(unsafe_code, reason = "the standard library has no safe way to begin a session")]
fn own_session(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed.
    // It makes one system call, `setsid`, and neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

impl Running {
    /// The main process' id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the main process has ended or its time is up. Safe to cancel and to call again.
    pub async fn exited(&mut self) -> Exit {
        loop {
            if let Some(status) = self.status {
                return Exit::Itself(status);
            }
            tokio::select! {
                biased;
                status = self.child.wait() => self.note(status),
                () = tokio::time::sleep_until(self.deadline) => return Exit::TimeUp,
                () = tokio::time::sleep(SWEEP_EVERY) => { self.tree.leftovers(); }
            }
        }
    }

    fn note(&mut self, status: io::Result<ExitStatus>) {
        // Waiting for one's own child fails only where somebody else has waited for it; then it is gone,
        // and its status with it.
        self.status = Some(status.unwrap_or_default());
    }

    /// Ends whatever of the agent still runs, main process or leftovers, and collects what it said.
    pub async fn end(mut self, patience: Patience) -> Ended {
        let signal = if self.exited_within(Duration::ZERO).await { None } else { self.stop(patience).await };
        let left_behind = self.clear_leftovers(signal, patience).await;
        let survivors = self.tree.leftovers() + usize::from(self.status.is_none());
        self.over = survivors == 0;
        let duration = self.started.elapsed();
        Ended {
            status: self.status,
            signal,
            duration,
            left_behind,
            survivors,
            whole_tree: cfg!(target_os = "linux"),
            said: finish(self.stdout.take()).await,
            complained: finish(self.stderr.take()).await,
        }
    }

    /// Whether the main process has ended, waiting for it no longer than `time`.
    async fn exited_within(&mut self, time: Duration) -> bool {
        if self.status.is_none()
            && let Ok(status) = tokio::time::timeout(time, self.child.wait()).await
        {
            self.note(status);
        }
        self.status.is_some()
    }

    /// Asks the main process to end, then forces it; with it, everything below.
    async fn stop(&mut self, patience: Patience) -> Option<Signal> {
        for (signal, time) in [(Signal::INT, patience.interrupt), (Signal::TERM, patience.terminate)] {
            if time.is_zero() {
                continue;
            }
            self.tree.signal(signal);
            if self.exited_within(time).await {
                return Some(signal);
            }
        }
        self.kill().await;
        self.exited_within(KILL_WAIT).await;
        Some(Signal::KILL)
    }

    /// Ends what has outlived the main process; how many processes that were.
    async fn clear_leftovers(&mut self, signal: Option<Signal>, patience: Patience) -> usize {
        if signal == Some(Signal::KILL) || self.gone_within(AFTERMATH).await {
            self.kill().await;
            return 0;
        }
        self.tree.forget_seen();
        self.tree.signal(Signal::TERM);
        self.gone_within(patience.terminate.min(Duration::from_millis(500))).await;
        // In any case: one look that finds nothing proves nothing of what forks and exits all the time.
        self.kill().await;
        self.tree.seen_beside_main()
    }

    /// Kills everything until nothing is left: what was forked meanwhile is found by the next look.
    async fn kill(&mut self) {
        let until = Instant::now() + KILL_WAIT;
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS && Instant::now() < until {
            quiet = if kill_round(&mut self.tree) == 0 { quiet + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether nothing of the agent is left within `time`.
    async fn gone_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut pause = Duration::from_millis(2);
        while !self.tree.is_gone() {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // Nothing can be awaited here. Killed processes need no time to stop forking, so a few looks
        // are enough; the bound is for those that may not be killed.
        let mut quiet = 0;
        for _ in 0..50 {
            quiet = if kill_round(&mut self.tree) == 0 { quiet + 1 } else { 0 };
            if quiet == QUIET_ROUNDS {
                break;
            }
            std::thread::yield_now();
        }
    }
}

/// Kills everything that can be found; how much the last two looks have found.
fn kill_round(tree: &mut Tree) -> usize {
    // Quick blows first, for what would be gone before a slow one lands.
    for _ in 0..STRIKES {
        if tree.strike() == 0 {
            break;
        }
    }
    tree.signal(Signal::KILL) + tree.signal(Signal::KILL)
}

/// What was said, or that the end of it never came: something that could not be ended holds the pipe.
async fn finish(pump: Option<Pump>) -> Said {
    match pump {
        Some(pump) => pump.finish(OUTPUT_WAIT).await,
        None => Said::default(),
    }
}
