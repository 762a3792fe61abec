//! What is summed of runs, and by which words.

use std::collections::HashMap;

use crate::ledger::ModelSpend;
use crate::money::Usd;
use crate::tokens::Counts;

/// Rows of one dimension at most; runs with further words are summed in one row.
pub const KEYS_MAX: usize = 10_000;
/// The word for what a run did not record.
pub const NOT_RECORDED: &str = "not recorded";
/// The word for what a run does not have, such as a pull request.
pub const NONE: &str = "none";

/// What spend is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// The model that served.
    Model,
    /// What was asked for.
    Task,
    /// The tier it was routed to.
    Tier,
    /// What a mistake would cost.
    Stakes,
    /// The pull request.
    Pr,
    /// Who caused the run.
    Author,
    /// The workflow file.
    Workflow,
    /// The day the run began, in the budget file's time zone.
    Day,
}

impl By {
    /// Every dimension, in the order of a report.
    pub const ALL: [By; 8] =
        [By::Model, By::Task, By::Tier, By::Stakes, By::Pr, By::Author, By::Workflow, By::Day];

    /// Its word in options and outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            By::Model => "model",
            By::Task => "task",
            By::Tier => "tier",
            By::Stakes => "stakes",
            By::Pr => "pr",
            By::Author => "author",
            By::Workflow => "workflow",
            By::Day => "day",
        }
    }

    /// Its name for people, to follow "by".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            By::Pr => "pull request",
            By::Author => "who caused it",
            other => other.as_str(),
        }
    }
}

/// Sums over runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that are over and were charged or could have been: settled or expired.
    pub runs: u64,
    /// Of them, stopped by their cap.
    pub capped: u64,
    /// Of them, never settled by their run.
    pub expired: u64,
    /// Runs that were not started.
    pub refused: u64,
    /// Requests.
    pub requests: u64,
    /// Tokens by kind.
    pub tokens: Counts,
    /// What they are charged.
    pub usd: Usd,
    /// What subscriptions paid for, at list prices: no part of what is charged.
    pub notional: Usd,
    /// The part of what is charged that is a bound.
    pub estimated: Usd,
    /// The part of it that expired without evidence.
    pub unproven: Usd,
    /// What the same tokens would have cost more at the high tier's model.
    pub saved_by_routing: Usd,
    /// What the same prompts would have cost more without a cache; negative where writing cost more.
    pub saved_by_caching: Usd,
}

/// What routing and caching saved on one model's part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// By routing; never negative.
    pub routing: Usd,
    /// By caching.
    pub caching: Usd,
}

impl Tally {
    /// Adds what one model used.
    pub fn add_model(&mut self, used: &ModelSpend, saved: Saved) {
        self.requests += used.requests;
        self.tokens += used.tokens;
        self.saved_by_routing += saved.routing;
        self.saved_by_caching += saved.caching;
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.capped += other.capped;
        self.expired += other.expired;
        self.refused += other.refused;
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.usd += other.usd;
        self.notional += other.notional;
        self.estimated += other.estimated;
        self.unproven += other.unproven;
        self.saved_by_routing += other.saved_by_routing;
        self.saved_by_caching += other.saved_by_caching;
    }
}

/// The rows of one dimension while they are summed.
#[derive(Debug, Default)]
pub struct Keys {
    rows: HashMap<String, Tally>,
    other: Tally,
    overflowed: bool,
}

impl Keys {
    /// The row of a word.
    pub fn row(&mut self, key: &str) -> &mut Tally {
        if !self.rows.contains_key(key) {
            if self.rows.len() >= KEYS_MAX {
                self.overflowed = true;
                return &mut self.other;
            }
            self.rows.insert(key.to_owned(), Tally::default());
        }
        self.rows.entry(key.to_owned()).or_default()
    }

    /// The rows: days in order, everything else dearest first; and what is in no row of its own.
    #[must_use]
    pub fn finish(self, by: By) -> Rows {
        let mut rows: Vec<(String, Tally)> = self.rows.into_iter().collect();
        match by {
            By::Day => rows.sort_by(|a, b| a.0.cmp(&b.0)),
            _ => rows.sort_by(|a, b| (b.1.usd, b.1.runs, &a.0).cmp(&(a.1.usd, a.1.runs, &b.0))),
        }
        Rows { by, rows, other: self.overflowed.then_some(self.other) }
    }
}

/// The rows of one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The dimension.
    pub by: By,
    /// A word and its sums.
    pub rows: Vec<(String, Tally)>,
    /// What is beyond [`KEYS_MAX`] words.
    pub other: Option<Tally>,
}
