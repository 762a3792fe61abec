//! What the simulated provider served, by its own count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;

use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::Counts;

/// How many requests are kept; later ones are only counted.
const KEPT_MAX: usize = 512;

/// One charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The model.
    pub model: ModelId,
    /// All tokens of the response.
    pub counts: Counts,
    /// Web searches.
    pub web_searches: u64,
    /// What is charged for it.
    pub usd: Usd,
    /// Whether the script let the whole usage be said; else nobody but the witness can know it.
    pub told: bool,
}

/// The provider's own account.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// All that is charged, whether or not the client stayed to read it.
    pub usd: Usd,
    /// Tokens and charges by the model that served.
    pub by_model: BTreeMap<ModelId, (Counts, Usd)>,
    /// Every charge, in the order of the requests.
    pub bills: Vec<Bill>,
    /// Requests of any kind.
    pub requests: u64,
    /// Requests for a generation, those that were refused included.
    pub generations: u64,
    /// Requests for a token count.
    pub counts: u64,
    /// Generations in flight.
    pub in_flight: u32,
    /// The most generations that were in flight at once.
    pub peak: u32,
    /// What was wrong with requests, one sentence each. A well-behaved client leaves this empty.
    pub violations: Vec<String>,
    /// The bodies of the first generation requests, as they came.
    pub bodies: Vec<Bytes>,
    /// The headers of the first requests of any kind, as they came.
    pub heads: Vec<HeaderMap>,
}

impl Witness {
    /// The tokens of all models.
    #[must_use]
    pub fn tokens(&self) -> Counts {
        let mut sum = Counts::default();
        for (counts, _) in self.by_model.values() {
            sum += *counts;
        }
        sum
    }

    pub(super) fn charge(&mut self, bill: Bill) {
        self.usd += bill.usd;
        let (counts, usd) = self.by_model.entry(bill.model.clone()).or_default();
        *counts += bill.counts;
        *usd += bill.usd;
        self.bills.push(bill);
    }

    pub(super) fn keep_head(&mut self, head: &HeaderMap) {
        self.requests += 1;
        if self.heads.len() < KEPT_MAX {
            self.heads.push(head.clone());
        }
    }

    pub(super) fn keep_body(&mut self, body: &Bytes) {
        self.generations += 1;
        if self.bodies.len() < KEPT_MAX {
            self.bodies.push(body.clone());
        }
    }
}

/// A handle on a running provider's account.
#[derive(Clone, Debug, Default)]
pub struct WitnessHandle(Arc<Mutex<Witness>>);

impl WitnessHandle {
    /// The account as it stands.
    #[must_use]
    pub fn snapshot(&self) -> Witness {
        self.lock().clone()
    }

    /// What is charged so far.
    #[must_use]
    pub fn usd(&self) -> Usd {
        self.lock().usd
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Witness> {
        // Every change is complete before anything that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a generation as in flight until the guard is dropped.
    pub(super) fn enter(&self) -> InFlight {
        let mut witness = self.lock();
        witness.in_flight += 1;
        witness.peak = witness.peak.max(witness.in_flight);
        InFlight(self.clone())
    }
}

/// A generation in flight.
#[derive(Debug)]
pub(super) struct InFlight(WitnessHandle);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}
