//! The meter: a reverse proxy on loopback through which an agent's requests go, and which lets none
//! leave whose worst case does not fit in what is left.
//!
//! `account` decides, without I/O; `server` speaks to the agent, `forward` to the provider, `tap` reads
//! usage from the bytes that pass. The meter knows neither budgets nor the ledger: it gets an
//! [`Allowance`] and returns [`Totals`].

pub mod account;
mod bound;
mod forward;
pub mod journal;
pub mod key;
mod line;
mod run;
mod say;
mod server;
mod settle;
mod state;
mod tap;
mod threads;
mod upstream;

pub use key::{Key, SUBSCRIPTION_VARIABLE, Secret};
pub use line::Dial;
pub use run::{Config, Meter, StartError};
pub use upstream::{Upstream, UpstreamError, Way};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::Counts;

/// What a run may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The dollar cap; nothing for a run that a subscription pays for, which spends none.
    pub usd: Usd,
    /// The cap on new tokens; `None` for none.
    pub fresh_tokens: Option<u64>,
}

/// What the meter does where the budget file has a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A model without a price is refused (`true`) or counted at the dearest price there is.
    pub deny_unknown_model: bool,
    /// Tools that the provider runs are refused (`true`) or bounded.
    pub deny_server_tools: bool,
    /// What becomes of a request for a dearer model than the routed one.
    pub dearer_model: DearerModel,
    /// Percent of the cap at which the agent is told to wrap up; `None` for never.
    pub steer_at: Option<u32>,
    /// Whether the cap stops anything; `false` only meters and reports.
    pub enforce: bool,
}

/// What becomes of a request for a dearer model than the routed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DearerModel {
    /// It goes to the routed model.
    Remap,
    /// It is refused.
    Deny,
    /// It goes through, priced as what it is.
    Allow,
}

/// The model that a run was routed to, as those name it who may serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// As its maker names it, or whoever else is asked with a key.
    pub model: ModelId,
    /// As the cloud names it that serves it in its maker's place; `None` without one.
    pub in_cloud: Option<ModelId>,
}

impl Routed {
    /// Its name for a request that goes to a cloud, or does not.
    fn named(&self, to_cloud: bool) -> &ModelId {
        self.in_cloud.as_ref().filter(|_| to_cloud).unwrap_or(&self.model)
    }
}

impl From<ModelId> for Routed {
    fn from(model: ModelId) -> Self {
        Self { model, in_cloud: None }
    }
}

/// How far the run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Within its cap.
    #[default]
    Open,
    /// The agent was told to wrap up.
    Steered,
    /// The agent was given its last answer.
    LastCall,
    /// Every further request is answered with a finished turn.
    Stopped,
    /// Nothing is taken any more, whatever it is: the run is over.
    Sealed,
}

/// The meter's live state, for others to watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The dollar cap.
    pub cap: Usd,
    /// What would have to be held on the ledger for a request that waits for it; nothing where none does.
    pub wanted: Usd,
    /// Spend of everything that has ended.
    pub settled: Usd,
    /// Worst case of everything in flight.
    pub in_flight: Usd,
    /// Requests in flight.
    pub open_requests: u32,
    /// Requests forwarded so far.
    pub requests: u64,
    /// Tokens of everything that has ended.
    pub counts: Counts,
    /// New tokens of everything that has ended, where a usage never came at their bound.
    pub fresh: u64,
    /// The cap on them; `None` for none.
    pub fresh_cap: Option<u64>,
    /// What a subscription has paid for so far, at list prices.
    pub notional: Usd,
    /// How far the run is.
    pub phase: Phase,
}

/// What one model used in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTotals {
    /// Requests forwarded.
    pub requests: u64,
    /// Tokens.
    pub counts: Counts,
    /// Cost.
    pub usd: Usd,
    /// What a subscription paid for, at list prices.
    pub notional: Usd,
}

/// What a run used, when it is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Its cost.
    pub settled: Usd,
    /// The part of the cost that is a bound, because the usage never came.
    pub estimated: Usd,
    /// What a subscription paid for, at list prices: no part of the cost.
    pub notional: Usd,
    /// New tokens, where a usage never came at their bound.
    pub fresh: u64,
    /// Requests forwarded.
    pub requests: u64,
    /// Requests answered without being forwarded because of the cap.
    pub stopped_requests: u64,
    /// By the model that served.
    pub by_model: BTreeMap<ModelId, ModelTotals>,
    /// Web searches that the provider charged for.
    pub web_searches: u64,
    /// How far it came before it was over; [`Phase::Sealed`] only after an overrun.
    pub phase: Phase,
    /// A request cost more than its bound: what it was, with both amounts.
    pub overrun: Option<String>,
    /// What was seen once and may matter: unknown fields, betas, refused tools, remapped models.
    pub notes: Vec<String>,
}

impl Totals {
    /// Whether the cap is what ended the work: the agent was given its last answer, or was stopped.
    #[must_use]
    pub fn at_cap(&self) -> bool {
        matches!(self.phase, Phase::LastCall | Phase::Stopped) || self.stopped_requests > 0
    }

    /// The tokens of all models.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for model in self.by_model.values() {
            sum += model.counts;
        }
        sum
    }
}
