//! What holds where the file says nothing, and where there is no file.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::{
    Agent, AskModel, Budget, BudgetLine, CommentPolicy, DearerModel, Deliver, Enforce, FailOr, Holds,
    LedgerChoice, LedgerError, LowBudget, Mode, On, Pace, Period, Preset, Scope, ServerTools, TaskTable,
    TierLimits, Tiers, UnknownModel,
};
use crate::model::{ModelId, Vendor};
use crate::money::Usd;
use crate::task::{Stakes, Task, Tier};

impl Budget {
    /// What holds in a repository without a budget file: the defaults, in observe mode, so that nothing
    /// is stopped before anybody has asked for it.
    #[must_use]
    pub fn builtin() -> Self {
        Self { mode: Mode::Observe, ..defaults(None) }
    }
}

/// What holds where a file says nothing.
pub(super) fn defaults(path: Option<&str>) -> Budget {
    Budget {
        path: path.map(str::to_owned),
        mode: Mode::Enforce,
        timezone: TimeZone::UTC,
        ledger: LedgerChoice::Default,
        ledger_root: None,
        budgets: budgets(),
        tiers: tiers(Preset::Claude),
        tasks: tasks(),
        rules: Vec::new(),
        ask_model: AskModel::Never,
        retry: None,
        agent: agent(),
        on: on(),
        holds: Holds::Whole,
        steer_at: Some(80),
        alerts: vec![50, 80, 95],
        webhooks: Vec::new(),
        comment: CommentPolicy::default(),
        status: None,
        lift: None,
        result_in_comment: false,
        workflows: BTreeMap::new(),
        prices: super::Prices::default(),
    }
}

fn budgets() -> Vec<BudgetLine> {
    let line = |scope, per, dollars, enforce| BudgetLine {
        scope,
        per,
        usd: Usd::from_dollars(dollars),
        enforce,
        pace: Pace::Free,
        line: 0,
    };
    vec![
        line(Scope::Repo, Period::Month, 200, Enforce::Hard),
        line(Scope::Workflow, Period::Day, 25, Enforce::Hard),
        line(Scope::Pr, Period::Total, 5, Enforce::Soft),
    ]
}

/// The tiers where an agent is named and they are not: an agent that speaks to one vendor only gets that
/// vendor's models. Of each vendor, models that the agent knows by itself, and whose prices several tables
/// agree on.
pub(super) fn tiers(preset: Preset) -> Tiers {
    let [high, medium, low] = match preset.only() {
        // A cloud serves Anthropic's.
        Some(Vendor::Anthropic | Vendor::Vertex | Vendor::Bedrock) | None => {
            ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"]
        }
        Some(Vendor::OpenAi) => ["gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-luna"],
        Some(Vendor::Gemini) => ["gemini-3.1-pro-preview", "gemini-3.8-flash", "gemini-3.1-flash-lite"],
    };
    let tier = |model, cents: i128, max_tokens, minutes: u64| TierLimits {
        model: ModelId::new(model),
        max_usd: Usd::from_pico(cents * 10_000_000_000),
        max_tokens: Some(max_tokens),
        timeout: Duration::from_secs(minutes * 60),
        effort: None,
        thinking: None,
    };
    Tiers {
        high: tier(high, 400, 2_000_000, 40),
        medium: tier(medium, 80, 1_000_000, 20),
        low: tier(low, 10, 400_000, 10),
    }
}

/// Unsure stakes go up, never down; prose is never worth the dearest model.
fn tasks() -> TaskTable {
    let row = |task, tiers: [Tier; 3]| Stakes::ALL.map(|stakes| (task, stakes)).into_iter().zip(tiers);
    let by_stakes = [Tier::Low, Tier::Medium, Tier::High];
    let table = row(Task::Implementation, by_stakes)
        .chain(row(Task::Review, by_stakes))
        .chain(row(Task::Docs, [Tier::Low, Tier::Low, Tier::Medium]));
    TaskTable(table.collect())
}

fn agent() -> Agent {
    Agent {
        preset: Preset::Claude,
        args: Vec::new(),
        env: Vec::new(),
        prompt: BTreeMap::new(),
        deliver: Task::ALL
            .map(|task| (task, if task == Task::Review { Deliver::Comment } else { Deliver::Patch }))
            .into(),
    }
}

fn on() -> On {
    On {
        cap: [(Task::Review, FailOr::Fail), (Task::Docs, FailOr::Warn), (Task::Implementation, FailOr::Warn)]
            .into(),
        refused: FailOr::Fail,
        low_budget: LowBudget::Downgrade,
        downgrade_saves: Some(10),
        min_run_usd: Usd::from_pico(20_000_000_000),
        unmetered: FailOr::Fail,
        unknown_model: UnknownModel::Deny,
        server_tools: ServerTools::Deny,
        dearer_model: DearerModel::Remap,
        ledger_error: LedgerError::Fail,
        no_key: FailOr::Pass,
    }
}
