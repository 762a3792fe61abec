//! The summary for scripts: one JSON object whose shape is stable.
//!
//! Fields are only ever added. Amounts are exact decimal dollars as text, because a JSON number is a
//! float to most readers. What does not apply is `null`, never missing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Run;
use crate::ledger::{Balance, Enforce};
use crate::meter::ModelTotals;
use crate::money::Usd;
use crate::outcome::{Outcome, Verdict};
use crate::task::{Stakes, Task, Tier};

/// The object. Its first fields are the step outputs, under the same names.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'a> {
    /// The shape's version: grows only when a field changes its meaning.
    pub version: u32,
    /// What the gate says.
    pub verdict: Verdict,
    /// How the run ended.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: &'a str,
    /// What to do about it.
    pub hint: Option<&'a str>,
    /// What was asked for.
    pub task: Task,
    /// What a mistake would cost.
    pub stakes: Stakes,
    /// What served it; `null` where nothing ran.
    pub tier: Option<Tier>,
    /// The tier's model.
    pub model: Option<&'a str>,
    /// Input tokens that touched no cache.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to a cache.
    pub cache_write_tokens: u64,
    /// The cost.
    pub total_cost_usd: Usd,
    /// The part of the cost that is a worst case, because a usage never came.
    pub estimated_usd: Usd,
    /// What a subscription paid for, at list prices: no part of the cost.
    pub notional_usd: Usd,
    /// Whether a subscription paid for all of it, so that only tokens and time capped it.
    pub subscription: bool,
    /// New tokens: all but cache reads, where a usage never came at their bound.
    pub new_tokens: u64,
    /// The run's cap; `null` where a subscription paid for it.
    pub cap_usd: Option<Usd>,
    /// What the tightest budget has spent.
    pub budget_spent_usd: Option<Usd>,
    /// Its limit.
    pub budget_limit_usd: Option<Usd>,
    /// A request cost more than its bound.
    pub overrun: bool,
    /// The run's hold on the ledger.
    pub hold_id: Option<&'a str>,
    /// The run's folder.
    pub run_folder: Option<&'a str>,
    /// The agent's last text.
    pub result_path: Option<&'a str>,
    /// The agent's uncommitted work.
    pub patch_path: Option<&'a str>,
    /// Where this object is written.
    pub summary_path: Option<&'a str>,
    /// `owner/name`.
    pub repository: &'a str,
    /// The pull request's number.
    pub pull_request: Option<u64>,
    /// When the run began, RFC 3339.
    pub started: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u128,
    /// Whether it was a simulation.
    pub simulated: bool,
    /// Whether budgets stop and fail anything.
    pub enforced: bool,
    /// Requests forwarded.
    pub requests: u64,
    /// Requests answered without being forwarded, because of the cap.
    pub stopped_requests: u64,
    /// What each model used and cost.
    pub by_model: BTreeMap<&'a str, ModelSpend>,
    /// Where every budget stands.
    pub budgets: Vec<BudgetSpend<'a>>,
    /// What routing and caching saved.
    pub savings: SavingsUsd<'a>,
}

/// What one model used and cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ModelSpend {
    /// Requests forwarded.
    pub requests: u64,
    /// The cost.
    pub usd: Usd,
    /// What a subscription paid for, at list prices.
    pub notional_usd: Usd,
    /// Input tokens that touched no cache.
    pub input_tokens: u64,
    /// Input tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to a cache that lives five minutes.
    pub cache_write_5m_tokens: u64,
    /// Input tokens written to a cache that lives one hour.
    pub cache_write_1h_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// Where a budget stands.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetSpend<'a> {
    /// Its name for people.
    pub name: &'a str,
    /// Whose spend counts: `repo`, `pr:17`, …
    pub purse: &'a str,
    /// How often it starts anew.
    pub per: &'a str,
    /// When it does, RFC 3339; `null` for never.
    pub until: Option<String>,
    /// What has been spent.
    pub spent_usd: Usd,
    /// What runs under way may still spend.
    pub held_usd: Usd,
    /// The limit.
    pub limit_usd: Usd,
    /// What happens at the limit: `hard`, `soft`, `count`.
    pub enforce: Enforce,
}

/// What routing and caching saved.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SavingsUsd<'a> {
    /// What the same tokens would have cost more at the high tier's model, at list price.
    pub routing_usd: Usd,
    /// That model; `null` where routing saved nothing.
    pub routing_instead_of: Option<&'a str>,
    /// What the same prompts would have cost more without a cache; negative where the cache cost more.
    pub caching_usd: Usd,
}

impl<'a> Summary<'a> {
    /// The summary of a run.
    #[must_use]
    pub fn of(run: &'a Run) -> Self {
        let counts = run.totals.counts();
        let served = run.served.as_ref();
        let tightest = run.tightest().map(|state| &state.balance);
        Self {
            version: 1,
            verdict: run.gate.verdict,
            outcome: run.gate.outcome,
            reason: &run.gate.reason,
            hint: run.gate.hint.as_deref(),
            task: run.class.task,
            stakes: run.class.stakes,
            tier: served.map(|served| served.tier),
            model: served.map(|served| served.model.as_str()),
            input_tokens: counts.input,
            output_tokens: counts.output,
            cache_read_tokens: counts.cache_read,
            cache_write_tokens: counts.cache_write(),
            total_cost_usd: run.totals.settled,
            estimated_usd: run.totals.estimated,
            notional_usd: run.totals.notional,
            subscription: run.subscription.is_some(),
            new_tokens: run.totals.fresh,
            cap_usd: served.filter(|_| run.subscription.is_none()).map(|served| served.cap),
            budget_spent_usd: tightest.map(|balance| balance.settled),
            budget_limit_usd: tightest.map(|balance| balance.limit.usd),
            overrun: run.totals.overrun.is_some(),
            hold_id: served.map(|served| served.hold.as_str()),
            run_folder: run.files.folder.as_deref(),
            result_path: run.files.result.as_deref(),
            patch_path: run.files.patch.as_deref(),
            summary_path: run.files.summary.as_deref(),
            repository: &run.repository,
            pull_request: run.pr,
            started: run.started.to_string(),
            duration_ms: run.took.as_millis(),
            simulated: run.simulated,
            enforced: run.enforced,
            requests: run.totals.requests,
            stopped_requests: run.totals.stopped_requests,
            by_model: run.totals.by_model.iter().map(|(id, used)| (id.as_str(), used.into())).collect(),
            budgets: run.budgets.iter().map(|state| budget(&state.name, &state.balance)).collect(),
            savings: SavingsUsd {
                routing_usd: run.savings.routing.as_ref().map_or(Usd::ZERO, |(_, usd)| *usd),
                routing_instead_of: run.savings.routing.as_ref().map(|(model, _)| model.as_str()),
                caching_usd: run.savings.caching,
            },
        }
    }
}

impl From<&ModelTotals> for ModelSpend {
    fn from(used: &ModelTotals) -> Self {
        Self {
            requests: used.requests,
            usd: used.usd,
            notional_usd: used.notional,
            input_tokens: used.counts.input,
            cache_read_tokens: used.counts.cache_read,
            cache_write_5m_tokens: used.counts.cache_write_5m,
            cache_write_1h_tokens: used.counts.cache_write_1h,
            output_tokens: used.counts.output,
        }
    }
}

fn budget<'a>(name: &'a str, balance: &'a Balance) -> BudgetSpend<'a> {
    BudgetSpend {
        name,
        purse: &balance.limit.purse,
        per: &balance.limit.per,
        until: balance.limit.window.end.map(|end| end.to_string()),
        spent_usd: balance.settled,
        held_usd: balance.held,
        limit_usd: balance.limit.usd,
        enforce: balance.limit.enforce,
    }
}

/// The summary as the text of a file, ending with a line end.
#[must_use]
pub fn render(run: &Run) -> String {
    let mut text = serde_json::to_string_pretty(&Summary::of(run))
        .expect("text keys, numbers and text are always valid JSON");
    text.push('\n');
    text
}
