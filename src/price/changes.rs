//! What is new in a price table: models, rates, limits, fees and names, by the days on which they hold.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::Date;

use super::rates::{Rates, Row};
use super::table::{Fees, Model, Table};
use crate::model::ModelId;
use crate::money::{Rate, Usd, group};
use crate::tokens::{Region, ServiceTier, Speed, Terms};

/// Which way something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// It costs more.
    Dearer,
    /// It costs less.
    Cheaper,
    /// It changes in another way.
    Changed,
}

impl Direction {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Added => "added",
            Direction::Removed => "removed",
            Direction::Dearer => "dearer",
            Direction::Cheaper => "cheaper",
            Direction::Changed => "changed",
        }
    }
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which way.
    pub direction: Direction,
    /// The model, or whose fee it is.
    pub what: String,
    /// The first day it holds on; `None` since ever.
    pub from: Option<Date>,
    /// The last one; `None` for good.
    pub until: Option<Date>,
    /// What was and what is.
    pub detail: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}", self.direction.as_str(), self.what)?;
        match (self.from, self.until) {
            (None, None) => {}
            (Some(from), None) => write!(f, " from {from}")?,
            (None, Some(until)) => write!(f, " until {until}")?,
            (Some(from), Some(until)) => write!(f, " from {from} until {until}")?,
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

type Kind = fn(&Rates) -> Rate;

/// The kinds of tokens, by the names that the table has for them; and the kind that costs the same where a
/// provider does not tell both apart.
const KINDS: [(&str, Kind, Option<Kind>); 9] = [
    ("input", |rates| rates.input, None),
    ("output", |rates| rates.output, None),
    ("cache_read", |rates| rates.cache_read, None),
    ("cache_write_5m", |rates| rates.cache_write_5m, None),
    ("cache_write_1h", |rates| rates.cache_write_1h, None),
    ("cache_write_30m", |rates| rates.cache_write_30m, Some(|rates| rates.cache_write_5m)),
    ("cache_write_12h", |rates| rates.cache_write_12h, Some(|rates| rates.cache_write_1h)),
    ("audio_input", |rates| rates.audio_input, Some(|rates| rates.input)),
    ("audio_cache_read", |rates| rates.audio_cache_read, Some(|rates| rates.cache_read)),
];

/// Everything that `new` says otherwise than `old`.
#[must_use]
pub fn changes(old: &Table, new: &Table) -> Vec<Change> {
    let mut found = Vec::new();
    for model in new.models() {
        match known(old, &model.id) {
            None => found.push(whole(Direction::Added, model)),
            Some(before) => {
                rates(before, model, &mut found);
                limits(before, model, &mut found);
            }
        }
    }
    let gone = old.models().iter().filter(|model| known(new, &model.id).is_none());
    found.extend(gone.map(|model| whole(Direction::Removed, model)));
    names(old, new, &mut found);
    fees(old, new, &mut found);
    found
}

/// The model that a table keeps under exactly this id.
fn known<'a>(table: &'a Table, id: &ModelId) -> Option<&'a Model> {
    table.find(id).filter(|model| model.id == *id)
}

fn whole(direction: Direction, model: &Model) -> Change {
    let first = model.rows.last().and_then(|row| row.exact(&Terms::default(), 0, false));
    let detail = first.map_or_else(String::new, |rates| {
        format!("input {}, output {}", per_mtok(rates.input), per_mtok(rates.output))
    });
    Change { direction, what: model.id.to_string(), from: None, until: None, detail }
}

/// Goes through the days on which neither table changes its price, one stretch after the other.
fn rates(before: &Model, after: &Model, found: &mut Vec<Change>) {
    let starts: BTreeSet<Option<Date>> = before.rows.iter().chain(&after.rows).map(|row| row.from).collect();
    let starts: Vec<Option<Date>> = starts.into_iter().collect();
    for (index, from) in starts.iter().enumerate() {
        let until = starts.get(index + 1).and_then(|next| next.as_ref()?.yesterday().ok());
        let day = from.or(until).unwrap_or(Date::constant(2000, 1, 1));
        let row = |model: &'_ Model| model.rows.iter().find(|row| row.holds(day)).cloned();
        let (Some(old), Some(new)) = (row(before), row(after)) else { continue };
        for (direction, detail) in of_rows(&old, &new) {
            found.push(Change { direction, what: after.id.to_string(), from: *from, until, detail });
        }
    }
}

/// What changes from one row to another: what gets dearer first, then what gets cheaper. Where other terms
/// than the standard ones change as those do, they are only named.
fn of_rows(old: &Row, new: &Row) -> Vec<(Direction, String)> {
    let mut said = Vec::new();
    let bands: BTreeSet<u64> = old.thresholds().chain(new.thresholds()).collect();
    for direction in [Direction::Added, Direction::Removed, Direction::Dearer, Direction::Cheaper] {
        let mut parts: Vec<String> = Vec::new();
        for above in &bands {
            let mut standard: Vec<&str> = Vec::new();
            let mut likewise: Vec<&str> = Vec::new();
            for (name, terms, off_peak) in all_terms() {
                if off_peak && old.off_peak.is_none() && new.off_peak.is_none() {
                    continue;
                }
                let rates = |row: &Row| row.exact(&terms, above + 1, off_peak);
                let changed: Vec<(&str, String)> = match (rates(old), rates(new)) {
                    (Some(old), Some(new)) => differing(&old, &new, direction),
                    (None, Some(new)) if direction == Direction::Added => priced(&new),
                    (Some(old), None) if direction == Direction::Removed => priced(&old),
                    _ => continue,
                };
                let kinds: Vec<&str> = changed.iter().map(|(kind, _)| *kind).collect();
                if changed.is_empty() {
                    continue;
                }
                if name == "standard" {
                    standard.clone_from(&kinds);
                } else if !standard.is_empty() && kinds.iter().all(|kind| standard.contains(kind)) {
                    likewise.push(name);
                    continue;
                }
                let of = if name == "standard" { String::new() } else { format!("{name} ") };
                let band =
                    if *above > 0 { format!("above {} ", group(u128::from(*above))) } else { String::new() };
                let list: Vec<String> =
                    changed.into_iter().map(|(kind, text)| format!("{kind} {text}")).collect();
                parts.push(format!("{of}{band}{}", list.join(", ")));
            }
            if let (Some(last), false) = (parts.last_mut(), likewise.is_empty()) {
                last.push_str(&format!(" (and at {})", likewise.join(", ")));
            }
        }
        if !parts.is_empty() {
            said.push((direction, parts.join("; ")));
        }
    }
    said
}

/// Every way of being served that has a price of its own; the standard one first.
fn all_terms() -> Vec<(&'static str, Terms, bool)> {
    let tier = |tier: ServiceTier| Terms { tier, ..Terms::default() };
    let region = |region: Region| Terms { region, ..Terms::default() };
    vec![
        ("standard", Terms::default(), false),
        ("off-peak", Terms::default(), true),
        ("batch", tier(ServiceTier::Batch), false),
        ("flex", tier(ServiceTier::Flex), false),
        ("priority", tier(ServiceTier::Priority), false),
        ("ultrafast", tier(ServiceTier::UltraFast), false),
        ("fast", Terms { speed: Speed::Fast, ..Terms::default() }, false),
        ("us", region(Region::Us), false),
        ("regional", region(Region::Regional), false),
        ("us-gov", region(Region::UsGov), false),
    ]
}

fn differing(old: &Rates, new: &Rates, direction: Direction) -> Vec<(&'static str, String)> {
    let changed = KINDS.iter().filter_map(|(kind, of, alike)| {
        let pair = (of(old), of(new));
        let this_way = match direction {
            Direction::Dearer => pair.1 > pair.0,
            Direction::Cheaper => pair.1 < pair.0,
            _ => false,
        };
        let told = alike.is_some_and(|alike| (alike(old), alike(new)) == pair);
        (this_way && !told).then(|| (*kind, format!("{} → {}", per_mtok(pair.0), per_mtok(pair.1))))
    });
    changed.collect()
}

fn priced(rates: &Rates) -> Vec<(&'static str, String)> {
    KINDS[..2].iter().map(|(kind, of, _)| (*kind, per_mtok(of(rates)))).collect()
}

fn limits(before: &Model, after: &Model, found: &mut Vec<Change>) {
    let (old, new) = (before.limits, after.limits);
    let mut parts = Vec::new();
    for (what, old, new) in [
        ("window", old.window, new.window),
        ("output", old.output, new.output),
        ("image", old.image, new.image),
    ] {
        if old != new {
            parts.push(format!("{what} {} → {} tokens", group(u128::from(old)), group(u128::from(new))));
        }
    }
    if old.thinking != new.thinking {
        parts.push(format!("thinking {:?} → {:?}", old.thinking, new.thinking).to_lowercase());
    }
    if !parts.is_empty() {
        let (what, detail) = (after.id.to_string(), parts.join(", "));
        found.push(Change { direction: Direction::Changed, what, from: None, until: None, detail });
    }
    let (old, new) = (before.web_search, after.web_search);
    found.extend(fee(&format!("{}, a web search", after.id), old, new));
}

fn names(old: &Table, new: &Table, found: &mut Vec<Change>) {
    let mut moved: Vec<(&String, &ModelId, &ModelId)> = old
        .names
        .keys()
        .filter_map(|name| {
            let id = ModelId::new(name);
            let (before, after) = (&old.find(&id)?.id, &new.find(&id)?.id);
            (before != after).then_some((name, before, after))
        })
        .collect();
    moved.sort();
    for (name, before, after) in moved {
        let detail = format!("stands for {after}, and stood for {before}");
        let what = name.clone();
        found.push(Change { direction: Direction::Changed, what, from: None, until: None, detail });
    }
}

fn fees(old: &Table, new: &Table, found: &mut Vec<Change>) {
    for provider in old.fees.keys().chain(new.fees.keys()).collect::<BTreeSet<_>>() {
        let of = |table: &Table| table.fees.get(provider).copied().unwrap_or_default();
        let (before, after): (Fees, Fees) = (of(old), of(new));
        let who = format!("{provider:?}").to_lowercase();
        for (what, old, new) in [
            ("a web search", before.web_search, after.web_search),
            ("a web search of the older kind", before.preview_search, after.preview_search),
            ("a search in files", before.file_search, after.file_search),
            ("a container", before.container, after.container),
        ] {
            found.extend(fee(&format!("{who}, {what}"), old, new));
        }
    }
}

fn fee(what: &str, old: Option<Usd>, new: Option<Usd>) -> Option<Change> {
    let (direction, detail) = match (old, new) {
        (None, None) => return None,
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) if new > old => (Direction::Dearer, format!("${old} → ${new}")),
        (Some(old), Some(new)) => (Direction::Cheaper, format!("${old} → ${new}")),
        (None, Some(new)) => (Direction::Added, format!("${new}")),
        (Some(old), None) => (Direction::Removed, format!("${old}")),
    };
    Some(Change { direction, what: what.to_owned(), from: None, until: None, detail })
}

/// Exact dollars for a million tokens.
fn per_mtok(rate: Rate) -> String {
    (rate * 1_000_000).to_string()
}
