//! What the ledger has for each day, against the bill; and what of the unproven can be corrected. Pure.
//!
//! A bill is a whole organization's, so it is a ceiling of what runs on the ledger can have spent, never
//! their spend: as long as nothing went through a cloud or a reseller, which the ledger does not tell. That is enough to correct a hold that was charged in full because its run died: it cannot
//! have cost more than the bill of its days, less what is proven of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

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
    /// The provider has said something of this day, and be it that there was nothing.
    returned: bool,
    /// What is proven of the runs that began on it.
    proven: Usd,
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
    pub(super) charged: Spend,
    pub(super) at_most: Usd,
    pub(super) evidence: String,
}

/// A hold that was charged without evidence, and why that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) hold: HoldId,
    pub(super) charged: Usd,
    pub(super) why: String,
}

/// The comparison of some days with one provider's bill.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) provider: Provider,
    pub(super) days: BTreeMap<Date, Day>,
    unproven: Vec<Run>,
    /// From when to when each proven run was, and what it cost.
    proven: Vec<(Date, Date, Usd)>,
    /// Of whom else the ledger has spend on these days.
    others: BTreeSet<String>,
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
    /// A comparison of the days from `first` to before `end` with a bill.
    pub(super) fn with(
        provider: Provider,
        billed: &Billed,
        (first, end): (Date, Date),
        now: Timestamp,
    ) -> Self {
        let mut days = BTreeMap::new();
        for date in first.series(1.day()).take_while(|date| *date < end) {
            let mut found = Day { returned: billed.contains_key(&date), ..Day::default() };
            for (model, usd) in billed.get(&date).into_iter().flatten() {
                found.models.entry(known(model).0).or_default().billed += *usd;
            }
            let over =
                date.tomorrow().ok().and_then(|next| TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok());
            found.preliminary = over.is_none_or(|over| now.duration_since(over) < SETTLED_AFTER);
            days.insert(date, found);
        }
        Self { provider, days, unproven: Vec::new(), proven: Vec::new(), others: BTreeSet::new() }
    }

    /// Takes a run in, if it began on one of the days; what it spent counts on the day it began.
    pub(super) fn take(&mut self, run: &Run) {
        let began = day(run.reserved);
        let Some(found) = self.days.get_mut(&began) else { return };
        let rest = run.spend.models.iter().fold(run.spend.usd, |rest, spent| rest - spent.usd);
        let rest = Some((&run.about.model, rest)).filter(|(_, rest)| *rest > Usd::ZERO);
        let models = run.spend.models.iter().map(|spent| (&spent.model, spent.usd));
        let mut own = Usd::ZERO;
        for (model, usd, is_rest) in models.map(|(m, u)| (m, u, false)).chain(rest.map(|(m, u)| (m, u, true)))
        {
            let (name, seller) = known(model);
            if seller == Some(self.provider) {
                let cell = found.models.entry(name).or_default();
                cell.ledger += usd;
                if is_rest && run.unproven {
                    cell.unproven += usd;
                }
                own += usd;
            } else if usd > Usd::ZERO {
                self.others.insert(seller.map_or(name, |seller| seller.name().to_owned()));
            }
        }
        let routed = known(&run.about.model).1 == Some(self.provider);
        match run.closed {
            Some(_) if run.unproven && routed => self.unproven.push(run.clone()),
            Some(closed) if !run.unproven => {
                let proven = own.minus_or_zero(run.spend.estimated);
                found.proven += proven;
                self.proven.push((began, day(closed), proven));
            }
            _ => {}
        }
    }

    /// What is to be done about each unproven hold of this provider; `all` are the comparisons with every bill
    /// that was read.
    pub(super) fn judge(&self, all: &[Comparison]) -> Vec<Result<Correction, Kept>> {
        let judged = |run: &Run| {
            let (hold, charged) = (run.hold.clone(), run.spend.clone());
            match self.most(run, all) {
                Ok((at_most, evidence)) if at_most < charged.usd => {
                    Ok(Correction { hold, charged, at_most, evidence })
                }
                Ok((_, evidence)) => Err(Kept {
                    hold,
                    charged: charged.usd,
                    why: format!("{evidence}, which leaves room for all of it"),
                }),
                Err(why) => Err(Kept { hold, charged: charged.usd, why }),
            }
        };
        self.unproven.iter().map(judged).collect()
    }

    /// The most that an unproven run can have cost, and how that is known; or why it is not known.
    fn most(&self, run: &Run, all: &[Comparison]) -> Result<(Usd, String), String> {
        // A hold that expired says nothing of what its run has called: it may have been anybody's model whose
        // key it had.
        let unread = self.others.iter().find(|name| !all.iter().any(|one| one.provider.name() == *name));
        if let Some(name) = unread {
            return Err(format!(
                "the ledger has spend of {name} on these days as well, whose bill was not read"
            ));
        }
        let reached = all.iter().filter(|one| self.others.contains(one.provider.name()));
        let (mut at_most, mut evidence) = (Usd::ZERO, Vec::new());
        for one in std::iter::once(self).chain(reached) {
            let (left, said) = one.left(day(run.reserved), day(run.closed.unwrap_or(run.reserved)))?;
            at_most += left;
            evidence.push(said);
        }
        Ok((at_most, evidence.join("; ")))
    }

    /// The most that this provider's bill leaves for what is not proven of some days, and how that is known.
    fn left(&self, from: Date, to: Date) -> Result<(Usd, String), String> {
        let name = self.provider.name();
        let mut billed = Usd::ZERO;
        for date in from.series(1.day()).take_while(|date| *date <= to) {
            billed += self.confirmed(date)? + ROUNDING;
        }
        let within = self.proven.iter().filter(|(began, ended, _)| *began >= from && *ended <= to);
        let proven: Usd = within.map(|(_, _, usd)| *usd).sum();
        let days = if from == to { from.to_string() } else { format!("{from} to {to}") };
        let said =
            format!("the bill of {name} for {days} is ${billed} at most, and ${proven} of it is proven");
        Ok((billed.minus_or_zero(proven), said))
    }

    /// The bill of a day that is the ledger's own for sure: a bill of somebody else's, or none, says nothing.
    fn confirmed(&self, date: Date) -> Result<Usd, String> {
        let name = self.provider.name();
        let Some(found) = self.days.get(&date) else { return Err(format!("{date} was not compared")) };
        let (billed, proven) = (found.total().billed, found.proven);
        if !found.returned {
            return Err(format!("{name} returned no bill for {date}"));
        }
        if found.preliminary {
            return Err(format!("the bill of {name} for {date} may still grow"));
        }
        if proven <= Usd::ZERO {
            return Err(format!(
                "nothing on the ledger is proven for {date}, so that the bill of {name} may be of another account"
            ));
        }
        // Nothing is ever corrected to nothing: a bill that leaves no room at all lacks something.
        if billed <= Usd::ZERO || billed + ROUNDING <= proven {
            return Err(format!(
                "the bill of {name} for {date} is ${billed}, which lacks the ${proven} that is proven"
            ));
        }
        Ok(billed)
    }

    /// The days as they are put on record: those whose bill is complete.
    pub(super) fn bills(&self) -> Vec<Bill> {
        let complete = self.days.iter().filter(|(_, day)| !day.preliminary);
        let bill = |(date, day): (&Date, &Day)| {
            let total = day.total();
            let models = day.models.iter().map(|(model, cell)| BilledModel {
                model: model.clone(),
                billed: cell.billed,
                ledger: cell.ledger,
            });
            Bill {
                provider: self.provider.name().to_owned(),
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
