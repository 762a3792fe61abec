//! Every signal that the classifier finds, with its weight, whether or not it decides.

use serde::Serialize;

use super::{ask, change, rules, stakes};
use crate::budget::Rule;
use crate::event::Event;
use crate::task::Task;

/// What a signal speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// What is asked for.
    Task,
    /// What a mistake would cost.
    Stakes,
    /// The nature of the change itself.
    Change,
}

impl Of {
    /// Its name in outputs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Of::Task => "task",
            Of::Stakes => "stakes",
            Of::Change => "change",
        }
    }
}

/// Something that the classifier found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signal {
    /// What it speaks of.
    pub of: Of,
    /// How much it says: a percentage for a task, points for and against documentation for a change, the stakes
    /// it speaks for, `first` for a rule.
    pub weight: String,
    /// Where it was found.
    pub source: String,
    /// What it says.
    pub says: String,
    /// It is the one that decides.
    pub decides: bool,
}

/// Every signal in `event`, strongest first within what it speaks of.
#[must_use]
pub fn signals(event: &Event, rules: &[Rule]) -> Vec<Signal> {
    let mut found = Vec::new();
    let nature = change::nature(event.change.as_ref());
    let decided = rules::decide(event, rules);
    let signal = |of, weight: String, source: &str, says: String, decides| Signal {
        of,
        weight,
        source: source.to_owned(),
        says,
        decides,
    };
    for says in rules::holding(event, rules) {
        let of = if says.contains("so stakes") { Of::Stakes } else { Of::Task };
        let line = says.split(':').next().unwrap_or_default().to_owned();
        let why =
            decided.task.iter().map(|(_, why)| why).chain(decided.stakes.iter().map(|ruled| &ruled.reason));
        let decides = why.into_iter().any(|why| why.contains(&format!("{line} of")));
        found.push(signal(of, "first".to_owned(), "rule", says, decides));
    }
    let asks = ask::all(event, &nature);
    let ruled = decided.task.is_some();
    for (at, (source, ask)) in asks.iter().enumerate() {
        let says = format!("{}: {}", ask.task, ask.reason);
        found.push(signal(Of::Task, format!("{} %", ask.percent), source, says, at == 0 && !ruled));
    }
    if asks.is_empty() {
        let says = format!("{}: nobody asked for anything", Task::Review);
        found.push(signal(Of::Task, "80 %".to_owned(), "event", says, !ruled));
    }
    let (why, ask) = (super::classify(event, rules).reasons, asks.first().map(|(_, ask)| ask));
    let why_stakes = why.get(1).map_or("", String::as_str);
    for (source, says, stakes) in stakes::signals(event, ask, &nature) {
        let decides = why_stakes.contains(says.as_str());
        found.push(signal(Of::Stakes, stakes.to_string(), source, says, decides));
    }
    if let Some(change) = &event.change {
        for (kind, count) in change::kinds(change, &nature) {
            let says = format!("{count} of {}: {kind}", change.files.len());
            found.push(signal(Of::Change, String::new(), "files", says, nature.by_paths));
        }
        for (what, points) in change::title_signs(&change.title) {
            if points != 0 {
                let weight = format!("{points:+}");
                found.push(signal(Of::Change, weight, "title", what.to_owned(), !nature.by_paths));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::{change, code_change, commented, opened, person};

    fn shown(event: &Event, rules: &[Rule]) -> Vec<String> {
        let line = |signal: Signal| {
            let Signal { of, weight, source, says, decides } = signal;
            format!("{}{} {weight} {source}: {says}", if decides { "*" } else { "" }, of.as_str())
        };
        signals(event, rules).into_iter().map(line).collect()
    }

    #[test]
    fn every_signal_is_listed_and_the_deciding_ones_are_marked() {
        let mut event = commented(
            change("docs: how to log in", &[("docs/login.md", 4, 1), ("src/auth/login.rs", 2, 2)]),
            "@agent please fix the typos in the readme",
            person(Some("OWNER")),
        );
        if let Some(change) = &mut event.change {
            change.labels = vec!["agent:implement".to_owned()];
        }
        assert_eq!(
            shown(&event, &[]),
            [
                "*task 90 % comment: docs: the comment asks for prose: \"fix the typos in the readme\"",
                "task 86 % label or event: implementation: the label `agent:implement` is set",
                "stakes low request: is mechanical",
                "stakes high file: src/auth/login.rs is about auth",
                "stakes low change: documentation",
                "change  files: 1 of 2: prose",
                "change  files: 1 of 2: program text, which may hold comments",
                "*change +3 title: how it begins",
            ]
        );
    }

    #[test]
    fn a_rule_is_a_signal_that_comes_first() {
        let budget = crate::budget::parse(
            "version: 1\nrules:\n  - { if: { paths: [\"src/**\"] }, stakes: high }\n",
            "f.yml",
        );
        let event = opened(code_change());
        assert_eq!(
            shown(&event, &budget.expect("it is valid").rules),
            [
                "*stakes first rule: line 3: a changed file matches src/**, so stakes high",
                "*task 80 % event: review: nobody asked for anything",
                "*change  files: 1 of 1: program text, which may hold comments",
            ]
        );
    }
}
