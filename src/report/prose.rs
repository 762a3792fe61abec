//! What an agent wrote, as Markdown that keeps its shape and can do nothing.
//!
//! Headings, lists, quotes, bold words, code and fenced blocks stay; everything else is text. No line can
//! mention, refer, close, link, embed, open HTML, begin a formula or a footnote, give a bot a command that
//! begins a line, or hide characters; no fence stays open. Tables become fenced blocks, because their cells
//! are cut before code is recognised. Words inside go through [`defuse`].

use super::defuse;

/// The deepest indentation that is kept, in spaces.
const INDENT_MAX: usize = 12;

/// The text as harmless Markdown.
#[must_use]
pub fn document(text: &str) -> String {
    let text = defuse::visible(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut lines = text.lines().peekable();
    let mut in_list = false;
    while let Some(line) = lines.next() {
        let line = line.replace('\t', "    ");
        if let Some(fence) = Fence::open(&line) {
            let mut inside = Vec::new();
            for line in lines.by_ref() {
                if fence.closes(line) {
                    break;
                }
                inside.push(fence.content(line));
            }
            block(&inside, fence.word(), &mut out);
            in_list = false;
        } else if is_row(&line) {
            let mut rows = vec![line.trim().to_owned()];
            while let Some(row) = lines.next_if(|line| is_row(line)) {
                rows.push(row.trim().to_owned());
            }
            block(&rows, "text", &mut out);
            in_list = false;
        } else {
            in_list = plain_line(&line, in_list, &mut out);
        }
    }
    while out.ends_with('\n') {
        out.pop();
    }
    out
}

/// A fenced block on lines of its own, its fence longer than any run in it.
fn block(lines: &[String], word: &str, out: &mut String) {
    let longest = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    if !out.is_empty() && !out.ends_with("\n\n") {
        out.push('\n');
    }
    out.push_str(&format!("{fence}{word}\n"));
    for line in lines {
        // What begins a line with a slash gives some bots a command, in a fence as well.
        let indent = if line.starts_with('/') { " " } else { "" };
        out.push_str(&format!("{indent}{}\n", defuse::without_markers(line)));
    }
    out.push_str(&format!("{fence}\n\n"));
}

/// A line outside of fences; whether it belongs to a list.
fn plain_line(line: &str, in_list: bool, out: &mut String) -> bool {
    let content = line.trim_start_matches(' ');
    if content.trim().is_empty() {
        out.push('\n');
        return in_list;
    }
    if is_rule(content) {
        // With nothing above it, or it would make a heading of that.
        out.push_str("\n---\n\n");
        return false;
    }
    let (marks, rest) = marks(content);
    let is_item = marks.iter().any(|mark| mark.ends_with(['-', '*', '+', '.', ')']));
    if is_item || in_list {
        out.extend(std::iter::repeat_n(' ', (line.len() - content.len()).min(INDENT_MAX)));
    }
    for mark in &marks {
        out.push_str(mark);
        out.push(' ');
    }
    out.push_str(&defuse::words(rest));
    out.push('\n');
    is_item || in_list
}

/// What a line begins with that gives it its place: quotes, then an item's mark, then a heading's.
fn marks(mut rest: &str) -> (Vec<String>, &str) {
    let mut marks = Vec::new();
    while let Some(after) = rest.strip_prefix('>') {
        marks.push(">".to_owned());
        rest = after.trim_start_matches(' ');
        if marks.len() > 4 {
            return (marks, rest);
        }
    }
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    let end =
        if (1..=9).contains(&digits) && rest[digits..].starts_with(['.', ')']) { digits + 1 } else { 1 };
    let bullet = end > 1 || rest.starts_with(['-', '*', '+']);
    if bullet && rest[end..].starts_with(' ') {
        marks.push(rest[..end].to_owned());
        rest = rest[end..].trim_start_matches(' ');
    }
    let hashes = rest.chars().take_while(|c| *c == '#').count();
    if (1..=6).contains(&hashes) && rest[hashes..].starts_with(' ') {
        marks.push("#".repeat(hashes));
        rest = rest[hashes..].trim_start_matches(' ');
    }
    (marks, rest)
}

/// Whether a line is a rule: three marks of a kind or more.
fn is_rule(line: &str) -> bool {
    let line = line.trim_end();
    line.len() >= 3
        && ["-", "*", "_"].iter().any(|mark| line.trim_matches(|c| mark.starts_with(c)).is_empty())
}

fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

/// The beginning of a fenced block.
struct Fence {
    mark: char,
    length: usize,
    indent: usize,
    word: String,
}

impl Fence {
    fn open(line: &str) -> Option<Self> {
        let content = line.trim_start_matches(' ');
        let mark = content.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = content.chars().take_while(|c| *c == mark).count();
        let info = &content[length..];
        if length < 3 || (mark == '`' && info.contains('`')) {
            return None;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_' | '#' | '.');
        let word: String = info.trim().chars().take_while(|c| plain(*c)).take(32).collect();
        Some(Self { mark, length, indent: line.len() - content.len(), word })
    }

    /// The language, where it draws nothing: some words make GitHub draw what is in the block.
    fn word(&self) -> &str {
        const DRAWN: [&str; 6] = ["mermaid", "math", "geojson", "topojson", "stl", "suggestion"];
        let drawn = DRAWN.iter().any(|word| self.word.eq_ignore_ascii_case(word));
        if drawn || self.word.is_empty() { "text" } else { &self.word }
    }

    fn closes(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= self.length && line.chars().all(|c| c == self.mark)
    }

    fn content(&self, line: &str) -> String {
        let spaces = line.len() - line.trim_start_matches(' ').len();
        line[spaces.min(self.indent)..].to_owned()
    }
}

#[cfg(test)]
mod tests;
