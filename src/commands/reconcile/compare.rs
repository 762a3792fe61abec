//! What the ledger has for each day, against the bill; and what of the unproven can be corrected. Pure.
//!
//! A bill is a whole organization's, so it is a ceiling of what runs on the ledger can have spent, never
//! their spend. That is enough to correct a hold that was charged in full because its run died: it cannot
//! have cost more than the bill of its days, less what is proven of them.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Provider;
use super::bill::Billed;
use crate::id::HoldId;
use crate::ledger::Spend;
use crate::ledger::event::{Bill, BilledModel};
use crate::model::ModelId;
use crate::money::Usd;
use crate::price::Table;
use crate::report::spend::runs::Run;

/// How long after its end a day's bill is taken for complete.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// What the rounding of a bill may hide on one day.
const ROUNDING: Usd = Usd::from_pico(10_000_000_000);

/// One model on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) billed: Usd,
    pub(super) ledger: Usd,
    /// The part of the ledger's that is a bound without evidence.
    pub(super) unproven: Usd,
}

/// One day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) models: BTreeMap<String, Cell>,
    /// The bill may still grow.
    pub(super) preliminary: bool,
}

impl Day {
    pub(super) fn total(&self) -> Cell {
        self.models.values().fold(Cell::default(), |sum, cell| Cell {
            billed: sum.billed + cell.billed,
            ledger: sum.ledger + cell.ledger,
            unproven: sum.unproven + cell.unproven,
        })
    }
}

/// A hold that was charged without evidence, and the most that it can have cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Correction {
    pub(super) hold: HoldId,
    pub(super) charged: Usd,
    pub(super) at_most: Usd,
    pub(super) evidence: String,
}

/// The comparison of some days.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) days: BTreeMap<Date, Day>,
    unproven: Vec<Run>,
    /// From when to when each proven run was, and what it cost.
    proven: Vec<(Date, Date, Usd)>,
}

fn day(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

/// A model under the name that the price table keeps it by, and who sells it.
fn known(model: &str) -> (String, Option<Provider>) {
    // A bill of OpenAI's may say `gpt-4o mini` in other letters than requests do.
    let id = model.trim().to_ascii_lowercase().replace(' ', "-");
    match Table::embedded().find(&ModelId::new(&id)) {
        Some(found) => (found.id.as_str().to_owned(), Provider::of(found.provider)),
        None => (model.to_owned(), Provider::by_name(&id)),
    }
}

impl Comparison {
    /// A comparison with the days of a bill.
    pub(super) fn with(billed: &Billed, now: Timestamp) -> Self {
        let mut this = Self::default();
        for (day, models) in billed {
            for (model, usd) in models {
                let name = known(model).0;
                this.days.entry(*day).or_default().models.entry(name).or_default().billed += *usd;
            }
        }
        for (day, found) in &mut this.days {
            let end =
                day.tomorrow().ok().and_then(|next| TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok());
            found.preliminary = end.is_none_or(|end| now.duration_since(end) < SETTLED_AFTER);
        }
        this
    }

    /// Takes a run in, if it began on one of the days; what it spent counts on the day it began.
    pub(super) fn take(&mut self, run: &Run, provider: Provider) {
        let began = day(run.reserved);
        let Some(found) = self.days.get_mut(&began) else { return };
        let mut rest = run.spend.usd;
        let mut own = Usd::ZERO;
        for spent in &run.spend.models {
            rest -= spent.usd;
            let (name, seller) = known(&spent.model);
            if seller == Some(provider) {
                found.models.entry(name).or_default().ledger += spent.usd;
                own += spent.usd;
            }
        }
        let (name, seller) = known(&run.about.model);
        let routed = seller == Some(provider);
        if routed && rest > Usd::ZERO {
            let cell = found.models.entry(name).or_default();
            cell.ledger += rest;
            if run.unproven {
                cell.unproven += rest;
            }
            own += rest;
        }
        match run.closed {
            Some(_) if run.unproven && routed => self.unproven.push(run.clone()),
            Some(closed) if !run.unproven => {
                self.proven.push((began, day(closed), own - run.spend.estimated))
            }
            _ => {}
        }
    }

    /// The unproven holds that the bill shows to be charged too much.
    pub(super) fn corrections(&self, provider: Provider) -> Vec<Correction> {
        let correction = |run: &Run| {
            let (from, to) = (day(run.reserved), day(run.closed?));
            let mut billed = Usd::ZERO;
            let mut date = from;
            while date <= to {
                let found = self.days.get(&date)?;
                let total = found.total();
                // A bill that lacks what is proven lacks something, and says nothing about the rest.
                let complete = total.billed + ROUNDING >= total.ledger - total.unproven;
                if found.preliminary || !complete {
                    return None;
                }
                billed += total.billed + ROUNDING;
                date = date.tomorrow().ok()?;
            }
            let within = self.proven.iter().filter(|(began, ended, _)| *began >= from && *ended <= to);
            let proven: Usd = within.map(|(_, _, usd)| (*usd).max(Usd::ZERO)).sum();
            let at_most = billed.minus_or_zero(proven);
            let days = if from == to { from.to_string() } else { format!("{from} to {to}") };
            let name = provider.name();
            let evidence =
                format!("the bill of {name} for {days} is ${billed} at most, and ${proven} of it is proven");
            let (hold, charged) = (run.hold.clone(), run.spend.usd);
            (at_most < charged).then_some(Correction { hold, charged, at_most, evidence })
        };
        self.unproven.iter().filter_map(correction).collect()
    }

    /// The days as they are put on record: those whose bill is complete.
    pub(super) fn bills(&self, provider: Provider) -> Vec<Bill> {
        let complete = self.days.iter().filter(|(_, day)| !day.preliminary);
        let bill = |(date, day): (&Date, &Day)| {
            let total = day.total();
            let models = day.models.iter().map(|(model, cell)| BilledModel {
                model: model.clone(),
                billed: cell.billed,
                ledger: cell.ledger,
            });
            Bill {
                provider: provider.name().to_owned(),
                day: date.to_string(),
                billed: total.billed,
                ledger: total.ledger,
                unproven: total.unproven,
                models: models.collect(),
            }
        };
        complete.map(bill).collect()
    }
}

impl Correction {
    /// What the hold is to be charged: a bound, still.
    pub(super) fn spend(&self) -> Spend {
        Spend { usd: self.at_most, estimated: self.at_most, ..Spend::default() }
    }
}
