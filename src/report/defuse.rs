//! Text from outside, made harmless where it is shown.
//!
//! Everything in a comment that tollgate did not write itself goes through here: reasons that quote a
//! title, names of labels and people, what an agent wrote. The result shows the same characters, and
//! cannot mention anybody, refer to or close an issue, link, embed an image, open HTML, end a table cell
//! or a fence, or hide characters that change how the rest is read.

/// Put inside what a forge would act on: it takes no room and ends the word.
const BREAK: char = '\u{200b}';

/// One line of plain text: no control characters, nothing invisible, line ends as spaces, and no
/// `##[command]`, which GitHub's runner obeys anywhere in a line of a log.
#[must_use]
pub fn plain(text: &str) -> String {
    let spaced = text.chars().map(|c| if is_space(c) { ' ' } else { c });
    let visible: String = spaced.filter(|c| !is_hidden(*c)).collect();
    visible.trim().replace("##[", &format!("##{BREAK}["))
}

/// Markdown of one line that shows the text. A name between backticks becomes code.
#[must_use]
pub fn prose(text: &str) -> String {
    inline(text, Place::Paragraph)
}

/// As [`prose`], for a cell of a table.
#[must_use]
pub fn cell(text: &str) -> String {
    inline(text, Place::Cell)
}

/// The text with its line ends and without anything that is not seen. For what looks for something in a
/// text before it is shown: afterwards nothing that was hidden can fall away and bring it about.
#[must_use]
pub fn visible(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let ends = text.chars().map(|c| if c != '\t' && is_space(c) { '\n' } else { c });
    ends.filter(|c| matches!(c, '\n' | '\t') || !is_hidden(*c)).collect()
}

/// As [`prose`], and what is between two stars stays bold. A slash at the beginning gives no command.
#[must_use]
pub(super) fn words(text: &str) -> String {
    let shown = inline(text, Place::Words);
    if shown.starts_with('/') { format!("{BREAK}{shown}") } else { shown }
}

/// A fenced block of the text, on lines of its own, with a fence longer than any in the text.
#[must_use]
pub fn fenced(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|c| matches!(c, '\n' | '\t') || (!is_hidden(*c) && !is_space(*c)) || *c == ' ')
        .collect();
    let longest = visible.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}text\n{}\n{fence}", without_markers(visible.trim_end()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Paragraph,
    Cell,
    /// A line of somebody's document.
    Words,
}

fn inline(text: &str, place: Place) -> String {
    let text = plain(text);
    let parts: Vec<&str> = text.split('`').collect();
    let mut out = String::with_capacity(text.len() + 16);
    for (index, part) in parts.iter().enumerate() {
        // Odd parts stand between backticks, but for a last one that nothing closes.
        let between = index % 2 == 1;
        let closed = between && index + 1 < parts.len();
        // A dollar sign in code could end a formula that an amount before it began.
        if closed && !part.trim().is_empty() && !part.contains('$') {
            code(part.trim(), place, &mut out);
        } else {
            if between {
                out.push_str("\\`");
            }
            escape(part, place, &mut out);
            if closed {
                out.push_str("\\`");
            }
        }
    }
    out
}

fn code(text: &str, place: Place, out: &mut String) {
    // Two code spans that touch would be one with other ends.
    if out.ends_with('`') {
        out.push(BREAK);
    }
    out.push('`');
    match place {
        Place::Paragraph | Place::Words => out.push_str(&without_markers(text)),
        Place::Cell => out.push_str(&without_markers(text).replace('|', "\\|")),
    }
    out.push('`');
}

/// Even inside code, where HTML is only text, nothing may look like the comment's own hidden marker.
pub(super) fn without_markers(text: &str) -> String {
    text.replace("<!--", &format!("<!{BREAK}--"))
}

fn escape(text: &str, place: Place, out: &mut String) {
    let chars: Vec<char> = text.chars().collect();
    for (index, c) in chars.iter().copied().enumerate() {
        let next = chars.get(index + 1).copied();
        match c {
            '&' => out.push_str("&amp;"),
            '*' if place == Place::Words && (!out.is_empty() || next == Some('*')) => out.push(c),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '*' | '_' | '~' | '[' | ']' | '|' => out.extend(['\\', c]),
            '!' if next == Some('[') => out.extend(['\\', c]),
            '$' if !begins_amount(out, next) => out.extend(['\\', c]),
            // Headings, lists, rules and underlines only begin a line.
            '#' | '-' | '+' | '=' if out.is_empty() => out.extend(['\\', c]),
            '.' | ')' if !out.is_empty() && out.chars().all(|c| c.is_ascii_digit()) => out.extend(['\\', c]),
            _ => out.push(c),
        }
        if breaks_after(&chars, index) {
            out.push(BREAK);
        }
    }
}

/// Whether a dollar sign behind `before` begins an amount, and can end no formula.
fn begins_amount(before: &str, next: Option<char>) -> bool {
    (before.is_empty() || before.ends_with(' ')) && next.is_some_and(|c| c.is_ascii_digit())
}

/// Whether a forge would make something of the characters around here that a break prevents.
fn breaks_after(chars: &[char], index: usize) -> bool {
    let next = chars.get(index + 1).copied();
    let before = |word: &str| {
        let word_chars = word.chars().count();
        index + 1 >= word_chars
            && chars[index + 1 - word_chars..=index]
                .iter()
                .zip(word.chars())
                .all(|(a, b)| a.eq_ignore_ascii_case(&b))
    };
    match chars[index] {
        // A mention, or an address.
        '@' => next.is_some(),
        // An issue.
        '#' => next.is_some_and(|c| c.is_ascii_digit()),
        '-' => before("gh-"),
        // A link.
        ':' => next == Some('/') || before("mailto:") || before("xmpp:"),
        'w' | 'W' => before("www") && next == Some('.'),
        _ => false,
    }
}

fn is_space(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters that are not seen, and either change how others are read or carry text unseen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
