//! The result for whoever started the run: tables and sentences that are understood without colour.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};

use super::{Run, defuse, story, text};
use crate::outcome::Verdict;

/// The whole result, ending with a line end.
///
/// `width` is the terminal's, in columns; `None` where it is none, and lines may be of any length.
#[must_use]
pub fn render(run: &Run, width: Option<u16>) -> String {
    let mut out = format!("{}\n", plain(&story::headline(run)));
    for table in [usage(run, width), budgets(run, width)].into_iter().flatten() {
        let table = table.trim_fmt();
        out.push_str(&format!("\n{table}\n"));
    }
    for section in story::sections(run).iter().filter(|section| section.title != "How to change it") {
        out.push_str(&format!("\n{}\n", section.title));
        for line in &section.lines {
            out.push_str(&format!("  {}\n", plain(line)));
        }
    }
    let files = [("result", &run.files.result), ("patch", &run.files.patch), ("summary", &run.files.summary)];
    let files = files.iter().filter_map(|(what, path)| Some((what, path.as_ref()?)));
    for (index, (what, path)) in files.enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        out.push_str(&format!("{gap}{what}: {}\n", plain(path)));
    }
    out.push_str(&verdict(run));
    out
}

/// The last lines, since they are the ones that are still in sight.
fn verdict(run: &Run) -> String {
    let gate = &run.gate;
    let says = match gate.verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "pass, with a warning",
        Verdict::Fail => "FAIL",
    };
    let mut out = format!("\nverdict: {says} · {}\n", plain(&gate.reason));
    if let Some(hint) = &gate.hint {
        out.push_str(&format!("\nhint: {}\n", plain(hint)));
    }
    out
}

/// In a terminal, names keep their backticks: they are how code is written there.
fn plain(text: &str) -> String {
    defuse::plain(text)
}

fn table(width: Option<u16>, header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none())).set_header(header.to_vec());
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn usage(run: &Run, width: Option<u16>) -> Option<Table> {
    let rows = story::usage_rows(run);
    let mut table = table(width, &["", "Model", "Tokens in", "cached", "Tokens out", "Cost"], &[2, 3, 4, 5]);
    for row in &rows {
        let what = match &row.detail {
            Some(detail) => format!("{} · {detail}", row.what),
            None => row.what.clone(),
        };
        let cells = [&what, &row.model, &row.prompt, &row.cached, &row.output, &row.cost];
        table.add_row(cells.map(|cell| plain(cell)));
    }
    (!rows.is_empty()).then_some(table)
}

fn budgets(run: &Run, width: Option<u16>) -> Option<Table> {
    let rows = story::budget_rows(run, false);
    let mut table = table(width, &["Budget", "Spent", "", "Limit", "Forecast"], &[1, 3]);
    for row in &rows {
        let bar = format!("{} {} %", text::bar(row.percent), row.percent);
        let forecast = row.forecast.as_ref().map_or(String::new(), |forecast| match forecast.over {
            true => format!("{}, over the limit", forecast.text),
            false => forecast.text.clone(),
        });
        table.add_row([&row.what, &row.spent, &bar, &row.limit, &forecast].map(|cell| plain(cell)));
    }
    (!rows.is_empty()).then_some(table)
}
