//! What is shown and said while the agent runs: the live meter, and an alert at each threshold.

use std::io::{self, IsTerminal, Write};

use super::Story;
use super::finish::budget_states;
use super::voice::Voice;
use crate::agent::output::Log;
use crate::cli::Shell;
use crate::ledger::Balance;
use crate::meter::Snapshot;
use crate::money::Usd;
use crate::report::alerts::Alerts;
use crate::report::{annotations, live};

/// The live meter of a run, and the log that it shares with the agent.
pub(super) struct Live {
    meter: live::Live,
    alerts: Alerts,
    log: Log,
    on_actions: bool,
    voice: Option<Voice>,
}

impl Live {
    /// A live meter on standard error: a bar where that is a terminal, else lines between the agent's.
    pub(super) fn new(story: &Story<'_>, cap: Usd, balances: &[Balance], shell: &Shell) -> Self {
        let on_actions = story.inputs.on_actions;
        let terminal = io::stderr().is_terminal() && !on_actions;
        let meter = live::Live::new(terminal, shell.var("NO_COLOR").is_none(), cap);
        let out: Box<dyn Write + Send> = match &meter {
            live::Live::Bar(bar) => Box::new(AboveBar(bar.clone())),
            live::Live::Lines(_) => Box::new(io::stderr()),
        };
        let thresholds = &story.inputs.budget.alerts;
        let alerts = Alerts::new(thresholds, cap, &budget_states(balances));
        Self { meter, alerts, log: Log::new(out, on_actions), on_actions, voice: None }
    }

    /// From now on alerts are told on the pull request, too.
    pub(super) fn speak(&mut self, voice: Voice) {
        self.voice = Some(voice);
    }

    /// Where everything goes that is written while the agent runs.
    pub(super) fn log(&self) -> Log {
        self.log.clone()
    }

    /// The meter has moved.
    pub(super) fn on(&mut self, snapshot: &Snapshot) {
        let mut line = Vec::new();
        // Writing to memory does not fail.
        let _ = self.meter.on(snapshot, &mut line);
        let line = String::from_utf8_lossy(&line);
        if !line.is_empty() {
            self.log.own(line.trim_end());
        }
        for alert in self.alerts.on(snapshot.settled) {
            let annotation = annotations::alert(&alert);
            if let Some(voice) = &mut self.voice {
                voice.alert(&alert);
            }
            match self.on_actions {
                true => self.log.own(&annotation.to_string()),
                false => self.log.own(&format!("warning: {}", annotation.message)),
            }
        }
    }

    /// The run is over.
    pub(super) fn end(self) -> Option<Voice> {
        self.meter.end();
        self.log.close();
        self.voice
    }
}

/// Standard error with the bar out of the way while something is written.
struct AboveBar(indicatif::ProgressBar);

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
