//! What an edit of the budget file changes in what it means, as lines to take away and lines to add.
//!
//! It compares the explanations, not the texts: comments, order of keys and spelled-out defaults change
//! nothing.

use super::Budget;
use super::explain::explain;

/// Lines of a difference; the rest of a longer one is counted.
const LINES_MAX: usize = 60;

/// What would be different if `new` held instead of `old`: `- ` before what would no longer hold, `+ `
/// before what would. Empty where both mean the same.
#[must_use]
pub fn changes(old: &Budget, new: &Budget) -> Vec<String> {
    let (old, new) = (meaning(old), meaning(new));
    let mut lines = difference(&old, &new);
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(format!("… and {more} more lines"));
    }
    lines
}

/// The explanation's lines, without what differs from file to file and means nothing: where a budget is
/// written, and how wide a column is.
fn meaning(budget: &Budget) -> Vec<String> {
    let plain = |line: &str| {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = match line.find(" (line ") {
            Some(at) => {
                line.find(").").map_or(line.clone(), |end| format!("{}{}", &line[..at], &line[end + 1..]))
            }
            None => line.replace(" (default).", "."),
        };
        match line.strip_prefix("Line ").and_then(|rest| rest.split_once(": if ")) {
            Some((number, rule)) if number.bytes().all(|b| b.is_ascii_digit()) => format!("Rule: if {rule}"),
            _ => line,
        }
    };
    explain(budget).lines().map(plain).filter(|line| !line.is_empty()).collect()
}

/// The lines that are not common to both, in order, by the longest common subsequence.
fn difference(old: &[String], new: &[String]) -> Vec<String> {
    // How long the longest common subsequence of the rests is.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, before) in old.iter().enumerate().rev() {
        for (j, after) in new.iter().enumerate().rev() {
            common[i][j] = match before == after {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::parse;

    fn of(old: &str, new: &str) -> Vec<String> {
        let read = |text: &str| parse(text, "f.yml").expect("it is valid");
        changes(&read(old), &read(new))
    }

    #[test]
    fn what_means_the_same_changes_nothing() {
        let old = "version: 1\nbudgets:\n  - { scope: repo, per: month, usd: 200 }\n";
        let new = "# Ours\nversion: 1\n\nmode: enforce\nbudgets:\n  - { usd: 200.00, scope: repo, per: month, enforce: hard }\n";
        assert_eq!(of(old, new), Vec::<String>::new());
    }

    #[test]
    fn a_raised_budget_and_a_dearer_tier_are_seen() {
        let old = "version: 1\nbudgets:\n  - { scope: repo, per: month, usd: 200 }\n";
        let new = "version: 1\nbudgets:\n  - { scope: repo, per: month, usd: 2000, enforce: warn }\ntiers:\n  low: { max_usd: 1.00 }\nrules:\n  - { if: { label: x }, task: docs }\n";
        assert_eq!(
            of(old, new),
            [
                "- All runs of the repository together may cost $200.00 a month, hard.",
                "- No run gets a cap above what is left; with too little left, none starts.",
                "- The most it can be passed by: $0.00.",
                "+ All runs of the repository together may cost $2,000.00 a month, warn.",
                "+ Once the limit is reached it is said; checks pass and runs go on.",
                "+ It can be passed without bound.",
                "- low claude-haiku-5-5 $0.10 400,000 new tokens 10m",
                "+ low claude-haiku-5-5 $1.00 400,000 new tokens 10m",
                "+ Rule: if the label `x` is set, the task is docs.",
            ]
        );
    }

    #[test]
    fn a_long_difference_is_cut_and_says_so() {
        let rules: String =
            (0..100).map(|n| format!("  - {{ if: {{ label: l{n} }}, task: docs }}\n")).collect();
        let lines = of("version: 1\n", &format!("version: 1\nrules:\n{rules}"));
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (61, Some("… and 40 more lines")));
    }
}
