//! How a run ended, and what the gate says of it.

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished by itself.
    Completed,
    /// The cap stopped it.
    Capped,
    /// It was not started: no budget was left.
    Refused,
    /// The agent ran, and the meter saw no request of it.
    Unmetered,
    /// The agent ended with an error of its own.
    AgentFailed,
    /// Its time was up.
    TimedOut,
    /// A person or the runner cancelled it.
    Cancelled,
}

impl Outcome {
    /// The outcome's name in step outputs and summaries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Capped => "capped",
            Outcome::Refused => "refused",
            Outcome::Unmetered => "unmetered",
            Outcome::AgentFailed => "agent_failed",
            Outcome::TimedOut => "timed_out",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// What the gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All is well.
    Pass,
    /// Something to look at; the check passes.
    Warn,
    /// The check fails.
    Fail,
}

impl Verdict {
    /// The verdict's name in step outputs and summaries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}
