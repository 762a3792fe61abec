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
    let nothing = Change::default();
    let change = event.change.as_ref().unwrap_or(&nothing);
    for rule in rules.iter().filter(|rule| matches(rule, event, change)) {
        let why = format!("rule on line {} of the budget file: {}", rule.line, condition(rule));
        let by_outsider = rests_on_outsider(rule, event, change);
        if let (None, Some(task)) = (&decided.task, rule.task)
            && (!by_outsider || task == Task::Review)
        {
            decided.task = Some((task, why.clone()));
        }
        if let (None, Some(stakes)) = (&decided.stakes, rule.stakes) {
            let may_lower = !by_outsider && matches_everything(rule, change);
            decided.stakes = Some(Ruled { stakes, reason: why, may_lower });
        }
    }
    decided
}

/// Every rule that holds, in words, with what it decides.
pub(super) fn holding(event: &Event, rules: &[Rule]) -> Vec<String> {
    let nothing = Change::default();
    let change = event.change.as_ref().unwrap_or(&nothing);
    let say = |rule: &Rule| {
        let task = rule.task.map(|task| format!("task {task}"));
        let stakes = rule.stakes.map(|stakes| format!("stakes {stakes}"));
        let effects: Vec<String> = task.into_iter().chain(stakes).collect();
        format!("line {}: {}, so {}", rule.line, condition(rule), effects.join(" and "))
    };
    rules.iter().filter(|rule| matches(rule, event, change)).map(say).collect()
}

/// Whether a rule holds because of words that somebody chose who may not write to the repository.
fn rests_on_outsider(rule: &Rule, event: &Event, change: &Change) -> bool {
    let words = rule.when.title.is_some() || rule.when.branch.is_some();
    let comment = event.comment.as_ref().is_some_and(|(_, author)| author.bot || !author.trusted());
    (words && !change.author.trusted()) || (rule.when.comment.is_some() && comment)
}

fn matches_when(rule: &Rule, event: &Event, change: &Change) -> bool {
    let when = &rule.when;
    let holds = |wanted: &Option<String>, text: &str| {
        wanted.as_ref().is_none_or(|wanted| text.to_lowercase().contains(&wanted.to_lowercase()))
    };
    let comment = event.comment.as_ref().map_or("", |(text, _)| text.as_str());
    let extension = |path: &str| path.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    holds(&when.title, &change.title)
        && when.branch.as_ref().is_none_or(|(_, glob)| glob.is_match(&change.branch))
        && when.author.as_ref().is_none_or(|author| author.eq_ignore_ascii_case(&change.author.login))
        && when.event.as_ref().is_none_or(|name| name == event.kind.as_str())
        && holds(&when.comment, comment)
        && when.language.as_ref().is_none_or(|language| {
            let language = language.trim_start_matches('.').to_lowercase();
            change.files.iter().any(|file| extension(&file.path).as_deref() == Some(&language))
        })
        && when.lines.is_none_or(|count| {
            event.change.is_some()
                && count.holds(change.additions_total.saturating_add(change.deletions_total))
        })
        && when.files.is_none_or(|count| event.change.is_some() && count.holds(change.files_total))
}

fn matches(rule: &Rule, event: &Event, change: &Change) -> bool {
    let label = rule
        .label
        .as_ref()
        .is_none_or(|label| change.labels.iter().any(|set| set.eq_ignore_ascii_case(label)));
    let paths = rule
        .paths
        .as_ref()
        .is_none_or(|(_, globs)| change.files.iter().any(|file| globs.is_match(&file.path)));
    let named = rule.label.is_some() || rule.paths.is_some() || !rule.when.is_empty();
    label && paths && named && matches_when(rule, event, change)
}

fn matches_everything(rule: &Rule, change: &Change) -> bool {
    let Some((_, globs)) = &rule.paths else {
        return rule.when.language.is_none();
    };
    change.files.len() as u64 >= change.files_total
        && change.files.iter().all(|file| globs.is_match(&file.path))
}

fn condition(rule: &Rule) -> String {
    let label = rule.label.as_ref().map(|label| format!("the label `{label}` is set"));
    let paths =
        rule.paths.as_ref().map(|(written, _)| format!("a changed file matches {}", written.join(", ")));
    label.into_iter().chain(paths).chain(rule.when.conditions()).collect::<Vec<_>>().join(", and ")
}
