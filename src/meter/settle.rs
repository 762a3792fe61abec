//! What a request turned out to cost: the usage that was read from its answer, at the prices of the
//! instant it was admitted, or its bound where the usage never came.

use std::sync::Arc;

use super::account::{Outcome, Spend};
use super::bound::Bounded;
use super::journal::Entry;
use super::state::{Admitted, State};
use crate::model::ModelId;
use crate::money::Usd;
use crate::price::{Table, When};
use crate::provider::{Reader, Reading};
use crate::tokens::{Counts, Region, Usage};

/// A request that has left and waits for its usage. Dropped, it counts as lost.
pub(super) struct Charge {
    pub(super) state: Arc<State>,
    pub(super) table: &'static Table,
    pub(super) admitted: Admitted,
    pub(super) bounded: Bounded,
    pub(super) reader: Reader,
    pub(super) status: u16,
    pub(super) main_thread: bool,
}

impl Charge {
    /// The next bytes of the answer.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
    }

    /// The request broke off before its answer began.
    pub(super) fn lost(self) {
        let (outcome, entry) = self.lose(None);
        self.admitted.close(outcome, entry);
    }

    /// The answer has ended: closes the request at what it used.
    pub(super) fn settle(mut self) {
        let reading = self.reader.end(self.status);
        let (outcome, entry) = match &reading {
            Reading::Exact(usage) => self.price(usage),
            Reading::Broken { input_side } => self.lose(input_side.as_ref()),
            Reading::NotBilled => (Outcome::NotBilled, None),
        };
        if matches!(reading, Reading::Exact(_)) && self.main_thread {
            let text = self.reader.text_tail();
            if !text.trim().is_empty() {
                self.state.say_last(text);
            }
        }
        self.admitted.close(outcome, entry);
    }

    /// What a usage costs. A line whose model or terms have no price counts at the dearest there is: it
    /// was spent, whatever it was called.
    fn price(&self, usage: &Usage) -> (Outcome, Option<Entry>) {
        let (cost, named) = match self.table.cost(usage, self.bounded.when) {
            Ok(cost) => (cost, usage.clone()),
            Err(unpriced) => {
                self.state.note(&format!("{unpriced}; it counted at the dearest price there is"));
                let dearest = at_dearest(usage, self.table, self.bounded.when);
                match self.table.cost(&dearest, self.bounded.when) {
                    Ok(cost) => (cost, dearest),
                    Err(_) => return self.lose(None),
                }
            }
        };
        if cost.reckoned.is_some() {
            let model = cost.lines.first().map_or(&self.bounded.model, |(model, ..)| model);
            self.state.note(&format!(
                "the provider says of `{model}` what it charges; that is not what the price table makes of it, and counted"
            ));
        }
        self.learn(&named);
        let fresh = if usage.unbilled { 0 } else { usage.counts().fresh() };
        let output = self.reader.answer_tokens().unwrap_or(usage.counts().output);
        let spend = self.charged(Spend { usd: cost.usd, fresh });
        (Outcome::Answered { spend, output }, Some(self.entry(cost.usd, cost.lines, usage.web_searches)))
    }

    /// What counts when the usage never came: the input side where it is known and final, and the bound
    /// of all that is not known.
    fn lose(&self, input_side: Option<&Usage>) -> (Outcome, Option<Entry>) {
        let known = input_side.filter(|_| self.bounded.one_sampling).and_then(|usage| {
            let cost = self.table.cost(usage, self.bounded.when).ok()?;
            let worst = self.bounded.notional.unwrap_or(self.bounded.worst);
            let output = worst.at(self.admitted.output).minus_or_zero(worst.fixed);
            let spend = Spend { usd: cost.usd, fresh: usage.counts().fresh() } + output;
            Some((self.charged(spend), self.entry(spend.usd, cost.lines, usage.web_searches)))
        });
        match known {
            Some((spend, entry)) => (Outcome::Lost { spend: Some(spend) }, Some(entry)),
            None => (Outcome::Lost { spend: None }, None),
        }
    }

    /// What is charged of a spend: where a subscription pays for it, no dollars.
    fn charged(&self, spend: Spend) -> Spend {
        if self.bounded.notional.is_some() { Spend { usd: Usd::ZERO, ..spend } } else { spend }
    }

    fn entry(&self, usd: Usd, lines: Vec<(ModelId, Counts, Usd)>, web_searches: u64) -> Entry {
        Entry { usd, lines, web_searches, notional: self.bounded.notional.is_some() }
    }

    /// Counts that turn out larger than they were said to be widen the margin of the next ones; where the
    /// provider serves what names no region is the same for all of a run, since its key is.
    fn learn(&self, usage: &Usage) {
        if self.bounded.region_open && usage.lines.iter().all(|line| line.terms.region == Region::Global) {
            self.state.learn_region();
        }
        let prompt = usage.lines.first().map_or(0, |line| line.counts.prompt());
        if self.bounded.counted && self.bounded.one_sampling && prompt > self.bounded.input {
            self.state.widen_count_margin(prompt - self.bounded.input);
        }
    }
}

/// The same usage, as if the dearest model had served all of it on standard terms.
fn at_dearest(usage: &Usage, table: &Table, when: When) -> Usage {
    let mut dearest = usage.clone();
    for line in &mut dearest.lines {
        let one = Usage { lines: vec![line.clone()], ..Usage::default() };
        if table.cost(&one, when).is_err() {
            line.model = table.dearest_known().id.clone();
            line.terms = crate::tokens::Terms::default();
        }
    }
    dearest
}
