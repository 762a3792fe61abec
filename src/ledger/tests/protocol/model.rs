//! The model: runs, what they want of the ledger, and what can happen to each of them.

use std::sync::Arc;

use stateright::{Model, Property};

use super::super::invariants::{Broken, Run};
use super::log::{Expiry, Log, Logs, Outcome, Wish, dollars, instant, key};
use super::{Fault, Size};
use crate::id::HoldId;

#[derive(Debug)]
pub(super) struct Protocol {
    size: Size,
    fault: Option<Fault>,
    pub(super) logs: Arc<Logs>,
    /// Each run's keys, by attempt.
    keys: Vec<Vec<HoldId>>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Asking,
    Running,
    Sealed,
    Settled,
    Refused,
    Dead,
}

/// A decision that was not pushed yet, or whose answer has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pending {
    /// What it was decided on.
    on: Log,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    stage: Stage,
    pending: Option<Pending>,
    attempt: u8,
    /// It asks for no more.
    last: bool,
    /// It was over when it had asked for more: that may arrive yet, and be decided on what is there then.
    stray: bool,
    granted: u8,
    allowance: u8,
    spent: u8,
    in_flight: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    log: Log,
    tick: u8,
    swept: Option<u8>,
    crashes: u8,
    losses: u8,
    runs: Vec<Process>,
}

/// What becomes of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Answered,
    /// It is done, and nobody hears of it.
    Lost,
    /// It is done, and its run is dead.
    Orphaned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// Reads the log, and decides what it wants next.
    Decide(u8),
    Push(u8, Fate),
    /// What a run that is over had asked for arrives.
    Stray(u8),
    Send(u8),
    Answer(u8, u8),
    Seal(u8),
    Crash(u8),
    Sweep,
    Tick,
}

impl Protocol {
    pub(super) fn new(size: Size, fault: Option<Fault>) -> Self {
        let keys = |run| (0..=size.losses).map(|attempt| key(run, attempt)).collect();
        let keys = (0..size.runs).map(keys).collect();
        Self { size, fault, logs: Arc::new(Logs::new(size.budget, size.first)), keys }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The number in a run's key, and that of its process.
    fn names(&self, run: u8) -> (u8, u8) {
        let key = if self.size.one_key { 0 } else { run };
        let claim = if self.is(Fault::NoClaim) { key } else { run };
        (key, claim)
    }

    /// What a run wants of the ledger now.
    fn wish(&self, number: u8, run: &Process) -> Option<Wish> {
        let (key, claim) = self.names(number);
        let attempt = run.attempt;
        let settle = Wish::Settle { run: key, attempt, spent: run.spent };
        match run.stage {
            Stage::Asking => Some(Wish::Reserve { run: key, attempt, claim }),
            Stage::Running if self.is(Fault::SettleBeforeSeal) && run.spent > 0 => Some(settle),
            Stage::Running if !run.last => Some(self.more(number, run)),
            Stage::Sealed if run.in_flight == 0 => Some(settle),
            _ => None,
        }
    }

    /// More than it has.
    fn more(&self, number: u8, run: &Process) -> Wish {
        let (key, claim) = self.names(number);
        Wish::Extend { run: key, attempt: run.attempt, claim, to: self.next(run) }
    }

    /// What it asks its hold to grow to.
    fn next(&self, run: &Process) -> u8 {
        self.size.most.min(run.granted + self.size.step)
    }

    fn push(&self, state: &mut State, number: usize, fate: Fate) {
        let run = state.runs[number];
        let Some(Pending { on, outcome }) = run.pending else { return };
        state.runs[number].pending = None;
        if let Outcome::Next { log, .. } = outcome {
            let fresh = state.log == on;
            let put = if fresh || self.is(Fault::ForcePush) {
                Some(log)
            } else if self.is(Fault::NoCompare) {
                self.logs.put_on(log, state.log, state.tick)
            } else {
                None
            };
            // Somebody was faster: decide again.
            let Some(put) = put else { return };
            state.log = put;
        }
        match fate {
            Fate::Answered => self.answered(&mut state.runs[number], outcome),
            Fate::Lost => {
                state.losses -= 1;
                let run = &mut state.runs[number];
                run.attempt += u8::from(self.is(Fault::NoKey) && run.stage == Stage::Asking);
            }
            Fate::Orphaned => {
                state.crashes -= 1;
                kill(&mut state.runs[number]);
            }
        }
    }

    /// A run hears what became of its wish.
    fn answered(&self, run: &mut Process, outcome: Outcome) {
        let granted = match outcome {
            Outcome::Next { granted, .. } | Outcome::Already { granted } => granted,
            // Its hold was charged before it heard of it: it has no run, and people correct the charge.
            Outcome::Closed => return kill(run),
            Outcome::Refused if run.stage == Stage::Asking => {
                run.stage = Stage::Refused;
                return;
            }
            // It cannot grow, and goes on with what it has. A settlement that is refused is for people.
            Outcome::Refused if run.stage == Stage::Running => {
                run.last = true;
                return;
            }
            Outcome::Refused => return kill(run),
        };
        match run.stage {
            // A hold that a budget cut grows no more, nor does one that is all it may be.
            Stage::Asking | Stage::Running => {
                let asked = if run.stage == Stage::Asking { self.size.first } else { self.next(run) };
                run.last = granted < asked || granted >= self.size.most;
                run.granted = run.granted.max(granted);
                run.allowance = run.allowance.max(run.granted);
                run.stage = Stage::Running;
            }
            Stage::Sealed => run.stage = Stage::Settled,
            Stage::Settled | Stage::Refused | Stage::Dead => {}
        }
    }

    /// What a stray wish comes to by now.
    fn stray(&self, state: &State, number: u8) -> Outcome {
        let run = &state.runs[usize::from(number)];
        self.logs.decide(state.log, self.more(number, run), state.tick)
    }

    fn expiry(&self, state: &State) -> Expiry {
        match self.fault {
            Some(Fault::ExpiryReleases) => Expiry::Releases,
            Some(Fault::ExpiryChargesFirst) => Expiry::ChargesFirst,
            Some(Fault::ExpiryChargesSoFar) => Expiry::ChargesSoFar(state.runs[0].spent),
            _ => Expiry::Charges,
        }
    }

    /// The invariant that a state breaks.
    pub(super) fn broken(&self, state: &State) -> Option<Broken> {
        let node = self.logs.node(state.log);
        if let Some(broken) = &node.broken {
            return Some(broken.clone());
        }
        let as_run = |number: usize, process: &Process| {
            let (run, _) = self.names(u8::try_from(number).expect("few"));
            Run {
                holds: vec![self.keys[usize::from(run)][usize::from(process.attempt)].clone()],
                granted: dollars(process.granted),
                // A number that is too large breaks nothing: what leaves because of it does.
                allowance: dollars(process.granted),
                spent: dollars(process.spent),
                in_flight: dollars(process.in_flight),
                settled: process.stage == Stage::Settled,
                dead: process.stage == Stage::Dead,
                refused: process.stage == Stage::Refused,
            }
        };
        let runs = state.runs.iter().enumerate().map(|(number, run)| as_run(number, run));
        let runs: Vec<Run> = if self.size.one_key { vec![together(runs)] } else { runs.collect() };
        node.fold.check(&runs, state.swept.map(instant)).err()
    }
}

/// Two processes with one key, as the one run that they claim to be.
fn together(runs: impl Iterator<Item = Run>) -> Run {
    runs.reduce(|a, b| Run {
        holds: a.holds,
        granted: a.granted.max(b.granted),
        allowance: a.allowance.max(b.allowance),
        spent: a.spent + b.spent,
        in_flight: a.in_flight + b.in_flight,
        settled: a.settled && b.settled,
        dead: a.dead || b.dead,
        refused: a.refused && b.refused,
    })
    .unwrap_or_default()
}

/// What was in flight may have been spent.
fn kill(run: &mut Process) {
    let spent = run.spent + run.in_flight;
    *run = Process { stage: Stage::Dead, pending: None, spent, in_flight: 0, ..*run };
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let run = Process {
            stage: Stage::Asking,
            pending: None,
            attempt: 0,
            last: false,
            stray: false,
            granted: 0,
            allowance: 0,
            spent: 0,
            in_flight: 0,
        };
        let Size { runs, crashes, losses, .. } = self.size;
        vec![State { log: 0, tick: 0, swept: None, crashes, losses, runs: vec![run; usize::from(runs)] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, run) in (0..).zip(&state.runs) {
            if let Some(Pending { on, outcome }) = run.pending {
                actions.push(Action::Push(number, Fate::Answered));
                let arrives = matches!(outcome, Outcome::Next { .. })
                    && (on == state.log || matches!(self.fault, Some(Fault::NoCompare | Fault::ForcePush)));
                if arrives && state.losses > 0 {
                    actions.push(Action::Push(number, Fate::Lost));
                }
                if arrives && state.crashes > 0 {
                    actions.push(Action::Push(number, Fate::Orphaned));
                }
            } else if self.wish(number, run).is_some() {
                actions.push(Action::Decide(number));
            }
            let alive = matches!(run.stage, Stage::Running | Stage::Sealed);
            if run.stray && matches!(self.stray(state, number), Outcome::Next { .. }) {
                actions.push(Action::Stray(number));
            }
            if run.stage == Stage::Running && run.spent + run.in_flight < run.allowance {
                actions.push(Action::Send(number));
            }
            if run.in_flight > 0 {
                // What is used, of the worst case.
                actions.push(Action::Answer(number, 1));
                if alive && run.spent == 0 {
                    actions.push(Action::Answer(number, 0));
                }
            }
            if run.stage == Stage::Running {
                actions.push(Action::Seal(number));
            }
            if state.crashes > 0 && (alive || run.stage == Stage::Asking) {
                actions.push(Action::Crash(number));
            }
        }
        if let Outcome::Next { .. } = self.logs.decide(state.log, Wish::Sweep(self.expiry(state)), state.tick)
        {
            actions.push(Action::Sweep);
        }
        if state.tick < self.size.ticks {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Decide(number) => {
                let run = &mut state.runs[usize::from(number)];
                let wish = self.wish(number, run)?;
                let outcome = self.logs.decide(state.log, wish, state.tick);
                run.pending = Some(Pending { on: state.log, outcome });
                if let (true, Wish::Extend { to, .. }) = (self.is(Fault::AllowanceBeforeAnswer), wish) {
                    run.allowance = to;
                }
            }
            Action::Push(number, fate) => self.push(&mut state, usize::from(number), fate),
            Action::Stray(number) => {
                state.runs[usize::from(number)].stray = false;
                let Outcome::Next { log, .. } = self.stray(last, number) else { return None };
                state.log = log;
            }
            Action::Send(number) => state.runs[usize::from(number)].in_flight += 1,
            Action::Answer(number, used) => {
                let run = &mut state.runs[usize::from(number)];
                run.in_flight -= 1;
                run.spent += used;
            }
            Action::Seal(number) => {
                let run = &mut state.runs[usize::from(number)];
                // What it has asked for is not waited for.
                let pending = run.pending.take();
                run.stray = pending.is_some_and(|asked| matches!(asked.outcome, Outcome::Next { .. }));
                run.stage = Stage::Sealed;
            }
            Action::Crash(number) => {
                state.crashes -= 1;
                kill(&mut state.runs[usize::from(number)]);
            }
            Action::Sweep => {
                let wish = Wish::Sweep(self.expiry(&state));
                let Outcome::Next { log, .. } = self.logs.decide(state.log, wish, state.tick) else {
                    return None;
                };
                state.log = log;
                state.swept = Some(state.tick);
            }
            Action::Tick => {
                state.tick += 1;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every invariant", |model: &Protocol, state| model.broken(state).is_none())]
    }
}
