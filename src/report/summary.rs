//! The job summary: the comment's blocks, what the agent said last, and where the files are.

use super::{Run, cut, defuse, markdown, text};

/// What stands where a summary was cut.
const NOTICE: &str = "_The rest did not fit into a job summary._";

/// The summary, at most as long as GitHub takes. Readers of a public repository see it too, so it shows
/// no more of the budgets than the comment does.
#[must_use]
pub fn render(run: &Run) -> String {
    let mut out = markdown::head(run);
    out.push_str(&markdown::usage(run));
    out.push_str(&markdown::budgets(run, run.public));
    out.push_str(&markdown::around(run));
    out.push_str(&markdown::details(run));
    out.push_str(&files(run));
    out.push_str(&markdown::footer(run));
    // What the agent said comes last: it is the part whose length nobody knows.
    out.push_str(&markdown::result(run));
    cut::cut(&out, cut::SUMMARY, NOTICE)
}

fn files(run: &Run) -> String {
    let files = &run.files;
    let all = [
        ("The agent's last text", &files.result),
        ("Its uncommitted work", &files.patch),
        ("This report as JSON", &files.summary),
    ];
    let line = |(what, path): (&str, &Option<String>)| {
        path.as_ref().map(|path| format!("- {}\n", defuse::prose(&format!("{what}: {}", text::quote(path)))))
    };
    let lines: String = all.into_iter().filter_map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}
