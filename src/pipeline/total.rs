//! What a pull request has cost in all: the sum that its comment tells beside the run's own.

use std::collections::BTreeMap;

use super::books;
use crate::ledger::event::Kind;
use crate::ledger::store::Store;
use crate::limits::Limits;
use crate::report::PurseTotal;

/// What a pull request has cost in all its runs, read from the ledger's events since
/// before it was opened.
///
/// # Errors
/// When the ledger cannot be read.
pub(super) fn of_pull_request(store: &Store, limits: &Limits) -> anyhow::Result<Option<PurseTotal>> {
    let Some(purse) = limits.pull_request() else { return Ok(None) };
    let mut spends = BTreeMap::new();
    for event in store.events(limits.opened).map_err(books::unavailable)? {
        let event = event.map_err(books::unavailable)?;
        let (spend, of) = match event.kind {
            Kind::Settle(settle) => (settle.spend, settle.of),
            Kind::Expire(expire) => (expire.spend, expire.of),
            // A correction says the true spend, which takes the place of what was said before.
            Kind::Adjust(adjust) => (adjust.spend, adjust.of),
            Kind::Reserve(_) | Kind::Void(_) | Kind::Refuse(_) | Kind::Extend(_) | Kind::Note(_) => continue,
        };
        if of.purses.iter().any(|own| own == purse) {
            spends.insert(event.hold, spend);
        }
    }
    let mut total = PurseTotal { runs: spends.len() as u64, ..PurseTotal::default() };
    for spend in spends.values() {
        total.usd += spend.usd;
        total.notional += spend.notional;
        for model in &spend.models {
            total.prompt += model.tokens.prompt();
            total.cache_read += model.tokens.cache_read;
            total.output += model.tokens.output;
        }
    }
    Ok(Some(total))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::id::HoldId;
    use crate::ledger::store::Options;
    use crate::ledger::{About, Request, Spend};
    use crate::money::Usd;

    #[test]
    fn what_is_older_than_the_pull_request_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Options::default()).expect("a ledger");
        let (purses, hold, usd) = (vec!["pr:17".to_owned()], HoldId::from_text("a"), Usd::from_pico(25));
        let request = Request {
            hold: hold.clone(),
            claim: "claim".to_owned(),
            want: Usd::from_dollars(1),
            least: Usd::ZERO,
            limits: Vec::new(),
            purses: purses.clone(),
            expires: store.now() + SignedDuration::from_hours(1),
            about: About::default(),
            lift: None,
        };
        store.reserve(&request).expect("an answer");
        store.settle(&hold, &Spend { usd, ..Spend::default() }).expect("settled");
        std::fs::write(folder.path().join("events/2025-01.jsonl"), "damaged\n").expect("written");
        let since = |opened| {
            let limits = Limits { purses: purses.clone(), opened, ..Limits::default() };
            of_pull_request(&store, &limits).map(|total| total.map(|total| (total.runs, total.usd)))
        };
        let lately = store.now() - SignedDuration::from_hours(1);
        assert_eq!(since(Some(lately)).expect("read"), Some((1, usd)));
        assert!(since(None).is_err(), "all events are read where nobody knows when it was opened");
    }
}
