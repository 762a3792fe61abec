//! Checks of the rules.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Rule;
use super::error::{Mistake, quoted};
use super::file::{ConditionKeys, RuleKeys};
use super::read::{At, Place};

/// The rules of the file, without those that are wrong.
pub(super) fn checked(written: Vec<At<RuleKeys>>, mistakes: &mut Vec<Mistake>) -> Vec<Rule> {
    let mut kept: Vec<(Place, Rule)> = Vec::new();
    for At { place, value } in written {
        let Some(rule) = one(&place, value, mistakes) else { continue };
        match kept.iter().find(|(_, earlier)| same_condition(earlier, &rule)) {
            Some((earlier, _)) => mistakes.push(place.mistake(
                format!(
                    "is never reached: `{}` at {} has the same condition and comes first",
                    earlier.key, earlier.at
                ),
                "put what both decide into one rule, or remove one",
            )),
            None => kept.push((place, rule)),
        }
    }
    kept.into_iter().map(|(_, rule)| rule).collect()
}

fn same_condition(one: &Rule, other: &Rule) -> bool {
    let paths = |rule: &Rule| rule.paths.as_ref().map(|(patterns, _)| patterns.clone());
    one.label == other.label && paths(one) == paths(other)
}

fn one(place: &Place, keys: RuleKeys, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let (task, stakes) = (keys.task.map(|at| at.value), keys.stakes.map(|at| at.value));
    let condition = keys.condition?;
    if task.is_none() && stakes.is_none() && keys_of_effect_absent(place, mistakes) {
        mistakes.push(place.mistake(
            "the rule decides nothing",
            "add what it decides: `task: review`, `stakes: high` or both",
        ));
    }
    let ConditionKeys { label, paths } = condition.value;
    if label.is_none() && paths.is_none() && nothing_below(&condition.place, mistakes) {
        mistakes.push(condition.place.mistake(
            "the condition is empty, so the rule would hold for everything",
            "name a `label`, some `paths` or both",
        ));
    }
    let paths = match paths {
        Some(patterns) => Some(compiled(patterns, mistakes)?),
        None => None,
    };
    Some(Rule { label: label.map(|at| at.value), paths, task, stakes, line: place.at.line })
}

/// A key that was written and is wrong has its message already; the rule is not called empty on top.
fn keys_of_effect_absent(place: &Place, mistakes: &[Mistake]) -> bool {
    let below = |name: &str| format!("{}.{name}", place.key);
    let (task, stakes) = (below("task"), below("stakes"));
    !mistakes.iter().any(|mistake| mistake.key == task || mistake.key == stakes)
}

fn nothing_below(place: &Place, mistakes: &[Mistake]) -> bool {
    !mistakes.iter().any(|mistake| mistake.key.starts_with(&format!("{}.", place.key)))
}

fn compiled(written: At<Vec<At<String>>>, mistakes: &mut Vec<Mistake>) -> Option<(Vec<String>, GlobSet)> {
    let before = mistakes.len();
    let mut set = GlobSetBuilder::new();
    let mut patterns = Vec::new();
    if written.value.is_empty() && nothing_below(&written.place, mistakes) {
        mistakes
            .push(written.place.mistake("the list of paths is empty", "add a pattern such as `src/auth/**`"));
    }
    for pattern in written.value {
        if let Some((problem, hint)) = misread(&pattern.value) {
            mistakes.push(pattern.place.mistake(problem, hint));
            continue;
        }
        match GlobBuilder::new(&pattern.value).literal_separator(true).build() {
            Ok(glob) => {
                set.add(glob);
            }
            Err(error) => mistakes.push(pattern.place.mistake(
                format!("{} is no pattern: {}", quoted(&pattern.value), error.kind()),
                "in patterns, `*` is any name, `**` any folders, `[ab]` one of some letters, and `{a,b}` one of \
                 some texts",
            )),
        }
        patterns.push(pattern.value);
    }
    match set.build() {
        Ok(set) if mistakes.len() == before => Some((patterns, set)),
        Ok(_) => None,
        Err(error) => {
            mistakes.push(written.place.mistake(
                format!("the patterns are too much together: {}", error.kind()),
                "use fewer, broader ones",
            ));
            None
        }
    }
}

/// Patterns that are valid and would not match what their author thinks of.
fn misread(pattern: &str) -> Option<(String, String)> {
    let shown = quoted(pattern);
    let fixed = pattern.trim_start_matches("./").trim_start_matches('/');
    if pattern.starts_with('!') {
        return Some((
            format!("{shown} starts with `!`, and patterns cannot exclude"),
            "name the paths that should match".to_owned(),
        ));
    }
    if fixed != pattern {
        return Some((
            format!("{shown} would match nothing: paths are relative to the repository"),
            format!("write `{fixed}`"),
        ));
    }
    if pattern.ends_with('/') {
        return Some((
            format!("{shown} would match nothing: only files change, and this is a folder"),
            format!("write `{pattern}**`"),
        ));
    }
    None
}
