//! The account: events in, decisions out. No I/O, no clock, nothing asynchronous.
//!
//! It keeps one promise: at every [`Decision::Send`], what has been spent and the worst case of everything
//! in flight are together within the allowance. `forward` asks it before each request and tells it what
//! became of each; whoever has to wait is answered by what a later event returns ([`Woken`]).
//!
//! The order in which a request that does not fit is helped is the design's: a tighter bound from the
//! count endpoint, waiting for what is in flight, a lower output cap, a last answer, a stop.

mod amount;
mod decide;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::{Allowance, Phase};
use crate::money::Usd;

pub use amount::{Room, Spend, Worst};

/// The output cap that counts as roomy before any answer of this run was seen, in tokens.
const FIRST_ANSWER_OUTPUT: u64 = 4_096;

/// A request that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Where the input side of a bound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// From the size of the text: it may be tightened.
    Sized,
    /// From the count endpoint; `sized` is the fixed part of the bound that it replaces.
    Counted {
        /// The fixed part of the bound by size.
        sized: Spend,
    },
    /// From the size, and it cannot be tightened.
    Final,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// The agent's main thread, for which the landing reserve is kept.
    Main,
    /// A sub-agent's.
    Side,
}

/// A request that wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its worst case.
    pub worst: Worst,
    /// How well the input side of the worst case is known.
    pub input: Input,
    /// The output cap that was asked for, or the most there is where none was.
    pub output_asked: u64,
    /// The least the output cap may be lowered to without making the request invalid.
    pub output_min: u64,
    /// Whose it is.
    pub thread: Thread,
    /// What a note to the agent would add to the request; `None` where it cannot carry one, because the
    /// shape of its answer is forced.
    pub note: Option<Spend>,
}

impl Ask {
    /// Whether the request belongs to the conversation that is to land softly: it is steered, gets the
    /// last call, and may use the landing reserve.
    fn lands(&self) -> bool {
        self.thread == Thread::Main && self.note.is_some()
    }

    /// The output cap lowered to `output`, never below what is legal nor above what was asked.
    fn clamp(&self, output: u64) -> u64 {
        output.max(self.output_min).min(self.output_asked)
    }
}

/// What the agent is told at the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Wrap up.
    Steer,
    /// This is the last answer.
    LastCall,
}

/// Why a request is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// What is left of the dollars is less than the request could cost.
    Dollars,
    /// What is left of the new tokens is less than the request could take.
    Tokens,
    /// The request alone could cost more than the whole allowance; a smaller one may go through.
    LargerThanCap,
    /// The run is over.
    Sealed,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may leave.
    Send {
        /// By which it is settled or released.
        id: RequestId,
        /// Its output cap, at most what was asked.
        output: u64,
        /// What the agent is told with it.
        note: Option<Note>,
        /// The worst case that is held for it.
        worst: Spend,
    },
    /// It has to wait; a later event decides.
    Wait(Ticket),
    /// Its bound by size does not fit: count its input and ask again.
    Count,
    /// It does not leave.
    Stop(Reason),
}

/// Those who waited and now have an answer, in order.
pub type Woken = Vec<(Ticket, Decision)>;

/// What a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered and its usage is known.
    Answered {
        /// What it cost.
        spend: Spend,
        /// Tokens of its answer.
        output: u64,
    },
    /// It left and its usage never came: it counts as `spend`, or as its worst case where that is `None`.
    Lost {
        /// The part that is known plus the bound of the rest.
        spend: Option<Spend>,
    },
    /// It left, and the provider does not charge for what it answered.
    NotBilled,
    /// It never left.
    NotSent,
}

/// A request cost more than its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// The request.
    pub id: RequestId,
    /// What it could cost at most, by our reckoning.
    pub worst: Spend,
    /// What it cost.
    pub spend: Spend,
}

/// What became of a settlement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// What was charged; `None` for an id that is not in flight.
    pub charged: Option<Spend>,
    /// Set when that was above the bound.
    pub overrun: Option<Overrun>,
    /// Who need not wait any longer.
    pub woken: Woken,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    worst: Spend,
    lands: bool,
    note: Option<Note>,
}

/// The account of one run.
#[derive(Debug)]
pub struct Account {
    allowance: Allowance,
    /// How much of the allowance is held on the ledger, where that grows with the run; `None` where all of
    /// it is. Nothing leaves that does not fit in it.
    granted: Option<Usd>,
    /// What would have to be held for those who wait for that; nothing where nobody does.
    wanted: Usd,
    /// Percent of the allowance at which the agent is told; `None` for never.
    steer_at: Option<u32>,
    /// Whether anything is ever stopped.
    enforce: bool,
    settled: Spend,
    estimated: Spend,
    in_flight: BTreeMap<RequestId, InFlight>,
    /// The sum of `in_flight`, kept along.
    held: Spend,
    queue: VecDeque<(Ticket, Ask)>,
    next: u64,
    phase: Phase,
    /// Tokens of the largest answer so far.
    largest_answer: Option<u64>,
    /// What the main thread's last answered request cost.
    main_last: Option<Spend>,
    /// The main thread's last request, by whose context the landing reserve is reckoned.
    main_ask: Option<Ask>,
    /// How much smaller a counted bound was than the bound by size: (counted, sized).
    shrink: Option<(Spend, Spend)>,
}

impl Account {
    /// A fresh account.
    #[must_use]
    pub fn new(allowance: Allowance, steer_at: Option<u32>, enforce: bool) -> Self {
        Self {
            allowance,
            granted: None,
            wanted: Usd::ZERO,
            steer_at,
            enforce,
            settled: Spend::ZERO,
            estimated: Spend::ZERO,
            in_flight: BTreeMap::new(),
            held: Spend::ZERO,
            queue: VecDeque::new(),
            next: 0,
            phase: Phase::Open,
            largest_answer: None,
            main_last: None,
            main_ask: None,
            shrink: None,
        }
    }

    /// Decides about a request. [`Decision::Send`] holds its worst case from here on.
    pub fn admit(&mut self, ask: Ask) -> Decision {
        self.learn(&ask);
        let first = self.decide(&ask);
        let decision = match first {
            // Nobody overtakes those who wait: the smallest requests would starve the largest.
            Decision::Send { .. } if !self.queue.is_empty() && self.enforce => match ask.input {
                Input::Sized => Decision::Count,
                Input::Counted { .. } | Input::Final => Decision::Wait(Ticket(self.next)),
            },
            other => other,
        };
        let decision = self.within_grant(&ask, decision);
        self.carry_out(ask, decision, true)
    }

    /// Takes somebody out of the queue who does not wait any longer.
    pub fn leave(&mut self, ticket: Ticket) -> Woken {
        self.queue.retain(|(waiting, _)| *waiting != ticket);
        self.wanted = Usd::ZERO;
        self.wake()
    }

    /// Closes a request that was admitted.
    pub fn close(&mut self, id: RequestId, outcome: Outcome) -> Closed {
        let Some(request) = self.in_flight.remove(&id) else { return Closed::default() };
        self.held = self.held.minus_or_zero(request.worst);
        let charged = match outcome {
            Outcome::Answered { spend, output } => {
                self.largest_answer = Some(self.largest_answer.map_or(output, |most| most.max(output)));
                if request.lands {
                    self.main_last = Some(spend);
                }
                spend
            }
            Outcome::Lost { spend } => {
                let spend = spend.unwrap_or(request.worst);
                self.estimated += spend;
                spend
            }
            Outcome::NotBilled | Outcome::NotSent => {
                self.take_back(request.note);
                Spend::ZERO
            }
        };
        self.settled += charged;
        let above = charged.usd > request.worst.usd || charged.fresh > request.worst.fresh;
        let overrun = above.then_some(Overrun { id, worst: request.worst, spend: charged });
        if above && self.enforce {
            self.phase = Phase::Sealed;
        }
        Closed { charged: Some(charged), overrun, woken: self.wake() }
    }

    /// A larger allowance, or a smaller one. An agent that was stopped may go on if there is room again.
    pub fn grow(&mut self, allowance: Allowance) -> Woken {
        self.allowance = allowance;
        if self.phase < Phase::Sealed {
            self.phase = Phase::Open;
        }
        self.wake()
    }

    /// So much of the allowance is held on the ledger, and more may come: what does not fit in it waits,
    /// and [`Account::wanted`] says for what.
    pub fn grant(&mut self, usd: Usd) -> Woken {
        self.granted = (usd < self.allowance.usd).then_some(usd);
        self.wanted = Usd::ZERO;
        self.wake()
    }

    /// No more is ever held on the ledger than is now: that is the allowance from here on, and the run
    /// lands in it.
    pub fn land(&mut self) -> Woken {
        self.allowance.usd = self.granted.take().unwrap_or(self.allowance.usd);
        self.wanted = Usd::ZERO;
        self.wake()
    }

    /// What would have to be held on the ledger for those who wait for it; nothing where nobody does.
    #[must_use]
    pub fn wanted(&self) -> Usd {
        self.wanted
    }

    /// Lets nothing leave any more. What is in flight goes on.
    pub fn seal(&mut self) -> Woken {
        self.phase = Phase::Sealed;
        self.wake()
    }

    /// What the run may spend.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// What everything that has ended cost.
    #[must_use]
    pub fn settled(&self) -> Spend {
        self.settled
    }

    /// The part of [`settled`](Self::settled) that is a bound.
    #[must_use]
    pub fn estimated(&self) -> Spend {
        self.estimated
    }

    /// Worst case of everything in flight.
    #[must_use]
    pub fn held(&self) -> Spend {
        self.held
    }

    /// How far the run is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What is in flight.
    pub fn in_flight(&self) -> impl ExactSizeIterator<Item = RequestId> + '_ {
        self.in_flight.keys().copied()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The room for what is not spent, with everything in flight at its worst.
    fn left(&self) -> Room {
        self.left_once_settled().without(self.held)
    }

    /// The room there would be if everything in flight cost nothing: the most that waiting can bring.
    fn left_once_settled(&self) -> Room {
        Room { usd: self.allowance.usd, fresh: self.allowance.fresh_tokens }.without(self.settled)
    }

    /// Lets those at the head of the queue go who have an answer now.
    fn wake(&mut self) -> Woken {
        let mut woken = Woken::new();
        while let Some((ticket, ask)) = self.queue.front().copied() {
            let decision = self.decide(&ask);
            let decision = self.within_grant(&ask, decision);
            if matches!(decision, Decision::Wait(_)) {
                break;
            }
            self.queue.pop_front();
            woken.push((ticket, self.carry_out(ask, decision, false)));
        }
        woken
    }

    /// Makes a decision true.
    fn carry_out(&mut self, ask: Ask, decision: Decision, fresh: bool) -> Decision {
        match decision {
            Decision::Send { id, note, worst, .. } => {
                self.next += 1;
                self.held += worst;
                self.in_flight.insert(id, InFlight { worst, lands: ask.lands(), note });
                match note {
                    Some(Note::Steer) => self.phase = Phase::Steered,
                    Some(Note::LastCall) => self.phase = Phase::LastCall,
                    None => {}
                }
            }
            Decision::Wait(ticket) if fresh => {
                self.next += 1;
                self.queue.push_back((ticket, ask));
            }
            Decision::Stop(Reason::Dollars | Reason::Tokens) => {
                // A sub-agent, or a call with a forced shape, that may not touch the landing reserve does
                // not end the conversation which the reserve is for.
                if ask.lands() || self.main_ask.is_none() {
                    self.phase = self.phase.max(Phase::Stopped);
                }
            }
            Decision::Wait(_) | Decision::Count | Decision::Stop(_) => {}
        }
        decision
    }

    /// A note that went with a request which brought no answer was not heard.
    fn take_back(&mut self, note: Option<Note>) {
        match (note, self.phase) {
            (Some(Note::LastCall), Phase::LastCall) => self.phase = Phase::Steered,
            (Some(Note::Steer), Phase::Steered) => self.phase = Phase::Open,
            _ => {}
        }
    }
}
