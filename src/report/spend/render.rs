//! The report for people: a terminal's tables, a Markdown digest, a page that stands by itself.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};

use super::Spent;
use super::sheet::{Sheet, headline, moment, sentences, sheets};
use crate::report::defuse;

/// Tables for a terminal of so many columns; `None` where lines may be of any length.
#[must_use]
pub fn table(spent: &Spent, top: usize, width: Option<u16>) -> String {
    let mut out = format!("{}\n", defuse::plain(&headline(spent)));
    for line in sentences(spent) {
        out.push_str(&format!("  {}\n", defuse::plain(&line)));
    }
    for sheet in sheets(spent, top) {
        out.push_str(&format!("\n{}\n{}\n", defuse::plain(&sheet.title), comfy(&sheet, width).trim_fmt()));
        for line in &sheet.below {
            out.push_str(&format!("  {}\n", defuse::plain(line)));
        }
    }
    for note in &spent.notes {
        out.push_str(&format!("\nnote: {}\n", defuse::plain(note)));
    }
    out
}

fn comfy(sheet: &Sheet, width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(sheet.columns.iter().map(|(name, _)| *name));
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for (index, _) in sheet.columns.iter().enumerate().filter(|(_, (_, number))| *number) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in &sheet.rows {
        table.add_row(row.iter().map(|cell| defuse::plain(cell)));
    }
    table
}

/// A digest for an issue or a job summary.
#[must_use]
pub fn markdown(spent: &Spent, top: usize) -> String {
    let mut out = format!(
        "## Agent spend of {}: {}\n\n",
        defuse::prose(&spent.repository),
        defuse::prose(&headline(spent))
    );
    for line in sentences(spent) {
        out.push_str(&format!("- {}\n", defuse::prose(&line)));
    }
    for sheet in sheets(spent, top) {
        out.push_str(&format!("\n### {}\n\n|", defuse::prose(&sheet.title)));
        sheet.columns.iter().for_each(|(name, _)| out.push_str(&format!(" {} |", defuse::cell(name))));
        out.push_str("\n|");
        sheet.columns.iter().for_each(|(_, number)| out.push_str(if *number { "--:|" } else { ":--|" }));
        for row in &sheet.rows {
            out.push_str("\n|");
            row.iter().for_each(|cell| out.push_str(&format!(" {} |", defuse::cell(cell))));
        }
        out.push('\n');
        for line in &sheet.below {
            out.push_str(&format!("\n{}\n", defuse::prose(line)));
        }
    }
    for note in &spent.notes {
        out.push_str(&format!("\n> {}\n", defuse::prose(note)));
    }
    let now = moment(spent, spent.now);
    out.push_str(&format!("\n<sub>tollgate report of {} {}</sub>\n", now, zone(spent)));
    out
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d0d7de;--dim:#59636e;--bar:#0969da}
@media(prefers-color-scheme:dark){:root{--line:#3d444d;--dim:#9198a1;--bar:#4493f8}}
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
th{color:var(--dim);font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums}
p.dim,footer{color:var(--dim)}.share{color:var(--bar)}";

/// A page that needs nothing but itself: no script, nothing loaded.
#[must_use]
pub fn html(spent: &Spent, top: usize) -> String {
    let title = format!("Agent spend of {}", spent.repository);
    let mut out = String::with_capacity(16 * 1024);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{}</h1>\n<p><strong>{}</strong></p>\n<ul>\n",
        escape(&title),
        escape(&title),
        escape(&headline(spent))
    );
    sentences(spent).iter().for_each(|line| out.push_str(&format!("<li>{}</li>\n", escape(line))));
    out.push_str("</ul>\n");
    for sheet in sheets(spent, top) {
        html_sheet(&sheet, &mut out);
    }
    for note in &spent.notes {
        out.push_str(&format!("<p class=\"dim\">{}</p>\n", escape(note)));
    }
    let now = moment(spent, spent.now);
    out.push_str(&format!("<footer>tollgate report of {now} {}</footer>\n</body>\n</html>\n", zone(spent)));
    out
}

fn html_sheet(sheet: &Sheet, out: &mut String) {
    let class = |index: usize| match sheet.columns.get(index) {
        Some((_, true)) => " class=\"n\"",
        Some(("", false)) => " class=\"share\"",
        _ => "",
    };
    out.push_str(&format!("<h2>{}</h2>\n<div class=\"wide\"><table>\n<thead><tr>", escape(&sheet.title)));
    for (index, (name, _)) in sheet.columns.iter().enumerate() {
        out.push_str(&format!("<th{} scope=\"col\">{}</th>", class(index), escape(name)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &sheet.rows {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            out.push_str(&format!("<td{}>{}</td>", class(index), escape(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    for line in &sheet.below {
        out.push_str(&format!("<p class=\"dim\">{}</p>\n", escape(line)));
    }
}

/// Text that stands for itself in HTML, in element and in attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in defuse::plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn zone(spent: &Spent) -> String {
    defuse::plain(spent.timezone.iana_name().unwrap_or("local time"))
}
