//! What becomes of one request, as a function of the account.

use super::{
    Account, Ask, Decision, FIRST_ANSWER_OUTPUT, Input, Note, Reason, RequestId, Room, Spend, Ticket, Worst,
};
use crate::meter::Phase;
use crate::money::Usd;

/// By which part of itself a context is taken to grow until the next request: one sixteenth.
const GROWTH_DIVISOR: u32 = 16;

impl Account {
    /// Remembers what a request says of the conversation, before anything is decided about it.
    pub(super) fn learn(&mut self, ask: &Ask) {
        // Whoever's request was counted: their texts are alike, and where the main thread's own context was
        // never counted, its reserve would stay at one token a byte while its sub-agents need the room.
        if let Input::Counted { sized } = ask.input {
            self.shrink = Some((ask.worst.fixed, sized));
        }
        if ask.lands() {
            self.main_ask = Some(*ask);
        }
    }

    /// The landing reserve as things stand; `None` before the main thread has asked for anything.
    pub(super) fn landing(&self) -> Option<Spend> {
        self.main_ask.map(|ask| self.landing_after(&ask))
    }

    /// Decides, and changes nothing. The ids in the answer are the next ones.
    pub(super) fn decide(&self, ask: &Ask) -> Decision {
        if self.phase == Phase::Sealed {
            return Decision::Stop(Reason::Sealed);
        }
        if !self.enforce {
            return self.send(ask, ask.output_asked, None);
        }
        if self.phase >= Phase::LastCall {
            return Decision::Stop(self.short_of(ask));
        }
        let (left, best) = (self.left(), self.left_once_settled());
        let steer = self.steering(ask);
        if self.goes_freely(ask, left, ask.output_asked) && !(steer && ask.input == Input::Sized) {
            let steered = ask.worst.plus(ask.note.unwrap_or_default()).at(ask.output_asked);
            let note = (steer && left.holds(steered)).then_some(Note::Steer);
            return self.send(ask, ask.output_asked, note);
        }
        if ask.input == Input::Sized {
            return Decision::Count;
        }
        let others = !self.in_flight.is_empty();
        if others && self.goes_freely(ask, best, ask.output_asked) {
            return self.wait();
        }
        let roomy = ask.clamp(self.roomy_output());
        if self.goes_freely(ask, left, roomy) {
            return self.send_lowered(ask, left, roomy, steer);
        }
        if others && (self.goes_freely(ask, best, roomy) || self.lands_within(ask, best).is_some()) {
            return self.wait();
        }
        match self.lands_within(ask, left) {
            Some(output) => self.send(ask, output, Some(Note::LastCall)),
            None => Decision::Stop(self.short_of(ask)),
        }
    }

    /// Lets a request wait that the allowance has room for, and what is held of it on the ledger has not.
    ///
    /// Room is asked for as the cap would be: with the next answer and the landing reserve, so that an
    /// agent that gets no more can still be given its last answer.
    pub(super) fn within_grant(&mut self, ask: &Ask, decision: Decision) -> Decision {
        let (Decision::Send { output, note, worst, .. }, Some(granted)) = (decision, self.granted) else {
            return decision;
        };
        let taken = self.settled.usd + self.held.usd;
        let ahead = match note {
            Some(Note::LastCall) => Usd::ZERO,
            Some(Note::Steer) | None => self.ahead(ask, output),
        };
        let needed = (taken + worst.usd.max(ahead)).min(self.allowance.usd);
        if needed <= granted {
            return decision;
        }
        // What is counted asks for less.
        if ask.input == Input::Sized {
            return Decision::Count;
        }
        self.wanted = self.wanted.max(needed);
        self.wait()
    }

    /// What a request leads to: its likely cost and the landing reserve after it.
    fn ahead(&self, ask: &Ask, output: u64) -> Usd {
        if !ask.lands() {
            return ask.worst.at(output).usd + self.landing().unwrap_or_default().usd;
        }
        (self.main_last.unwrap_or_else(|| self.likely_input(ask)) + self.landing_after(ask)).usd
    }

    fn wait(&self) -> Decision {
        Decision::Wait(Ticket(self.next))
    }

    fn send(&self, ask: &Ask, output: u64, note: Option<Note>) -> Decision {
        let added = if note.is_some() { ask.note.unwrap_or_default() } else { Spend::ZERO };
        let worst = ask.worst.plus(added).at(output);
        Decision::Send { id: RequestId(self.next), output, note, worst }
    }

    /// Whether a request may leave with `output` without being the last: its worst case fits in `room`,
    /// and one more answer is likely to fit after it.
    ///
    /// "Likely", because the next answer is set against what such a request has cost, not against its
    /// worst case: with a large context that is read from the cache the two are a factor of twelve apart.
    /// The promise on the cap does not lean on it; only the last call does.
    fn goes_freely(&self, ask: &Ask, room: Room, output: u64) -> bool {
        if !ask.lands() {
            return room.without(self.landing().unwrap_or_default()).holds(ask.worst.at(output));
        }
        let likely = self.main_last.unwrap_or_else(|| self.likely_input(ask));
        room.holds(ask.worst.at(output)) && room.holds(likely + self.landing_after(ask))
    }

    /// Sends with the largest output cap that fits, of which it is known that `roomy` does.
    fn send_lowered(&self, ask: &Ask, left: Room, roomy: u64, steer: bool) -> Decision {
        let reserve = if ask.lands() { Spend::ZERO } else { self.landing().unwrap_or_default() };
        let room = left.without(reserve);
        let within = |worst: Worst| worst.output_within(room).filter(|output| *output >= roomy);
        if steer && let Some(output) = within(ask.worst.plus(ask.note.unwrap_or_default())) {
            return self.send(ask, output.min(ask.output_asked), Some(Note::Steer));
        }
        let output = within(ask.worst).unwrap_or(roomy);
        self.send(ask, output.min(ask.output_asked), None)
    }

    /// The output cap of a last answer in `room`, if one fits.
    fn lands_within(&self, ask: &Ask, room: Room) -> Option<u64> {
        let note = ask.note.filter(|_| ask.lands())?;
        let most = ask.worst.plus(note).output_within(room)?.min(ask.output_asked);
        (most >= ask.clamp(self.one_answer())).then_some(most)
    }

    /// Whether it is time to tell the agent to wrap up.
    fn steering(&self, ask: &Ask) -> bool {
        let Some(percent) = self.steer_at.filter(|_| ask.lands() && self.phase == Phase::Open) else {
            return false;
        };
        let near = self.settled + self.landing_after(ask);
        let by_fresh = self
            .allowance
            .fresh_tokens
            .is_some_and(|cap| u128::from(near.fresh) * 100 >= u128::from(cap) * u128::from(percent));
        // A run that spends no dollars is not near the end of them.
        let by_usd = self.allowance.usd > Usd::ZERO && near.usd >= self.allowance.usd.percent(percent);
        by_fresh || by_usd
    }

    /// The landing reserve after `ask`: one more answer over its context, grown a little.
    fn landing_after(&self, ask: &Ask) -> Spend {
        let input = self.likely_input(ask);
        let answer = ask.worst.at(ask.clamp(self.one_answer())).minus_or_zero(ask.worst.fixed);
        input + input.divided(GROWTH_DIVISOR) + ask.note.unwrap_or_default() + answer
    }

    /// The input side's bound; where it is by size only, in the proportion that counting has shown.
    fn likely_input(&self, ask: &Ask) -> Spend {
        match (ask.input, self.shrink) {
            (Input::Sized, Some((counted, sized))) => ask.worst.fixed.scaled(counted, sized),
            _ => ask.worst.fixed,
        }
    }

    /// The least an output cap is lowered to, in tokens.
    fn roomy_output(&self) -> u64 {
        self.largest_answer.map_or(FIRST_ANSWER_OUTPUT, |most| most.saturating_mul(2))
    }

    /// An output cap that every answer of this run has fitted into, in tokens.
    fn one_answer(&self) -> u64 {
        self.largest_answer.unwrap_or(FIRST_ANSWER_OUTPUT)
    }

    /// Which part of the allowance a stopped request is short of.
    fn short_of(&self, ask: &Ask) -> Reason {
        let least = ask.worst.at(ask.clamp(self.one_answer()));
        let whole = Room { usd: self.allowance.usd, fresh: self.allowance.fresh_tokens };
        if self.phase < Phase::LastCall && !whole.holds(least) {
            return Reason::LargerThanCap;
        }
        if least.usd > self.left().usd || self.allowance.fresh_tokens.is_none() {
            return Reason::Dollars;
        }
        if self.left().holds(least) { self.nearer_cap() } else { Reason::Tokens }
    }

    /// The cap of which the larger share is spent.
    fn nearer_cap(&self) -> Reason {
        let Some(cap) = self.allowance.fresh_tokens else { return Reason::Dollars };
        if self.allowance.usd == Usd::ZERO {
            return Reason::Tokens;
        }
        let by_usd = self.settled.usd.percent_of(self.allowance.usd);
        let by_fresh = u128::from(self.settled.fresh) * 100 / u128::from(cap.max(1));
        if by_fresh > u128::from(by_usd) { Reason::Tokens } else { Reason::Dollars }
    }
}
