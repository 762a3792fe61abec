//! From what is written to what is meant: the checks that need more than one value to see a mistake.
//!
//! Each check adds to one list and goes on, so that a person sees every mistake at once; the budget that
//! comes out is used only when the list stays empty. Budget lines are checked in `lines`, rules in `rules`.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::error::{Mistake, nearest, quoted};
use super::file::{AgentKeys, CommitName, File, OnKeys, TierKeys};
use super::read::{At, By, OrOff, Place};
use super::scalar::exact;
use super::{
    Agent, Budget, Holds, LedgerChoice, On, Preset, TaskTable, TierLimits, Tiers, defaults, forge, lines,
    policies, prices, rules,
};
use crate::credentials;
use crate::model::{ModelId, Vendor};
use crate::task::{Stakes, Task, Tier};

/// Turns what is written into a budget, with the defaults where nothing is.
pub(super) fn checked(file: File, path: &str, mistakes: &mut Vec<Mistake>) -> Budget {
    let mut budget = defaults::defaults(Some(path));
    set(&mut budget.mode, file.mode);
    set(&mut budget.ledger, file.ledger);
    if let Some(root) = file.ledger_root {
        apply_root(&mut budget, root, mistakes);
    }
    if let Some(name) = file.timezone {
        budget.timezone = timezone(&name, mistakes);
    }
    if let Some(on) = file.on {
        apply_on(&mut budget.on, on.value);
    }
    if let Some(written) = file.budgets {
        budget.budgets = lines::checked(written.value, &budget, mistakes);
    }
    if let Some(named) = file.workflows {
        budget.workflows = lines::checked_workflows(named.value.0, &budget, mistakes);
    }
    let preset = file.agent.as_ref().and_then(|agent| agent.value.preset.as_ref()).map(|preset| preset.value);
    let preset = preset.unwrap_or(budget.agent.preset);
    budget.tiers = defaults::tiers(preset);
    if let Some(tiers) = file.tiers {
        foreign_models(preset, &tiers.value, mistakes);
        apply_tiers(&mut budget.tiers, tiers.value, &budget.on, mistakes);
    }
    if let Some(tasks) = file.tasks {
        apply_tasks(&mut budget.tasks, tasks.value, mistakes);
    }
    if let Some(written) = file.rules {
        budget.rules = rules::checked(written.value, mistakes);
    }
    if let Some(keys) = file.classify {
        set(&mut budget.ask_model, keys.value.ask_model);
    }
    if let Some(keys) = file.retry {
        budget.retry = policies::retry(keys.value);
    }
    if let Some(agent) = file.agent {
        apply_agent(&mut budget.agent, agent, mistakes);
    }
    if let Some(holds) = file.holds {
        apply_holds(&mut budget, &holds, mistakes);
    }
    match file.steer_at.map(|at| at.value) {
        Some(OrOff::Off) => budget.steer_at = None,
        Some(OrOff::Is(percent)) => budget.steer_at = Some(percent.0),
        None => {}
    }
    if let Some(alerts) = file.alerts {
        (budget.alerts, budget.webhooks) = forge::thresholds(alerts.value, mistakes);
    }
    if let Some(result) = file.comment.and_then(|keys| forge::apply_comment(&mut budget.comment, keys.value))
    {
        budget.result_in_comment = result;
    }
    if let Some(context) = file.status {
        budget.status = forge::context(context, mistakes);
    }
    if let Some(keys) = file.lift {
        budget.lift = forge::checked_override(keys.value, mistakes);
    }
    if let Some(keys) = file.prices {
        budget.prices = prices::checked(keys.value, mistakes);
    }
    budget
}

fn apply_root(budget: &mut Budget, root: At<CommitName>, mistakes: &mut Vec<Mistake>) {
    let kind = match budget.ledger {
        LedgerChoice::File(_) => Some("a file ledger"),
        LedgerChoice::Postgres => Some("a PostgreSQL ledger"),
        LedgerChoice::Default | LedgerChoice::Git(_) => None,
    };
    if let Some(kind) = kind {
        mistakes.push(root.place.mistake(
            format!("{kind} has no commits, so it has no first one"),
            "remove the key, or write `ledger: git`",
        ));
    }
    budget.ledger_root = Some(root.value.0);
}

/// A branch is written with a token, which would have to be at hand while the agent runs.
fn apply_holds(budget: &mut Budget, holds: &At<Holds>, mistakes: &mut Vec<Mistake>) {
    if holds.value == Holds::Grow && matches!(budget.ledger, LedgerChoice::Git(_) | LedgerChoice::Default) {
        mistakes.push(holds.place.mistake(
            "a hold that grows is written while the agent runs, and a ledger on a branch is not",
            "write `ledger: postgres` or `ledger: file`, or leave the key out",
        ));
    }
    budget.holds = holds.value;
}

fn set<T>(target: &mut T, written: Option<At<T>>) {
    if let Some(written) = written {
        *target = written.value;
    }
}

fn timezone(name: &At<String>, mistakes: &mut Vec<Mistake>) -> TimeZone {
    if let Ok(zone) = TimeZone::get(&name.value) {
        return zone;
    }
    let names: Vec<String> = jiff::tz::db().available().map(|zone| zone.as_str().to_owned()).collect();
    let by_city = || {
        let city = name.value.replace(' ', "_").to_lowercase();
        names
            .iter()
            .map(String::as_str)
            .find(|zone| zone.rsplit_once('/').is_some_and(|(_, last)| last.to_lowercase() == city))
    };
    let hint = match by_city().or_else(|| nearest(&name.value, names.iter().map(String::as_str))) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write an IANA name such as `UTC` or `Europe/Berlin`".to_owned(),
    };
    mistakes.push(name.place.mistake(format!("{} is no time zone", quoted(&name.value)), hint));
    TimeZone::UTC
}

fn apply_on(on: &mut On, keys: OnKeys) {
    if let Some(cap) = keys.cap {
        on.cap.extend(cap.value.0.into_iter().map(|(task, at)| (task, at.value.0)));
    }
    if let Some(refused) = keys.refused {
        on.refused = refused.value.0;
    }
    if let Some(unmetered) = keys.unmetered {
        on.unmetered = unmetered.value.0;
    }
    if let Some(no_key) = keys.no_key {
        on.no_key = no_key.value.0;
    }
    set(&mut on.low_budget, keys.low_budget);
    match keys.downgrade_saves.map(|at| at.value) {
        Some(OrOff::Off) => on.downgrade_saves = None,
        Some(OrOff::Is(percent)) => on.downgrade_saves = Some(percent.0),
        None => {}
    }
    set(&mut on.min_run_usd, keys.min_run_usd);
    set(&mut on.unknown_model, keys.unknown_model);
    set(&mut on.server_tools, keys.server_tools);
    set(&mut on.dearer_model, keys.dearer_model);
    set(&mut on.ledger_error, keys.ledger_error);
}

fn apply_tiers(tiers: &mut Tiers, written: By<Tier, TierKeys>, on: &On, mistakes: &mut Vec<Mistake>) {
    let mut caps: BTreeMap<Tier, Place> = BTreeMap::new();
    for (tier, keys) in written.0 {
        let limits = match tier {
            Tier::High => &mut tiers.high,
            Tier::Medium => &mut tiers.medium,
            Tier::Low => &mut tiers.low,
        };
        caps.extend(apply_tier(limits, keys.value, mistakes).map(|place| (tier, place)));
    }
    for (tier, place) in &caps {
        let cap = tiers.get(*tier).max_usd;
        if cap < on.min_run_usd {
            mistakes.push(place.mistake(
                format!(
                    "the cap of {} is below `on.min_run_usd` of {}, so no run of this tier could start",
                    exact(cap),
                    exact(on.min_run_usd)
                ),
                format!("write at least `{}`, or lower `on.min_run_usd`", on.min_run_usd),
            ));
        }
    }
    if let (Some(low), true) = (caps.get(&Tier::Low), caps.contains_key(&Tier::High))
        && tiers.low.max_usd > tiers.high.max_usd
    {
        mistakes.push(low.mistake(
            format!(
                "the low tier's cap of {} is above the high tier's of {}",
                exact(tiers.low.max_usd),
                exact(tiers.high.max_usd)
            ),
            "give the dearest model the largest cap; the two may have been swapped",
        ));
    }
}

/// Models that an agent which speaks to one vendor only could not ask for.
fn foreign_models(preset: Preset, written: &By<Tier, TierKeys>, mistakes: &mut Vec<Mistake>) {
    let Some(only) = preset.only() else { return };
    for (tier, keys) in &written.0 {
        let Some(model) = &keys.value.model else { continue };
        let maker = Vendor::maker(&ModelId::new(&model.value));
        if maker.is_some_and(|maker| maker != only) {
            let model_of = defaults::tiers(preset).get(*tier).model.clone();
            mistakes.push(model.place.mistake(
                format!(
                    "{} speaks to {} only, which has no {}",
                    preset.title(),
                    only.title(),
                    quoted(&model.value)
                ),
                format!("write a model of theirs, such as `{model_of}`, or another agent in `agent.use`"),
            ));
        }
    }
}

/// Returns where the dollar cap is written, if it is.
fn apply_tier(limits: &mut TierLimits, keys: TierKeys, mistakes: &mut Vec<Mistake>) -> Option<Place> {
    if let Some(model) = keys.model {
        limits.model = ModelId::new(&model.value);
    }
    match keys.max_tokens.map(|at| at.value) {
        Some(OrOff::Off) => limits.max_tokens = None,
        Some(OrOff::Is(tokens)) => limits.max_tokens = Some(tokens.0),
        None => {}
    }
    set(&mut limits.timeout, keys.timeout);
    policies::thinking(limits, keys.effort, keys.thinking, mistakes);
    let cap = keys.max_usd?;
    limits.max_usd = cap.value;
    Some(cap.place)
}

fn apply_tasks(table: &mut TaskTable, written: By<Task, By<Stakes, Tier>>, mistakes: &mut Vec<Mistake>) {
    for (task, row) in written.0 {
        table.0.extend(row.value.0.iter().map(|(stakes, tier)| ((task, *stakes), tier.value)));
        for [lower, higher] in [[Stakes::Low, Stakes::Medium], [Stakes::Medium, Stakes::High]] {
            let (below, above) = (table.tier(task, lower), table.tier(task, higher));
            if above >= below {
                continue;
            }
            let mut least = Tier::Low;
            let [low, medium, high] = Stakes::ALL.map(|stakes| {
                least = least.max(table.tier(task, stakes));
                least
            });
            mistakes.push(row.place.mistake(
                format!(
                    "{higher} stakes get the {above} tier, cheaper than the {below} tier of {lower} stakes"
                ),
                format!(
                    "let the tier rise with the stakes, such as \
                     `{{ low: {low}, medium: {medium}, high: {high} }}`"
                ),
            ));
            break;
        }
    }
}

/// Variables that lead an agent past the meter, besides those that give it credentials.
const PAST_THE_METER: [&str; 9] = [
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_VERTEX_BASE_URL",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "GOOGLE_GEMINI_BASE_URL",
    "OPENAI_API_BASE",
    "OPENAI_BASE_URL",
];

fn apply_agent(agent: &mut Agent, written: At<AgentKeys>, mistakes: &mut Vec<Mistake>) {
    let keys = written.value;
    let preset_place = keys.preset.as_ref().map_or(&written.place, |preset| &preset.place).clone();
    let args_place = keys.args.as_ref().map(|args| args.place.clone());
    set(&mut agent.preset, keys.preset);
    if let Some(args) = keys.args {
        agent.args = args.value.into_iter().map(|arg| arg.value.0).collect();
    }
    if let Some(names) = keys.env {
        for name in &names.value {
            variable(name, mistakes);
        }
        agent.env = names.value.into_iter().map(|name| name.value).collect();
    }
    if let Some(prompts) = keys.prompt {
        agent.prompt.extend(prompts.value.0.into_iter().map(|(task, text)| (task, text.value.0)));
    }
    if let Some(deliver) = keys.deliver {
        agent.deliver.extend(deliver.value.0.into_iter().map(|(task, way)| (task, way.value)));
    }
    let args_are_wrong = mistakes.iter().any(|mistake| mistake.key.starts_with("agent.args"));
    if agent.preset == Preset::Command && agent.args.is_empty() && !args_are_wrong {
        mistakes.push(args_place.unwrap_or(preset_place).mistake(
            "`use: command` needs the command line, and `args` has none",
            "add it, such as `args: [./scripts/agent, --once]`",
        ));
    }
}

fn variable(name: &At<String>, mistakes: &mut Vec<Mistake>) {
    let text = &name.value;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some((before, _)) = text.split_once('=') {
        mistakes.push(name.place.mistake(
            format!("{} sets a value; only names are let through", quoted(text)),
            format!("write `{before}` here, and set it in the workflow's `env:`"),
        ));
    } else if !text.chars().all(word) || text.starts_with(|c: char| c.is_ascii_digit()) {
        mistakes.push(name.place.mistake(
            format!("{} is no name of an environment variable", quoted(text)),
            "write a name of letters, digits and `_`, such as `JAVA_HOME`",
        ));
    } else if credentials::are_in(text) || PAST_THE_METER.contains(&text.as_str()) {
        mistakes.push(name.place.mistake(
            format!("{} would let the agent spend past the meter", quoted(text)),
            "remove it; tollgate keeps the key, and gives the agent the meter's address in its place",
        ));
    }
}
