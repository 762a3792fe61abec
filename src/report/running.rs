//! The comment while a run is under way: what runs, under which cap, and what it has crossed so far.

use super::alerts::Alert;
use super::around::{self, Around};
use super::comment::Marker;
use super::{cut, defuse, text};
use crate::gate::Tokens;
use crate::model::ModelId;
use crate::money::Usd;
use crate::task::{Stakes, Task, Tier};

/// A run that has started.
#[derive(Clone, Debug)]
pub struct Started {
    /// What it is to do.
    pub task: Task,
    /// What a mistake would cost.
    pub stakes: Stakes,
    /// The tier.
    pub tier: Tier,
    /// The tier's model.
    pub model: ModelId,
    /// The run's cap.
    pub cap: Usd,
    /// What it may use of a subscription, where one pays for it.
    pub subscription: Option<Tokens>,
    /// Whether budgets stop and fail anything.
    pub enforced: bool,
    /// Whether anybody may read the repository, or the comment is to show no other budgets.
    pub public: bool,
    /// The budget file as its readers know it.
    pub budget_file: Option<String>,
    /// What is known around it.
    pub around: Around,
}

/// The whole comment of a run that is under way, with the thresholds it has crossed so far.
#[must_use]
pub fn render(started: &Started, alerts: &[Alert], key: &str, run_id: &str) -> String {
    let body = body(started, alerts);
    let marker = Marker::of(&body, key, run_id);
    cut::cut(&format!("{marker}\n{body}"), cut::COMMENT, super::comment::NOTICE)
}

fn body(started: &Started, alerts: &[Alert]) -> String {
    let Started { task, stakes, tier, model, cap, around, .. } = started;
    let capped = match started.enforced {
        true if started.subscription.is_some() => {
            let most = started.subscription.and_then(|tokens| tokens.most);
            let most =
                most.map_or("time alone".to_owned(), |most| format!("{} new tokens", text::count(most)));
            format!("running on a subscription · cap {most}")
        }
        true => format!("running · cap {}", cap.shown()),
        false => "running · observed, nothing is enforced".to_owned(),
    };
    let mut out = format!("### Agent cost: {}\n", defuse::prose(&capped));
    let what =
        format!("A run for {task} at {stakes} stakes, at the {tier} tier ({}).", text::quote(model.as_str()));
    out.push_str(&format!("\n{}\n", defuse::prose(&what)));
    out.push_str(&around::alerts(alerts, started.public));
    out.push_str(&super::markdown::siblings(&around.siblings));
    out.push_str(&around::render(around, started.budget_file.as_deref(), started.public));
    if let Some(commit) = &around.commit {
        out.push_str(&format!("\n<sub>commit {}</sub>\n", defuse::prose(&text::quote(text::short(commit)))));
    }
    out
}
