//! The one place that waits on the agent, the meter, the signals and the clock at once.
//!
//! Whatever ends a run, the order is the same: seal the meter, end the agent, drain. A run that is
//! sealed first cannot spend while it is being counted.

use std::task::{Context, Waker};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

use crate::agent::process::{Ended, Exit, Patience, Running};
use crate::meter::{Meter, Phase, Snapshot, Totals};
use crate::money::Usd;

/// How long an agent may go on after it was told that the cap is reached, before it is ended.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// How long requests in flight may take to end once the agent is gone; the rest counts at its bound.
const DRAIN: Duration = Duration::from_secs(4);
/// How often the clock on the wall is looked at.
const CLOCK: Duration = Duration::from_secs(15);

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent exited by itself.
    Itself {
        /// With exit code 0.
        success: bool,
    },
    /// The agent was told to stop at the cap and went on, so it was ended.
    Overstayed,
    /// Its time was up.
    TimeUp,
    /// A signal came.
    Cancelled(Signal),
}

/// A run that is over.
#[derive(Debug)]
pub struct Supervised {
    /// What ended it.
    pub end: End,
    /// What became of the agent's processes.
    pub agent: Ended,
    /// What it spent.
    pub totals: Totals,
    /// The last text that the meter saw pass.
    metered_text: Option<String>,
}

impl Supervised {
    /// Whether the cap is what ended the work: the agent was given its last answer, or was stopped.
    #[must_use]
    pub fn capped(&self) -> bool {
        self.totals.at_cap()
    }

    /// The agent's last words: what it printed, or else what the model last told it. The other way round
    /// where a request was answered by the meter, since that answer is then what the agent printed last.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        let printed = Some(self.agent.said.text.clone()).filter(|text| !text.trim().is_empty());
        let metered = self.metered_text.clone().filter(|text| !text.trim().is_empty());
        match (printed, metered) {
            // What it printed may end with the meter's own words, and have all of its words before them.
            (Some(printed), Some(metered)) if self.totals.stopped_requests > 0 => {
                Some(if printed.contains(metered.trim()) { printed } else { metered })
            }
            (printed, metered) => printed.or(metered),
        }
    }
}

/// A meter that was left alone, and is over.
#[derive(Debug)]
pub struct Attended {
    /// What was spent.
    pub totals: Totals,
    /// The last text that the meter saw pass.
    pub text: Option<String>,
    /// The run's time was up before it was ended.
    pub time_up: bool,
    /// The cap had ended the work by then.
    pub capped: bool,
}

/// The signals that cancel a run. Made before the hold is taken, so that none is missed.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    /// One that has come already.
    pub fn pending(&mut self) -> Option<Signal> {
        let mut nobody = Context::from_waker(Waker::noop());
        [
            (&mut self.interrupt, Signal::INT),
            (&mut self.terminate, Signal::TERM),
            (&mut self.hang_up, Signal::HUP),
        ]
        .into_iter()
        .find_map(|(signals, signal)| signals.poll_recv(&mut nobody).is_ready().then_some(signal))
    }

    /// The next one. Safe to cancel.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// A hold that grows with its run: what the meter wants to be held goes out, what is held comes back.
#[derive(Debug)]
pub struct Growth {
    /// Amounts that the meter wants to be held.
    pub wants: UnboundedSender<Usd>,
    /// What became of each.
    pub grants: UnboundedReceiver<Grant>,
}

/// What became of a wish for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So much is held, and there may be more.
    To(Usd),
    /// So much is held, and there will be no more.
    Last(Usd),
}

/// Waits until the run is over, whatever ends it, and counts it. `watch` sees every change on the way.
pub async fn run(
    mut agent: Running,
    meter: Meter,
    growth: Option<Growth>,
    signals: &mut Signals,
    mut watch: impl FnMut(&Snapshot),
) -> Supervised {
    let end = wait(&mut agent, &meter, growth, signals, &mut watch).await;
    meter.seal();
    let patience = match end {
        End::Cancelled(_) => Patience::HURRIED,
        End::Itself { .. } | End::Overstayed | End::TimeUp => Patience::GENTLE,
    };
    let agent = agent.end(patience).await;
    let metered_text = meter.last_text();
    let totals = meter.drain(DRAIN).await;
    Supervised { end, agent, totals, metered_text }
}

/// Looks after a meter whose agent is a step of somebody else's: until a signal says that the step is over,
/// or until its `lease` is. When its `time` is up the meter is sealed, and goes on saying so: the step cannot
/// be ended from here.
pub async fn attend(meter: Meter, signals: &mut Signals, time: Timestamp, lease: Timestamp) -> Attended {
    let mut time_up = false;
    let mut capped = None;
    loop {
        let next = if time_up { lease } else { time.min(lease) };
        tokio::select! {
            biased;
            _ = signals.next() => break,
            () = instant(next) => {
                if Timestamp::now() >= lease {
                    break;
                }
                // What is asked for from now on is not the cap's doing.
                capped = Some(meter.snapshot().borrow().phase >= Phase::LastCall);
                time_up = true;
                meter.seal();
            }
        }
    }
    let text = meter.last_text();
    let totals = meter.drain(DRAIN).await;
    let capped = capped.unwrap_or_else(|| totals.at_cap());
    Attended { totals, text, time_up, capped }
}

/// Waits for an instant by a clock that counts while the machine sleeps.
async fn instant(at: Timestamp) {
    while let Ok(left) = Duration::try_from(at.duration_since(Timestamp::now()))
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(CLOCK)).await;
    }
}

async fn wait(
    agent: &mut Running,
    meter: &Meter,
    mut growth: Option<Growth>,
    signals: &mut Signals,
    watch: &mut impl FnMut(&Snapshot),
) -> End {
    let mut snapshots = meter.snapshot();
    let mut overstays = None;
    // One wish at a time: the next one is for what is wanted then.
    let mut asked = false;
    loop {
        let granted = async {
            match &mut growth {
                Some(growth) => growth.grants.recv().await,
                None => std::future::pending().await,
            }
        };
        let overstayed = async {
            match overstays {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = signals.next() => return End::Cancelled(signal),
            exit = agent.exited() => {
                return match exit {
                    Exit::Itself(status) => End::Itself { success: status.success() },
                    Exit::TimeUp => End::TimeUp,
                };
            }
            () = overstayed => return End::Overstayed,
            grant = granted => {
                asked = false;
                match grant {
                    // The answer changes the snapshot, by which the next wish is made.
                    Some(Grant::To(usd)) => meter.grant(usd),
                    Some(Grant::Last(usd)) => {
                        meter.grant(usd);
                        meter.land();
                        growth = None;
                    }
                    // Whoever holds has gone: nothing more is held.
                    None => {
                        meter.land();
                        growth = None;
                    }
                }
            }
            Ok(()) = snapshots.changed() => {
                let snapshot = *snapshots.borrow_and_update();
                if snapshot.phase >= Phase::Stopped && overstays.is_none() {
                    overstays = Some(Instant::now() + STOP_GRACE);
                }
                if let (Some(growth), false) = (&growth, asked || snapshot.wanted <= Usd::ZERO) {
                    // Where nobody hears it, the other end says so.
                    asked = growth.wants.send(snapshot.wanted).is_ok();
                }
                watch(&snapshot);
            }
        }
    }
}
