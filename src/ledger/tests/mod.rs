//! Tests of the ledger: decisions on values, the file store on a disk, and both against a model; and the
//! tables of a database against files.

mod crashes;
mod database;
mod decisions;
pub(crate) mod faulty;
mod files;
mod invariants;
mod kills;
#[path = "../../../tests/it/support/long.rs"]
mod long;
mod machine;
mod mending;
mod protocol;
mod records;
#[path = "../../../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod server;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};

use super::store::{Clock, Options, Store};
use super::{About, Enforce, Limit, Request, Spend, Window};
use crate::id::HoldId;
use crate::money::Usd;

/// A clock that tests move.
#[derive(Clone, Debug)]
pub(crate) struct Hands {
    seconds: Arc<AtomicI64>,
    /// A file that shows the same time, for who is no part of this process.
    file: Arc<OnceLock<PathBuf>>,
}

impl Hands {
    pub(crate) fn at(text: &str) -> Self {
        Self { seconds: Arc::new(AtomicI64::new(time(text).as_second())), file: Arc::default() }
    }

    pub(crate) fn set(&self, text: &str) {
        self.seconds.store(time(text).as_second(), Ordering::SeqCst);
        self.show();
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
        self.show();
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::SeqCst)).expect("a time")
    }

    /// Shows the time in a file from now on.
    pub(crate) fn show_in(&self, file: PathBuf) {
        self.file.set(file).expect("one file");
        self.show();
    }

    fn show(&self) {
        if let Some(file) = self.file.get() {
            std::fs::write(file, self.now().as_second().to_string()).expect("a file");
        }
    }

    pub(crate) fn options(&self) -> Options {
        let hands = self.clone();
        Options { clock: Clock::from_fn(move || hands.now()), ..Options::default() }
    }
}

/// Whether the loops are to be as long as in the nightly, see [`long::long`].
pub(crate) use long::long;

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect(text)
}

pub(crate) fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

/// A folder in memory where there is one: tests that write thousands of events do not wait for a disk.
pub(crate) fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

pub(crate) fn open(folder: &Path, hands: &Hands) -> Store {
    Store::open(folder, hands.options()).expect("a ledger")
}

pub(crate) fn id(text: &str) -> HoldId {
    HoldId::from_text(text)
}

pub(crate) fn spend(amount: &str) -> Spend {
    Spend { usd: usd(amount), ..Spend::default() }
}

/// The month of the tests.
pub(crate) fn november() -> Window {
    Window { start: time("2026-11-01T00:00:00Z"), end: Some(time("2026-12-01T00:00:00Z")) }
}

/// For ever.
pub(crate) fn always() -> Window {
    Window { start: Timestamp::UNIX_EPOCH, end: None }
}

pub(crate) fn limit(purse: &str, window: Window, amount: &str, enforce: Enforce) -> Limit {
    let per = if window.end.is_none() { "total" } else { "month" };
    Limit { purse: purse.to_owned(), per: per.to_owned(), window, usd: usd(amount), enforce }
}

/// A request of a run for one hour, for the repository and what else its limits name.
pub(crate) fn request(hold: &str, want: &str, limits: &[Limit], now: Timestamp) -> Request {
    let mut purses = vec!["repo".to_owned(), "actor:octocat".to_owned()];
    for limit in limits {
        if !purses.contains(&limit.purse) {
            purses.push(limit.purse.clone());
        }
    }
    Request {
        hold: id(hold),
        claim: format!("claim of {hold}"),
        want: usd(want),
        least: usd("0.02"),
        limits: limits.to_vec(),
        purses,
        expires: now + SignedDuration::from_hours(1),
        about: About { task: "review".to_owned(), ..About::default() },
        lift: None,
    }
}
