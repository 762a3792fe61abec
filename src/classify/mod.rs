//! Classify: what is asked for, and what a mistake would cost.
//!
//! The order of precedence is this module's whole story: the budget file's [`rules`]; then who asked, in
//! which words, about what ([`ask`], which reads them with [`request`] and [`text`]); and where nobody
//! asked for anything, a review. [`change`] says what the change itself is, from its [`paths`] and its
//! title; [`stakes`] what a mistake would cost. Every signal carries a percentage and a reason; [`explain`]
//! lists all of them, and [`opinion`] is what a model may add where they leave doubt.
//!
//! Text by people who may not write to the repository can raise the stakes. It never lowers them, and
//! never chooses a task other than a review.

mod ask;
mod change;
mod clause;
pub mod explain;
mod foreign;
mod object;
pub mod opinion;
mod patch;
mod paths;
mod phrases;
mod request;
mod rules;
mod stakes;
mod text;
mod words;

use serde::{Deserialize, Serialize};

use crate::budget::Rule;
use crate::event::Event;
use crate::task::{Stakes, Task};

/// The nature of a change itself, whatever was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Prose, comments, licences, diagrams.
    Docs,
    /// Everything else.
    Implementation,
}

impl ChangeKind {
    /// The kind's name in outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Docs => "docs",
            ChangeKind::Implementation => "implementation",
        }
    }
}

/// The classifier's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// What is asked for.
    pub task: Task,
    /// The nature of the change itself.
    pub change_kind: ChangeKind,
    /// What a mistake would cost.
    pub stakes: Stakes,
    /// How sure it is, in percent: of the task or of the change's nature, whichever is less sure.
    pub confidence: u8,
    /// Why, in words, the strongest reason first.
    pub reasons: Vec<String>,
}

/// Classifies what `event` asks for.
#[must_use]
pub fn classify(event: &Event, rules: &[Rule]) -> Class {
    let nature = change::nature(event.change.as_ref());
    let decided = rules::decide(event, rules);
    let ask = ask::find(event, &nature);
    let (task, percent, why_task) = match (decided.task, &ask) {
        (Some((task, why)), _) => (task, 99, why),
        (None, Some(ask)) => (ask.task, ask.percent, ask.reason.clone()),
        (None, None) => (Task::Review, 80, "nobody asked for anything, so it is a review".to_owned()),
    };
    // A rule may have chosen another task than the words did; then the words say nothing of it.
    let spoken = ask.as_ref().filter(|ask| ask.task == task);
    let (built_in, why_built_in) = stakes::judge(event, task, spoken, &nature);
    let (stakes, why_stakes) = match decided.stakes {
        Some(ruled) if ruled.stakes < built_in && !ruled.may_lower => {
            (built_in, format!("{why_built_in}; a rule may lower that only where every changed file matches"))
        }
        Some(ruled) => (ruled.stakes, ruled.reason),
        None => (built_in, why_built_in),
    };
    Class {
        task,
        change_kind: nature.kind,
        stakes,
        confidence: percent.min(nature.percent),
        reasons: vec![
            format!("task {task}: {why_task}"),
            format!("stakes {stakes}: {why_stakes}"),
            format!("change {}: {}", nature.kind.as_str(), nature.reason),
        ],
    }
}

#[cfg(test)]
mod tests;
