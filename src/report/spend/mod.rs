//! The spend report: what the ledger's runs cost, by every dimension, against every budget.
//!
//! [`fold`] takes the ledger's events as they are read, in memory that does not grow with their number:
//! [`runs`] pairs them into runs, [`tally`] sums those, [`forecast`] looks ahead. What comes out is one
//! value, [`Spent`]; `sheet` turns it into tables of words, which `render` prints for terminals, Markdown
//! and HTML; `exact` writes the same sums to the last pico-dollar, as CSV and JSON.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::ledger::Balance;
use crate::money::Usd;

pub mod exact;
pub mod fold;
pub mod forecast;
pub mod render;
pub mod runs;
mod sheet;
pub mod tally;

pub use fold::{Fold, Spec};
use forecast::Outlook;
use runs::Run;
use tally::{Rows, Tally};

/// Runs that are listed one by one at most.
pub const LISTED_MAX: usize = 10;

/// What was spent.
#[derive(Clone, Debug)]
pub struct Spent {
    /// `owner/name`, or the folder's name.
    pub repository: String,
    /// Runs that began from here on are counted; `None` for all of them.
    pub since: Option<Timestamp>,
    /// When it was asked.
    pub now: Timestamp,
    /// Whose days they are.
    pub timezone: TimeZone,
    /// Whether it is play money.
    pub simulated: bool,
    /// Everything.
    pub total: Tally,
    /// Runs that were given up without spend.
    pub voided: u64,
    /// Runs under way.
    pub live: u64,
    /// What they hold.
    pub held: Usd,
    /// How runs ended, most first: the word, how many, and what they are charged.
    pub endings: Vec<(String, u64, Usd)>,
    /// By each dimension that was asked for.
    pub by: Vec<Rows>,
    /// Every budget, for each purse that it counts for.
    pub budgets: Vec<BudgetLine>,
    /// Purses that are not listed among the budgets, and why.
    pub budgets_beyond: Vec<String>,
    /// The dearest runs, dearest first.
    pub dearest: Vec<Run>,
    /// The dearest runs that were charged without evidence.
    pub unproven: Vec<Run>,
    /// The model that routing is measured against.
    pub high_model: String,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// A budget of one purse over its window of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetLine {
    /// The budget, and what has been taken from it.
    pub balance: Balance,
    /// What can be said of its end.
    pub outlook: Outlook,
}
