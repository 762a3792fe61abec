//! Around somebody else's step: the meter is left running in a process of its own while the step has its
//! turn, and is asked what that has cost when it is over.
//!
//! [`leave`] is the end of `tollgate start`, [`attend`] the process that stays, [`left`] the beginning of
//! `tollgate finish`. Between them lie files in the run's folder, which are [`sealed`]: the step runs as the
//! same user and could have written anything.

mod attendant;
mod leave;
mod left;
mod sealed;
mod state;

pub use attendant::attend;
pub use left::{Finish, Outcome};

pub(super) use leave::{hand_on, leave, nothing};
pub(super) use left::{Found, find};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::meter::Totals;

/// The sealed file with the state of the run.
const STATE: &str = "state";
/// The sealed file that says which process the meter is.
const METER: &str = "meter";
/// The sealed file with what the meter has counted.
const COUNT: &str = "count";
/// The sealed file with what was said at the end.
const CLOSING: &str = "closing";
/// What the meter's process prints.
const LOG: &str = "meter.log";

/// The process that the meter is.
#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: i32,
}

/// What the meter counted until it was ended.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    totals: Totals,
    /// The last text that passed, without secrets.
    text: Option<String>,
    /// The run's time was up before it was ended.
    time_up: bool,
    /// The cap had stopped it by then.
    capped: bool,
    /// When it ended.
    ended: Timestamp,
}

/// What was said of the run at its end.
#[derive(Debug, Serialize, Deserialize)]
struct Closing {
    code: u8,
    reason: String,
    outputs: Vec<(String, String)>,
}
