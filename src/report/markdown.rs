//! The blocks that comment and job summary share, as Markdown. Everything that is said goes through
//! [`defuse`], also what tollgate says itself: its sentences quote names that others chose.

use super::around::{self, Sibling};
use super::defuse;
use super::story::{self, BudgetRow, UsageRow};
use super::{Run, text};
use crate::outcome::{Outcome, Verdict};

/// What catches the eye where there is something to look at, and nothing where there is not.
fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "",
        Verdict::Warn => "⚠️ ",
        Verdict::Fail => "⛔ ",
    }
}

/// The headline, and where something is wrong what, and what to do.
pub(super) fn head(run: &Run) -> String {
    let mut out = format!("### {}{}\n", mark(run.gate.verdict), defuse::prose(&story::headline(run)));
    if let Some(reason) = story::reason(run) {
        out.push_str(&format!("\n{}{}\n", consequence(run), defuse::prose(&reason)));
        if let Some(hint) = story::hint(run) {
            out.push_str(&format!("\n**What to do:** {}\n", defuse::prose(&hint)));
        }
    }
    out
}

/// What it means for whoever waits for the check.
fn consequence(run: &Run) -> &'static str {
    match (run.gate.verdict, run.gate.outcome, run.enforced) {
        // A check that is cancelled says so itself, and what is only observed says that it passes.
        (_, Outcome::Cancelled, _) | (_, _, false) | (Verdict::Pass, ..) => "",
        (Verdict::Warn, ..) => "**The check passes, with a warning.** ",
        (Verdict::Fail, ..) => "**The check fails.** ",
    }
}

/// What other runs and the forge add.
pub(super) fn around(run: &Run) -> String {
    around::render(&run.around, run.budget_file.as_deref(), run.public)
}

/// The table of what was used; nothing where nothing was.
pub(super) fn usage(run: &Run) -> String {
    usage_table(&story::usage_rows(run))
}

/// The table of other runs of the same workflow run.
pub(super) fn siblings(siblings: &[Sibling]) -> String {
    usage_table(&story::sibling_rows(siblings))
}

fn usage_table(rows: &[UsageRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = "\n| | Model | Tokens in | cached | Tokens out | Cost |\n|:--|:--|--:|--:|--:|--:|\n";
    rows.iter().fold(head.to_owned(), |out, row| out + &usage_row(row))
}

fn usage_row(row: &UsageRow) -> String {
    let bold = |text: &str| if row.main { format!("**{text}**") } else { text.to_owned() };
    let detail = row.detail.as_deref().map_or(String::new(), |detail| format!(" · {}", defuse::cell(detail)));
    let what = format!("{}{detail}", bold(&defuse::cell(&row.what)));
    let model = defuse::cell(&row.model);
    let cost = bold(&row.cost);
    format!("| {what} | {model} | {} | {} | {} | {cost} |\n", row.prompt, row.cached, row.output)
}

/// The table of where the budgets stand; nothing where there are none to show.
pub(super) fn budgets(run: &Run, outsiders: bool) -> String {
    let rows = story::budget_rows(run, outsiders);
    if rows.is_empty() {
        return String::new();
    }
    let forecasts = rows.iter().any(|row| row.forecast.is_some());
    let (title, rule) = if forecasts { (" Forecast |", ":--|") } else { ("", "") };
    let head = format!("\n| Budget | Spent | | Limit |{title}\n|:--|--:|:--|--:|{rule}\n");
    rows.iter().fold(head, |out, row| out + &budget_row(row, forecasts))
}

fn budget_row(row: &BudgetRow, forecasts: bool) -> String {
    let bold = |text: &str, really: bool| if really { format!("**{text}**") } else { text.to_owned() };
    let spent = bold(&row.spent, row.over);
    let bar = format!("`{}` {}", text::bar(row.percent), bold(&format!("{} %", row.percent), row.over));
    let mut out = format!("| {} | {spent} | {bar} | {} |", defuse::cell(&row.what), row.limit);
    if forecasts {
        let forecast = row.forecast.as_ref().map_or(String::new(), |f| bold(&f.text, f.over));
        out.push_str(&format!(" {forecast} |"));
    }
    out + "\n"
}

/// Everything that is folded away, with a title that says what it holds.
pub(super) fn details(run: &Run) -> String {
    let sections = story::sections(run);
    let titles: Vec<String> = sections.iter().map(|section| section.title.to_owned()).collect();
    let mut out = format!("\n<details><summary>{}</summary>\n", list(&titles));
    for section in &sections {
        out.push_str(&format!("\n**{}**\n\n", section.title));
        for line in &section.lines {
            out.push_str(&format!("- {}\n", defuse::prose(line)));
        }
    }
    out + "\n</details>\n"
}

/// Titles as one phrase: `Why this tier, what routing and caching saved, how to change it`.
fn list(titles: &[String]) -> String {
    let lower = |title: &String| {
        let mut chars = title.chars();
        chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
    };
    match titles {
        [] => String::new(),
        [first, rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(lower).collect();
            std::iter::once(first.clone()).chain(rest).collect::<Vec<_>>().join(", ")
        }
    }
}

/// What the agent said last, under a fold of its own.
pub(super) fn result(run: &Run) -> String {
    let Some(said) = run.result.as_deref().filter(|said| !said.trim().is_empty()) else {
        return String::new();
    };
    format!(
        "\n<details><summary>What the agent said last</summary>\n\n{}\n\n</details>\n",
        defuse::fenced(said)
    )
}

/// The small print.
pub(super) fn footer(run: &Run) -> String {
    match story::footer(run) {
        nothing if nothing.is_empty() => nothing,
        footer => format!("\n<sub>{}</sub>\n", defuse::prose(&footer)),
    }
}
