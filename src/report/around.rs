//! What a report says besides the run itself: who lets it spend more, what it crossed, which other runs
//! belong to the same workflow run, and what the pull request would do to the budget file.

use serde::{Deserialize, Serialize};

use super::alerts::{Alert, What};
use super::{defuse, text};
use crate::money::Usd;

/// What is known around a run.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The commit that the report is about.
    pub commit: Option<String>,
    /// What a reader must not miss, one clause each.
    pub remarks: Vec<String>,
    /// Thresholds that were crossed.
    pub alerts: Vec<Alert>,
    /// Other runs of the same workflow run, as the ledger knows them.
    pub siblings: Vec<Sibling>,
    /// What the pull request would do to the budget file.
    pub proposal: Option<Proposal>,
}

/// Another run of the same workflow run: a parallel job, one of a matrix, or an earlier step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// Its job.
    pub job: String,
    /// Its task.
    pub task: String,
    /// The model it was routed to.
    pub model: String,
    /// What it holds while it runs; `None` once it is over.
    pub held: Option<Usd>,
    /// What it has spent: cost, input tokens, those of them from a cache, output tokens.
    pub spent: (Usd, u64, u64, u64),
    /// What a subscription paid for, at list prices.
    pub notional: Usd,
}

/// A budget file that a pull request would bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Lines of a difference in meaning: `- ` before what would no longer hold, `+ ` before what would.
    pub changes: Vec<String>,
    /// Why it cannot be read, where it cannot.
    pub broken: Option<String>,
}

/// Remarks, crossed thresholds and the proposal, as Markdown. Where `outsiders` read, budgets other than
/// the pull request's own are left out.
pub(super) fn render(around: &Around, judged_by: Option<&str>, outsiders: bool) -> String {
    let mut out = String::new();
    for remark in &around.remarks {
        out.push_str(&format!("\n{}\n", defuse::prose(&text::sentence(remark))));
    }
    out.push_str(&alerts(&around.alerts, outsiders));
    if let Some(proposal) = &around.proposal {
        out.push_str(&proposed(proposal, judged_by));
    }
    out
}

/// Crossed thresholds as a list.
pub(super) fn alerts(alerts: &[Alert], outsiders: bool) -> String {
    let shown = alerts.iter().filter(|alert| !outsiders || is_own(alert));
    let lines: String = shown.map(|alert| format!("- {}\n", defuse::prose(&sentence(alert)))).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

/// Whether an alert tells nothing but what this pull request has spent.
fn is_own(alert: &Alert) -> bool {
    match &alert.what {
        What::Cap => true,
        What::Budget(_) => alert.own,
    }
}

/// An alert in a sentence.
#[must_use]
pub fn sentence(alert: &Alert) -> String {
    let of = format!("{} of {}", alert.spent.shown(), alert.limit.shown());
    match &alert.what {
        What::Cap => format!("This run has spent {of}: {} % of its cap is reached.", alert.percent),
        What::Budget(name) => format!("The {name} stands at {of}: {} % is reached.", alert.percent),
    }
}

fn proposed(proposal: &Proposal, judged_by: Option<&str>) -> String {
    let by = match judged_by {
        Some(file) => format!("by {}", text::quote(file)),
        None => "by the defaults, because the default branch has no budget file".to_owned(),
    };
    let mut out = format!(
        "\n**This pull request edits the budget file.** The edit takes effect after merge; this run was judged {}.\n",
        defuse::prose(&by)
    );
    match (&proposal.broken, proposal.changes.as_slice()) {
        (Some(why), _) => {
            out.push_str(
                "\nAs it stands the edited file cannot be used, and after merge every run would fail:\n\n",
            );
            out.push_str(&defuse::fenced(why));
            out.push('\n');
        }
        (None, []) => out.push_str("\nThe edited file means the same.\n"),
        (None, changes) => {
            out.push_str("\n<details><summary>What it would change</summary>\n\n");
            out.push_str(&defuse::fenced(&changes.join("\n")));
            out.push_str("\n\n</details>\n");
        }
    }
    out
}
