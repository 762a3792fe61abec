//! What the functions answer.

use serde::Deserialize;

use crate::ledger::event::Cut;
use crate::ledger::{Balance, Limit, Spend};
use crate::money::Usd;

/// How a function ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// A cap was granted.
    Granted,
    /// There is no room, or the request does not fit the ledger's time.
    Refused,
    /// There is a hold with this key.
    Known,
    /// It is as it was asked for.
    Done,
    /// There is no such hold.
    Unknown,
    /// The hold stands where the step cannot be taken.
    Otherwise,
    /// The hold's lease is not over.
    Kept,
}

/// An answer; which fields it has depends on the status.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Given {
    pub(super) status: Status,
    pub(super) cap: Option<Usd>,
    pub(super) cut_by: Option<Cut>,
    pub(super) at: Option<jiff::Timestamp>,
    #[serde(default)]
    pub(super) full: bool,
    pub(super) spend: Option<Spend>,
    #[serde(default)]
    pub(super) limits: Vec<Limit>,
    /// What is settled and held, in the order of the limits.
    #[serde(default)]
    pub(super) balances: Vec<(Usd, Usd)>,
}

/// Limits with what is taken from them.
pub(super) fn balances(limits: &[Limit], pairs: &[(Usd, Usd)]) -> Vec<Balance> {
    let balance = |(limit, pair): (&Limit, &(Usd, Usd))| Balance {
        limit: limit.clone(),
        settled: pair.0,
        held: pair.1,
    };
    limits.iter().zip(pairs).map(balance).collect()
}

/// The limit that cut a cap.
pub(super) fn cut_by(limits: &[Limit], cut: Option<&Cut>) -> Option<Balance> {
    let cut = cut?;
    Some(Balance { limit: limits.get(cut.limit)?.clone(), settled: cut.settled, held: cut.held })
}
