//! Events in, sums out, one at a time.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::forecast::{DAYS_MAX, is_forecast, outlook};
use super::runs::{Corrections, Passed, Run, Runs};
use super::tally::{By, KEYS_MAX, Keys, NONE, NOT_RECORDED, Saved, Tally};
use super::{BudgetLine, LISTED_MAX, Spent};
use crate::ledger::event::{Event, Refuse};
use crate::ledger::hold::Phase;
use crate::ledger::{About, Balance, Limit, ModelSpend};
use crate::limits::Standing;
use crate::money::Usd;

/// Different endings that are told apart at most.
const ENDINGS_MAX: usize = 64;
/// Purses that are listed for one budget at most.
const PURSES_LISTED_MAX: usize = 10;

/// What is asked of the ledger.
#[derive(Clone, Debug)]
pub struct Spec {
    /// `owner/name`, or the folder's name.
    pub repository: String,
    /// What tells it from the others on a shared ledger; `None` where it shares none.
    pub sharer: Option<String>,
    /// Runs that began from here on are counted; `None` for all of them.
    pub since: Option<Timestamp>,
    /// When it is asked.
    pub now: Timestamp,
    /// Whose days they are.
    pub timezone: TimeZone,
    /// Whether it is play money.
    pub simulated: bool,
    /// The dimensions.
    pub by: Vec<By>,
    /// Every budget.
    pub budgets: Vec<Standing>,
    /// The model that routing is measured against.
    pub high_model: String,
}

impl Spec {
    /// From when on events have to be read; `None` for all of them.
    #[must_use]
    pub fn read_from(&self) -> Option<Timestamp> {
        let back = SignedDuration::from_hours(24 * (DAYS_MAX as i64 + 2));
        let days = self.now.checked_sub(back).unwrap_or(Timestamp::MIN);
        let windows = self.budgets.iter().map(|standing| standing.limit.window.start.min(days));
        let from = windows.fold(self.since?, Timestamp::min);
        (from > Timestamp::UNIX_EPOCH).then_some(from)
    }
}

/// What routing and caching saved on one model's part of a run: the run, the model's part, its time.
pub type Saver<'a> = &'a dyn Fn(&About, &ModelSpend, Timestamp) -> Saved;

/// Sums runs as they are read.
pub struct Fold<'a> {
    spec: &'a Spec,
    saved: Saver<'a>,
    runs: Runs,
    today: Date,
    total: Tally,
    voided: u64,
    endings: BTreeMap<String, (u64, Usd)>,
    by: Vec<(By, Keys)>,
    budgets: Vec<Purses>,
    dearest: Vec<Run>,
    unproven: Vec<Run>,
}

/// The purses of one budget.
#[derive(Default)]
struct Purses {
    spent: HashMap<String, PurseSpent>,
    beyond: Usd,
}

/// What one purse of a budget spent.
struct PurseSpent {
    settled: Usd,
    held: Usd,
    seen: Date,
    /// By complete days before today, yesterday first.
    days: Option<Box<[Usd; DAYS_MAX]>>,
}

impl<'a> Fold<'a> {
    /// Nothing read yet; `known` is what an earlier reading found out.
    #[must_use]
    pub fn new(spec: &'a Spec, saved: Saver<'a>, known: Corrections) -> Self {
        Self {
            spec,
            saved,
            runs: Runs::knowing(known),
            today: spec.timezone.to_datetime(spec.now).date(),
            total: Tally::default(),
            voided: 0,
            endings: BTreeMap::new(),
            by: spec.by.iter().map(|by| (*by, Keys::default())).collect(),
            budgets: spec.budgets.iter().map(|_| Purses::default()).collect(),
            dearest: Vec::new(),
            unproven: Vec::new(),
        }
    }

    /// Takes the next event in.
    pub fn take(&mut self, event: Event) {
        match self.runs.take(event) {
            Some(Passed::Run(run)) => self.run(*run),
            Some(Passed::Refused(at, refuse)) if self.counts(at) => self.refused(at, &refuse),
            Some(Passed::Refused(..)) | None => {}
        }
    }

    fn counts(&self, at: Timestamp) -> bool {
        self.spec.since.is_none_or(|since| since <= at)
    }

    fn run(&mut self, run: Run) {
        let date = self.spec.timezone.to_datetime(run.reserved).date();
        self.charge(&run, date);
        if !self.counts(run.reserved) {
            return;
        }
        let known = self.endings.len() < ENDINGS_MAX || self.endings.contains_key(run.ending());
        let ending = if known { run.ending() } else { "other" };
        let entry = self.endings.entry(ending.to_owned()).or_default();
        *entry = (entry.0 + 1, entry.1 + run.spend.usd);
        // A run that was given up and is charged after all is no less a run.
        if run.phase == Phase::Voided && run.spend.usd == Usd::ZERO {
            self.voided += 1;
            return;
        }
        let mut tally = Tally {
            runs: 1,
            capped: u64::from(run.outcome.as_deref() == Some("capped")),
            expired: u64::from(run.phase == Phase::Expired),
            usd: run.spend.usd,
            notional: run.spend.notional,
            estimated: run.spend.estimated,
            unproven: if run.unproven { run.spend.usd } else { Usd::ZERO },
            ..Tally::default()
        };
        let saved: Vec<Saved> =
            run.spend.models.iter().map(|used| (self.saved)(&run.about, used, run.reserved)).collect();
        for (used, saved) in run.spend.models.iter().zip(&saved) {
            tally.add_model(used, *saved);
        }
        self.total.add(&tally);
        for (by, keys) in &mut self.by {
            match by {
                By::Model => by_model(keys, &run, &tally, &saved),
                By::Day => keys.row(&date.to_string()).add(&tally),
                _ => keys.row(&word(*by, &run.about)).add(&tally),
            }
        }
        if run.unproven {
            list(&mut self.unproven, &run);
        }
        list(&mut self.dearest, &run);
    }

    fn refused(&mut self, at: Timestamp, refuse: &Refuse) {
        let tally = Tally { refused: 1, ..Tally::default() };
        self.total.add(&tally);
        for (by, keys) in &mut self.by {
            let key = match by {
                By::Day => self.spec.timezone.to_datetime(at).date().to_string(),
                by => word(*by, &refuse.about),
            };
            keys.row(&key).add(&tally);
        }
    }

    /// Counts a run, live or over, towards every budget.
    fn charge(&mut self, run: &Run, date: Date) {
        for (standing, purses) in self.spec.budgets.iter().zip(&mut self.budgets) {
            let Some(purse) = standing.purses.pick(&run.purses, self.spec.sharer.as_deref()) else {
                continue;
            };
            let window = &standing.limit.window;
            let (inside, forecast) = (window.contains(run.reserved), is_forecast(window));
            let ago = (self.today - date).get_days();
            let recent = forecast && (1..=DAYS_MAX as i32).contains(&ago);
            if !inside && !recent {
                continue;
            }
            let held = if run.phase == Phase::Held { run.cap } else { Usd::ZERO };
            if !purses.spent.contains_key(purse) && purses.spent.len() >= KEYS_MAX {
                purses.beyond += if inside { run.spend.usd + held } else { Usd::ZERO };
                continue;
            }
            let entry = purses.spent.entry(purse.to_owned()).or_insert_with(|| PurseSpent {
                settled: Usd::ZERO,
                held: Usd::ZERO,
                seen: date,
                days: forecast.then(|| Box::new([Usd::ZERO; DAYS_MAX])),
            });
            entry.seen = entry.seen.min(date);
            if inside {
                entry.settled += run.spend.usd;
                entry.held += held;
            }
            let place = usize::try_from(ago - 1).unwrap_or(usize::MAX);
            if let Some(day) = entry.days.as_mut().and_then(|days| days.get_mut(place)) {
                *day += run.spend.usd;
            }
        }
    }

    /// What was spent; or, where corrections came to light that were not known, those, to read the events
    /// again with.
    ///
    /// # Errors
    /// The corrections.
    pub fn finish(mut self) -> Result<Spent, Corrections> {
        let (live, known) = std::mem::take(&mut self.runs).finish()?;
        let mut held = Usd::ZERO;
        let mut under_way = 0;
        for run in &live {
            self.charge(run, self.spec.timezone.to_datetime(run.reserved).date());
            if self.counts(run.reserved) {
                held += run.cap;
                under_way += 1;
            }
        }
        let mut notes = Vec::new();
        if known.beyond > 0 {
            notes.push(format!(
                "{} corrections are beyond what a report follows, and are missing",
                known.beyond
            ));
        }
        let by: Vec<_> = self.by.into_iter().map(|(by, keys)| keys.finish(by)).collect();
        for rows in by.iter().filter(|rows| rows.other.is_some()) {
            let name = rows.by.name();
            notes.push(format!(
                "by {name}: the first {KEYS_MAX} have a row each, the rest is summed as `other`; `--since` shortens the list"
            ));
        }
        let mut endings: Vec<_> =
            self.endings.into_iter().map(|(word, (count, usd))| (word, count, usd)).collect();
        endings.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        let (budgets, budgets_beyond) = budget_lines(self.spec, self.budgets, self.today);
        Ok(Spent {
            repository: self.spec.repository.clone(),
            since: self.spec.since,
            now: self.spec.now,
            timezone: self.spec.timezone.clone(),
            simulated: self.spec.simulated,
            total: self.total,
            voided: self.voided,
            live: under_way,
            held,
            endings,
            by,
            budgets,
            budgets_beyond,
            dearest: self.dearest,
            unproven: self.unproven,
            high_model: self.spec.high_model.clone(),
            notes,
        })
    }
}

/// The models of a run, each for itself; what no model accounts for is a row of its own.
fn by_model(keys: &mut Keys, run: &Run, whole: &Tally, saved: &[Saved]) {
    let mut left = run.spend.usd;
    for (index, (used, saved)) in run.spend.models.iter().zip(saved).enumerate() {
        let row = keys.row(&used.model);
        row.add_model(used, *saved);
        row.usd += used.usd;
        row.notional += used.notional;
        row.runs += 1;
        left -= used.usd;
        // What is no model's own is told once, with the model that served first.
        if index == 0 {
            row.capped += whole.capped;
            row.expired += whole.expired;
            row.estimated += whole.estimated;
            row.unproven += whole.unproven;
        }
    }
    if run.spend.models.is_empty() {
        keys.row(NOT_RECORDED).add(whole);
    } else if left != Usd::ZERO {
        keys.row(NOT_RECORDED).usd += left;
    }
}

/// A run's word in a dimension that its reserve decides.
fn word(by: By, about: &About) -> String {
    let or =
        |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    match by {
        By::Model => or(&about.model, NOT_RECORDED),
        By::Task => or(&about.task, NOT_RECORDED),
        By::Tier => or(&about.tier, NOT_RECORDED),
        By::Stakes => or(&about.stakes, NOT_RECORDED),
        By::Author => or(&about.actor, NONE),
        By::Pr => about.pr.map_or_else(|| NONE.to_owned(), |number| format!("#{number}")),
        By::Workflow => or(about.workflow.as_deref().unwrap_or_default(), NONE),
        By::Day => String::new(),
    }
}

/// Keeps the dearest runs, dearest first; of equals the earlier.
fn list(dearest: &mut Vec<Run>, run: &Run) {
    let place = dearest.partition_point(|listed| listed.spend.usd >= run.spend.usd);
    if place < LISTED_MAX && run.spend.usd > Usd::ZERO {
        dearest.insert(place, run.clone());
        dearest.truncate(LISTED_MAX);
    }
}

fn budget_lines(spec: &Spec, budgets: Vec<Purses>, today: Date) -> (Vec<BudgetLine>, Vec<String>) {
    let mut lines = Vec::new();
    let mut beyond = Vec::new();
    for (standing, purses) in spec.budgets.iter().zip(budgets) {
        let limit = &standing.limit;
        let mut found: Vec<(String, PurseSpent)> = purses.spent.into_iter().collect();
        found.retain(|(purse, spent)| *purse == limit.purse || spent.settled + spent.held > Usd::ZERO);
        if found.is_empty() && !limit.purse.is_empty() {
            let spent = PurseSpent { settled: Usd::ZERO, held: Usd::ZERO, seen: today, days: None };
            found.push((limit.purse.clone(), spent));
        }
        found.sort_by(|a, b| {
            let taken = |spent: &PurseSpent| spent.settled + spent.held;
            (taken(&b.1), &a.0).cmp(&(taken(&a.1), &b.0))
        });
        let rest: Usd =
            found.iter().skip(PURSES_LISTED_MAX).map(|(_, spent)| spent.settled + spent.held).sum();
        if found.len() > PURSES_LISTED_MAX || purses.beyond > Usd::ZERO {
            let more = found.len().saturating_sub(PURSES_LISTED_MAX);
            beyond.push(format!(
                "{}: the {PURSES_LISTED_MAX} that spent most are listed, {more} or more others have {} together",
                each(limit, standing),
                (rest + purses.beyond).shown()
            ));
        }
        for (purse, spent) in found.into_iter().take(PURSES_LISTED_MAX) {
            let observed = usize::try_from((today - spent.seen).get_days()).unwrap_or(0).min(DAYS_MAX);
            let days = spent.days.as_deref().map_or(&[][..], |days| &days[..observed]);
            let outlook = outlook(&limit.window, limit.usd, spent.settled, days, spec.now);
            let limit = Limit { purse, ..limit.clone() };
            let balance = Balance { limit, settled: spent.settled, held: spent.held };
            lines.push(BudgetLine { balance, outlook });
        }
    }
    (lines, beyond)
}

fn each(limit: &Limit, standing: &Standing) -> String {
    let kind = match &standing.purses {
        crate::limits::Purses::One(purse) => purse.as_str(),
        crate::limits::Purses::Each(kind) => kind.trim_end_matches(':'),
    };
    format!("{kind} budget per {}", limit.per)
}
