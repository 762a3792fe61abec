//! What runs like this one used so far, out of the ledger's events, in bounded memory.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::id::HoldId;
use crate::ledger::event::{Event, Kind};
use crate::money::Usd;
use crate::task::{Task, Tier};

/// Fewer settled runs than this are no history.
pub const RUNS_MIN: usize = 10;
/// The newest runs of a task at a tier that are looked at.
const RUNS_MAX: usize = 1_000;
/// Days back in which runs are counted for their rate.
const RATE_DAYS: i64 = 28;
/// Observed days without which there is no rate.
const RATE_DAYS_MIN: u64 = 7;

/// The runs of the past, by task and tier.
#[derive(Debug, Default)]
pub struct History {
    live: HashMap<HoldId, (Task, Tier)>,
    runs: BTreeMap<(Task, Tier), VecDeque<Used>>,
    recent: BTreeMap<(Task, Tier), u64>,
    first: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    usd: Usd,
    fresh: u64,
    capped: bool,
}

/// What runs of a task at a tier used: nearest-rank percentiles of the newest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// How many runs that is.
    pub runs: usize,
    /// Of them, stopped by their cap: what they would have used is not known.
    pub capped: usize,
    /// Their mean cost.
    pub mean: Usd,
    /// Half of them cost no more.
    pub usd_p50: Usd,
    /// Nine of ten cost no more.
    pub usd_p90: Usd,
    /// Half of them used no more new tokens.
    pub fresh_p50: u64,
    /// Nine of ten used no more new tokens.
    pub fresh_p90: u64,
}

/// So many runs in so many days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerDay {
    /// Runs.
    pub runs: u64,
    /// Days.
    pub days: u64,
}

impl PerDay {
    /// An amount a run, over so many days.
    #[must_use]
    pub fn times(self, usd: Usd, days: u64) -> Usd {
        let runs = i128::from(self.runs) * i128::from(days);
        Usd::from_pico(usd.pico().saturating_mul(runs) / i128::from(self.days.max(1)))
    }
}

impl History {
    /// Takes the next event in. Runs that were settled by themselves and cost something count; an expired
    /// one says what it was granted, not what it used.
    pub fn take(&mut self, event: &Event, now: Timestamp) {
        self.first.get_or_insert(event.at);
        match &event.kind {
            Kind::Reserve(terms) => {
                let (Ok(task), Ok(tier)) = (terms.about.task.parse(), terms.about.tier.parse()) else {
                    return;
                };
                self.live.insert(event.hold.clone(), (task, tier));
                if now.duration_since(event.at) <= SignedDuration::from_hours(24 * RATE_DAYS) {
                    *self.recent.entry((task, tier)).or_default() += 1;
                }
            }
            Kind::Settle(settle) => {
                let Some(key) = self.live.remove(&event.hold) else { return };
                if settle.spend.usd == Usd::ZERO {
                    return;
                }
                let runs = self.runs.entry(key).or_default();
                runs.push_back(Used {
                    usd: settle.spend.usd,
                    fresh: settle.spend.models.iter().map(|used| used.tokens.fresh()).sum(),
                    capped: settle.outcome.as_deref() == Some("capped"),
                });
                if runs.len() > RUNS_MAX {
                    runs.pop_front();
                }
            }
            Kind::Void(_) | Kind::Expire(_) => {
                self.live.remove(&event.hold);
            }
            Kind::Adjust(_) | Kind::Refuse(_) | Kind::Extend(_) | Kind::Note(_) => {}
        }
    }

    /// The runs of a task at a tier that are looked at.
    #[must_use]
    pub fn runs(&self, task: Task, tier: Tier) -> usize {
        self.runs.get(&(task, tier)).map_or(0, VecDeque::len)
    }

    /// What they used; `None` where they are too few.
    #[must_use]
    pub fn percentiles(&self, task: Task, tier: Tier) -> Option<Percentiles> {
        let runs = self.runs.get(&(task, tier)).filter(|runs| runs.len() >= RUNS_MIN)?;
        let mut usd: Vec<Usd> = runs.iter().map(|run| run.usd).collect();
        let mut fresh: Vec<u64> = runs.iter().map(|run| run.fresh).collect();
        usd.sort_unstable();
        fresh.sort_unstable();
        let rank = |percent: usize| (runs.len() * percent).div_ceil(100) - 1;
        let count = i128::try_from(runs.len()).unwrap_or(1);
        Some(Percentiles {
            runs: runs.len(),
            capped: runs.iter().filter(|run| run.capped).count(),
            mean: Usd::from_pico(usd.iter().sum::<Usd>().pico() / count),
            usd_p50: usd[rank(50)],
            usd_p90: usd[rank(90)],
            fresh_p50: fresh[rank(50)],
            fresh_p90: fresh[rank(90)],
        })
    }

    /// How often they are started; `None` where too few days were observed, or none was.
    #[must_use]
    pub fn per_day(&self, task: Task, tier: Tier, now: Timestamp) -> Option<PerDay> {
        let observed = now.duration_since(self.first?).as_hours() / 24;
        let days = u64::try_from(observed.min(RATE_DAYS)).ok().filter(|days| *days >= RATE_DAYS_MIN)?;
        let runs = self.recent.get(&(task, tier)).copied()?;
        Some(PerDay { runs, days })
    }
}
