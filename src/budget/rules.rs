//! Rules: what their conditions are, and the checks of those in the file.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Rule;
use super::error::{Mistake, quoted};
use super::file::{ConditionKeys, RuleKeys};
use super::read::{At, Place};

/// A text with its place, as a key's value.
type AtText = At<String>;

/// The names of events that a rule may ask for.
pub const EVENTS: [&str; 10] = [
    "pull_request",
    "pull_request_target",
    "issue_comment",
    "pull_request_review_comment",
    "workflow_dispatch",
    "schedule",
    "push",
    "merge_group",
    "workflow_run",
    "local",
];

/// Conditions of a rule besides label and paths; all that are named must hold.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// Text that the title holds, in whatever case.
    pub title: Option<String>,
    /// A pattern for the branch, as written, and compiled.
    pub branch: Option<(String, globset::GlobMatcher)>,
    /// The login of the change's author.
    pub author: Option<String>,
    /// The event, by GitHub's name, or `local`.
    pub event: Option<String>,
    /// Text that the comment holds, in whatever case.
    pub comment: Option<String>,
    /// An extension that a changed file has, without the dot.
    pub language: Option<String>,
    /// How many lines change.
    pub lines: Option<Count>,
    /// How many files change.
    pub files: Option<Count>,
}

/// A bound on a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// At least so many.
    AtLeast(u64),
    /// At most so many.
    AtMost(u64),
}

impl Count {
    /// Reads `> 5`, `>= 5`, `< 5` or `<= 5`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim();
        let number = |rest: &str| rest.trim().replace('_', "").parse::<u64>().ok();
        if let Some(rest) = rest.strip_prefix(">=") {
            number(rest).map(Self::AtLeast)
        } else if let Some(rest) = rest.strip_prefix("<=") {
            number(rest).map(Self::AtMost)
        } else if let Some(rest) = rest.strip_prefix('>') {
            number(rest)?.checked_add(1).map(Self::AtLeast)
        } else {
            number(rest.strip_prefix('<')?)?.checked_sub(1).map(Self::AtMost)
        }
    }

    /// Whether `count` is within.
    #[must_use]
    pub const fn holds(self, count: u64) -> bool {
        match self {
            Self::AtLeast(least) => count >= least,
            Self::AtMost(most) => count <= most,
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

impl When {
    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions().is_empty()
    }

    /// Each condition in words, for `tollgate check` and for reasons.
    #[must_use]
    pub fn conditions(&self) -> Vec<String> {
        let text =
            |what: &str, value: &Option<String>| value.as_ref().map(|value| format!("{what} `{value}`"));
        [
            text("the title holds", &self.title),
            self.branch.as_ref().map(|(written, _)| format!("the branch matches `{written}`")),
            text("the author is", &self.author),
            text("the event is", &self.event),
            text("the comment holds", &self.comment),
            text("a changed file is in", &self.language),
            self.lines.map(|count| format!("{count} lines change")),
            self.files.map(|count| format!("{count} files change")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

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
    one.label == other.label && paths(one) == paths(other) && one.when.conditions() == other.when.conditions()
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
    let ConditionKeys { label, paths, title, branch, author, event, comment, language, lines, files } =
        condition.value;
    let before = mistakes.len();
    let when = When {
        title: title.map(|at| at.value),
        branch: branch.and_then(|at| branch_pattern(at, mistakes)),
        author: author.map(|at| at.value),
        event: event.and_then(|at| event_name(at, mistakes)),
        comment: comment.map(|at| at.value),
        language: language.map(|at| at.value),
        lines: lines.and_then(|at| count(&at, mistakes)),
        files: files.and_then(|at| count(&at, mistakes)),
    };
    if mistakes.len() > before {
        return None;
    }
    if label.is_none() && paths.is_none() && when.is_empty() && nothing_below(&condition.place, mistakes) {
        mistakes.push(condition.place.mistake(
            "the condition is empty, so the rule would hold for everything",
            "name a `label`, some `paths` or another condition",
        ));
    }
    let paths = match paths {
        Some(patterns) => Some(compiled(patterns, mistakes)?),
        None => None,
    };
    Some(Rule { label: label.map(|at| at.value), paths, when, task, stakes, line: place.at.line })
}

fn branch_pattern(at: AtText, mistakes: &mut Vec<Mistake>) -> Option<(String, globset::GlobMatcher)> {
    match GlobBuilder::new(&at.value).literal_separator(true).build() {
        Ok(glob) => Some((at.value, glob.compile_matcher())),
        Err(error) => {
            mistakes.push(at.place.mistake(
                format!("{} is no pattern: {}", quoted(&at.value), error.kind()),
                "write a pattern such as `release/**`",
            ));
            None
        }
    }
}

fn event_name(at: AtText, mistakes: &mut Vec<Mistake>) -> Option<String> {
    // The names that events have; a test compares them with those of the event module.
    if EVENTS.contains(&at.value.as_str()) {
        return Some(at.value);
    }
    mistakes.push(at.place.mistake(
        format!("{} is no event that tollgate answers to", quoted(&at.value)),
        format!("write one of {}", EVENTS.join(", ")),
    ));
    None
}

fn count(at: &AtText, mistakes: &mut Vec<Mistake>) -> Option<Count> {
    let found = Count::parse(&at.value);
    if found.is_none() {
        mistakes.push(at.place.mistake(
            format!("{} is no bound", quoted(&at.value)),
            "write `\"> 500\"`, `\">= 500\"`, `\"< 20\"` or `\"<= 20\"`",
        ));
    }
    found
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
