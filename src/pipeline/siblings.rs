//! Other runs of the same workflow run, as the ledger knows them: parallel jobs and matrices share one
//! comment, so each of them shows what all of them have cost.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::books;
use crate::id::HoldId;
use crate::ledger::Spend;
use crate::ledger::event::Kind;
use crate::ledger::store::Store;
use crate::money::Usd;
use crate::report::around::Sibling;

/// How far back runs of the same workflow run are looked for.
const WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// The most that are shown.
const SHOWN_MAX: usize = 50;
/// Parts of a hold's key before the job: host, repository, run, attempt.
const PARTS: usize = 4;

/// The other runs that have this hold's workflow run and attempt, by job.
///
/// # Errors
/// When the ledger cannot be read.
pub(super) fn of(store: &Store, own: &HoldId, now: Timestamp) -> anyhow::Result<Vec<Sibling>> {
    let Some((run, _)) = split(own) else { return Ok(Vec::new()) };
    let mut found: BTreeMap<HoldId, Sibling> = BTreeMap::new();
    let since = now.saturating_sub(WITHIN).unwrap_or(Timestamp::UNIX_EPOCH);
    for event in store.events(Some(since)).map_err(books::unavailable)? {
        let event = event.map_err(books::unavailable)?;
        let Some((_, job)) = split(&event.hold).filter(|(other, _)| *other == run && event.hold != *own)
        else {
            continue;
        };
        match event.kind {
            Kind::Reserve(terms) => {
                let (job, held) = (job.to_owned(), Some(terms.cap));
                let about = terms.about;
                let sibling = Sibling {
                    job,
                    task: about.task,
                    model: about.model,
                    held,
                    spent: Default::default(),
                    notional: Usd::ZERO,
                };
                found.insert(event.hold, sibling);
            }
            Kind::Settle(settle) => over(&mut found, &event.hold, &settle.spend),
            Kind::Expire(expire) => over(&mut found, &event.hold, &expire.spend),
            Kind::Adjust(adjust) => over(&mut found, &event.hold, &adjust.spend),
            Kind::Void(_) => {
                found.remove(&event.hold);
            }
            Kind::Extend(extend) => {
                if let Some(sibling) = found.get_mut(&event.hold) {
                    sibling.held = Some(extend.cap);
                }
            }
            Kind::Refuse(_) | Kind::Note(_) => {}
        }
    }
    let mut siblings: Vec<Sibling> = found.into_values().collect();
    siblings.sort_by(|one, other| one.job.cmp(&other.job));
    siblings.truncate(SHOWN_MAX);
    Ok(siblings)
}

/// The part of a key that names the workflow run, and its job.
fn split(hold: &HoldId) -> Option<(&str, &str)> {
    let text = hold.as_str();
    let (end, _) = text.match_indices('/').nth(PARTS - 1)?;
    let job = text[end + 1..].split('/').next()?;
    Some((&text[..end], job))
}

fn over(found: &mut BTreeMap<HoldId, Sibling>, hold: &HoldId, spend: &Spend) {
    let Some(sibling) = found.get_mut(hold) else { return };
    sibling.held = None;
    sibling.spent = (spend.usd, 0, 0, 0);
    sibling.notional = spend.notional;
    for model in &spend.models {
        sibling.spent.1 += model.tokens.prompt();
        sibling.spent.2 += model.tokens.cache_read;
        sibling.spent.3 += model.tokens.output;
    }
}
