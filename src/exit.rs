//! The exit codes: one documented table, one constant each.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | the gate passes, perhaps with a warning |
//! | 1 | tollgate itself failed |
//! | 2 | wrong usage, an invalid budget file, a missing key |
//! | 3 | the gate: a budget is exceeded or exhausted, spend is unmetered or overran its bound |
//! | 4 | the run's own cap was hit, and the policy says fail |
//! | 5 | the agent failed or timed out, while the gate passed |
//! | 6 | the ledger is unavailable or corrupt, and the policy says fail |
//! | 130, 143 | cancelled by SIGINT or SIGTERM, after settling |

/// The gate passes, perhaps with a warning.
pub const PASS: u8 = 0;
/// Tollgate itself failed.
pub const INTERNAL: u8 = 1;
/// Wrong usage, an invalid budget file, a missing key.
pub const USAGE: u8 = 2;
/// A budget is exceeded or exhausted, spend is unmetered or overran its bound.
pub const GATE: u8 = 3;
/// The run's own cap was hit, and the policy says fail.
pub const CAP: u8 = 4;
/// The agent failed or timed out, while the gate passed.
pub const AGENT: u8 = 5;
/// The ledger is unavailable or corrupt, and the policy says fail.
pub const LEDGER: u8 = 6;
/// Cancelled by SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Cancelled by SIGTERM, or by the terminal going away.
pub const TERMINATED: u8 = 143;

/// A failure that a person can mend, with the exit code it stands for.
///
/// Everything else that goes wrong is tollgate's own failure, [`INTERNAL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What happened, where, and after a blank line `hint: …` what to do.
    pub message: String,
}

impl Failure {
    /// Wrong usage, an invalid budget file, a missing key.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    /// The ledger is unavailable or corrupt.
    #[must_use]
    pub fn ledger(message: impl Into<String>) -> Self {
        Self { code: LEDGER, message: message.into() }
    }
}

/// The order in which codes win where several hold; those not named here lose to all of them.
const PRECEDENCE: [u8; 7] = [USAGE, LEDGER, INTERRUPTED, TERMINATED, GATE, CAP, AGENT];

/// The code that wins where several hold.
#[must_use]
pub fn worst(codes: &[u8]) -> u8 {
    let named = PRECEDENCE.into_iter().find(|code| codes.contains(code));
    named.or_else(|| codes.iter().copied().max()).unwrap_or(PASS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_telling_code_wins() {
        for (codes, winner) in [
            (&[][..], PASS),
            (&[PASS, AGENT], AGENT),
            (&[AGENT, CAP, GATE], GATE),
            (&[GATE, TERMINATED], TERMINATED),
            (&[GATE, LEDGER, INTERRUPTED], LEDGER),
            (&[LEDGER, USAGE], USAGE),
            (&[PASS, INTERNAL], INTERNAL),
        ] {
            assert_eq!(worst(codes), winner, "{codes:?}");
        }
    }
}
