//! The budget file's own rules, which come before the built-in classifier.

use crate::budget::Rule;
use crate::event::{Change, Event};
use crate::task::{Stakes, Task};

/// What the rules decide, each with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    /// By the first rule that matches and names a task.
    pub(super) task: Option<(Task, String)>,
    /// By the first rule that matches and names stakes.
    pub(super) stakes: Option<Ruled>,
}

/// Stakes by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruled {
    pub(super) stakes: Stakes,
    pub(super) reason: String,
    /// The rule may lower stakes. One that names paths may do so only where every changed file is known
    /// and matches: else whoever adds one harmless file would choose the cheap model for the rest.
    pub(super) may_lower: bool,
}

/// Asks the rules in the file's order; the first match wins, for the task and for the stakes apart, so
/// that a label which chooses a task cannot switch off a later rule that raises the stakes.
pub(super) fn decide(event: &Event, rules: &[Rule]) -> Decided {
    let mut decided = Decided::default();
    let Some(change) = &event.change else { return decided };
    for rule in rules.iter().filter(|rule| matches(rule, change)) {
        let why = format!("rule on line {} of the budget file: {}", rule.line, condition(rule));
        if let (None, Some(task)) = (&decided.task, rule.task) {
            decided.task = Some((task, why.clone()));
        }
        if let (None, Some(stakes)) = (&decided.stakes, rule.stakes) {
            let may_lower = matches_everything(rule, change);
            decided.stakes = Some(Ruled { stakes, reason: why, may_lower });
        }
    }
    decided
}

fn matches(rule: &Rule, change: &Change) -> bool {
    let label = rule
        .label
        .as_ref()
        .is_none_or(|label| change.labels.iter().any(|set| set.eq_ignore_ascii_case(label)));
    let paths = rule
        .paths
        .as_ref()
        .is_none_or(|(_, globs)| change.files.iter().any(|file| globs.is_match(&file.path)));
    label && paths && (rule.label.is_some() || rule.paths.is_some())
}

fn matches_everything(rule: &Rule, change: &Change) -> bool {
    let Some((_, globs)) = &rule.paths else { return true };
    change.files.len() as u64 >= change.files_total
        && change.files.iter().all(|file| globs.is_match(&file.path))
}

fn condition(rule: &Rule) -> String {
    let label = rule.label.as_ref().map(|label| format!("the label `{label}` is set"));
    let paths =
        rule.paths.as_ref().map(|(written, _)| format!("a changed file matches {}", written.join(", ")));
    [label, paths].into_iter().flatten().collect::<Vec<_>>().join(", and ")
}
