//! What is found on the ledger for some bills, and what of it is put on record.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Provider;
use super::bill::Billed;
use super::compare::{Comparison, Correction, Kept};
use crate::id::HoldId;
use crate::ledger::decide::Refusal;
use crate::ledger::event::{Bill, Kind, Note};
use crate::ledger::store::{Store, StoreError};
use crate::pipeline::books;
use crate::report::spend::runs::{Passed, Run, Runs};

/// What was found: each provider's comparison, and what is to be done about the holds without evidence.
pub(super) struct Found {
    pub(super) comparison: Comparison,
    pub(super) corrections: Vec<Correction>,
    pub(super) kept: Vec<Kept>,
}

impl Found {
    /// Leaves everything as it is: the ledger says which model served, and not whom it was bought from.
    pub(super) fn keep(&mut self) {
        self.kept.extend(self.corrections.drain(..).map(|Correction { hold, charged, .. }| Kept {
            hold,
            charged: charged.usd,
            why: "it may have gone through a cloud or a reseller, whose bills are not read; `--first-party` says \
                  that nothing did"
                .to_owned(),
        }));
    }
}

/// What was put on record.
#[derive(Clone, Copy)]
pub(super) struct Recorded {
    pub(super) days: usize,
    pub(super) corrections: usize,
}

/// The bills against the ledger as it stands.
pub(super) fn compare(
    store: &Store,
    bills: &[(Provider, Billed)],
    span: (Date, Date),
) -> anyhow::Result<Vec<Found>> {
    let now = store.now();
    let with = |(provider, billed): &(Provider, Billed)| Comparison::with(*provider, billed, span, now);
    let mut all: Vec<Comparison> = bills.iter().map(with).collect();
    each_run(store, span.0, |run| all.iter_mut().for_each(|comparison| comparison.take(run)))?;
    let found = |comparison: &Comparison| {
        let mut found = Found { comparison: comparison.clone(), corrections: Vec::new(), kept: Vec::new() };
        for judged in comparison.judge(&all) {
            match judged {
                Ok(correction) => found.corrections.push(correction),
                Err(kept) => found.kept.push(kept),
            }
        }
        found
    };
    Ok(all.iter().map(found).collect())
}

/// Every run that began on the first day or later, as it stands.
fn each_run(store: &Store, first: Date, mut each: impl FnMut(&Run)) -> anyhow::Result<()> {
    let since = TimeZone::UTC.to_timestamp(first.at(0, 0, 0, 0)).ok();
    let mut runs = Runs::default();
    for event in store.events(since).map_err(books::unavailable)? {
        runs.take(event.map_err(books::unavailable)?);
    }
    let known = match runs.finish() {
        Ok((_, known)) | Err(known) => known,
    };
    let mut runs = Runs::knowing(known);
    for event in store.events(since).map_err(books::unavailable)? {
        if let Some(Passed::Run(run)) = runs.take(event.map_err(books::unavailable)?) {
            each(&run);
        }
    }
    Ok(())
}

/// Corrects what can be corrected, and then puts complete days on record, as they are after that, unless they
/// are there already. A correction that cannot be made after all is one that is kept.
pub(super) fn record(
    store: &Store,
    bills: &[(Provider, Billed)],
    span: (Date, Date),
    all: &mut [Found],
) -> anyhow::Result<Recorded> {
    let mut corrections = 0;
    for Found { corrections: found, kept, .. } in all.iter_mut() {
        for correction in std::mem::take(found) {
            if correct(store, &correction)? {
                corrections += 1;
                found.push(correction);
            } else {
                let (hold, charged) = (correction.hold, correction.charged.usd);
                let why = "somebody else has corrected it meanwhile".to_owned();
                kept.push(Kept { hold, charged, why });
            }
        }
    }
    let mut there = recorded_bills(store, span.0)?;
    let mut days = 0;
    for Found { comparison, .. } in compare(store, bills, span)? {
        for bill in comparison.bills() {
            let key = HoldId::from_text(&format!("bill/{}/{}", bill.provider, bill.day));
            if there.get(&key) != Some(&bill) {
                store.note(&key, Note::Bill(bill.clone())).map_err(books::unavailable)?;
                there.insert(key, bill);
                days += 1;
            }
        }
    }
    Ok(Recorded { days, corrections })
}

/// Makes a correction, where the hold is still what it was found to be: its run may have settled late, or a
/// person may have corrected it, while the bills were read. The ledger says so, at the moment of the correction.
fn correct(store: &Store, correction: &Correction) -> anyhow::Result<bool> {
    let Correction { hold, charged, evidence, .. } = correction;
    match store.correct(hold, charged, &correction.spend(), evidence) {
        Ok(_) => Ok(true),
        Err(StoreError::Refused(Refusal::Changed { .. })) => Ok(false),
        Err(error) => Err(books::unavailable(error)),
    }
}

/// The bills that are on record, the last one of each day.
fn recorded_bills(store: &Store, first: Date) -> anyhow::Result<BTreeMap<HoldId, Bill>> {
    let since = TimeZone::UTC.to_timestamp(first.at(0, 0, 0, 0)).ok();
    let mut there = BTreeMap::new();
    for event in store.events(since).map_err(books::unavailable)? {
        let event = event.map_err(books::unavailable)?;
        if let Kind::Note(Note::Bill(bill)) = event.kind {
            there.insert(event.hold, bill);
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;
    use crate::ledger::store::Options;
    use crate::ledger::{About, Request, Spend};
    use crate::money::Usd;

    #[test]
    fn a_hold_that_has_changed_since_it_was_compared_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Options::default()).expect("a ledger");
        let usd = |text: &str| text.parse::<Usd>().expect(text);
        for name in ["late", "adjusted", "same"] {
            let request = Request {
                hold: HoldId::from_text(name),
                claim: name.to_owned(),
                want: usd("2"),
                least: usd("1"),
                limits: Vec::new(),
                purses: vec!["repo".to_owned()],
                expires: store.now() + 1.hour(),
                about: About::default(),
                lift: None,
            };
            store.reserve(&request).expect("granted");
            store.expire(&request.hold, None).expect("charged");
        }
        let charged = Spend { usd: usd("2"), estimated: usd("2"), ..Spend::default() };
        let spent = Spend { usd: usd("1.5"), ..Spend::default() };
        store.settle(&HoldId::from_text("late"), &spent).expect("late");
        // To the same amount, which a person has seen on an invoice.
        let invoice = Spend { usd: usd("2"), ..Spend::default() };
        store.adjust(&HoldId::from_text("adjusted"), &invoice, "an invoice").expect("adjusted");
        for (name, done, expected) in
            [("late", false, "1.5"), ("adjusted", false, "2"), ("same", true, "0.25")]
        {
            let hold = HoldId::from_text(name);
            let evidence = "a bill".to_owned();
            let correction =
                Correction { hold: hold.clone(), charged: charged.clone(), at_most: usd("0.25"), evidence };
            assert_eq!(correct(&store, &correction).expect("a ledger"), done, "{name}");
            assert_eq!(store.hold(&hold).expect("read").expect("there").spend.usd, usd(expected), "{name}");
        }
    }
}
