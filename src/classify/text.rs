//! Which words of a text are its author's own.
//!
//! Quotes, code, hidden comments and links are others' words or none; text that talks to the classifier
//! is nobody's request. What is left comes as sentences.

use super::paths;
use super::phrases::{Phrases, phrases};

/// How much of a text is read, in bytes. Requests are short; what follows is logs.
const READ_BYTES_MAX: usize = 32 * 1024;

/// Stands for an inline code span that names a file of documentation.
pub(super) const DOCS_SPAN: &str = "docs-span";

/// Stands for any other inline code span.
pub(super) const CODE_SPAN: &str = "code-span";

/// Phrases of text that is written to steer whoever reads it, rather than to ask for work.
const STEERING: &[&str] = &[
    "ignore previous",
    "ignore all previous",
    "ignore all prior",
    "ignore prior",
    "ignore the above",
    "ignore your instructions",
    "disregard previous",
    "disregard all",
    "disregard the above",
    "you are now",
    "classify this as",
    "classify this pr",
    "classify this pull",
    "classify this change",
    "classify it as",
    "label this as",
    "task=",
    "task =",
    "stakes",
    "cost-gate",
    "cost gate",
    "expensive model",
    "cheap model",
    "cheapest model",
    "cheaper model",
    "low tier",
    "lowest tier",
    "the classifier",
    "for routing purposes",
    "your instructions",
    "note to the ai",
    "attention ai",
    "treat this pr as",
    "treat this pull request as",
    "respond with only",
];

static STEERING_PHRASES: Phrases = phrases!(STEERING);

/// Things that are written as two words, and mean one.
const COMPOUNDS: [(&str, &str); 17] = [
    ("release notes", "changelog"),
    ("release note", "changelog"),
    ("change log", "changelog"),
    ("doc comment", "docstring"),
    ("doc string", "docstring"),
    ("code of conduct", "documentation"),
    ("user guide", "guide"),
    ("api reference", "documentation"),
    ("reference manual", "documentation"),
    ("upgrade note", "guide"),
    ("migration note", "guide"),
    ("upgrade guide", "guide"),
    ("migration guide", "guide"),
    ("usage instruction", "guide"),
    ("installation instruction", "guide"),
    ("blog post", "blogpost"),
    ("cheat sheet", "guide"),
];

static COMPOUND_PHRASES: Phrases = phrases!(&COMPOUNDS.map(|(phrase, _)| phrase));

/// Line starts that pretend to another speaker.
const SPEAKERS: &[&str] =
    &["system:", "assistant:", "developer:", "[system]", "[internal]", "<system", "### system"];

/// The author's own sentences, in lower case.
pub(super) fn sentences(text: &str) -> Vec<String> {
    let mut own = without_code_spans(&own_lines(text)).to_lowercase();
    if COMPOUND_PHRASES.any(&own) {
        for (phrase, word) in COMPOUNDS {
            own = replace_words(own, phrase, word);
        }
    }
    let mut found = Vec::new();
    for line in own.lines() {
        let line = line.trim().trim_start_matches(['-', '*', '#', '+', ' ', '\u{2022}']);
        if SPEAKERS.iter().any(|speaker| line.starts_with(speaker)) {
            continue;
        }
        split_sentences(line, &mut found);
    }
    found.retain(|sentence| !steers(sentence));
    found
}

/// Replaces a phrase where it begins a word: "godoc comments" holds no "doc comments".
fn replace_words(text: String, phrase: &str, word: &str) -> String {
    let places = text.match_indices(phrase).map(|(at, _)| at);
    let places: Vec<usize> = places.filter(|at| !text[..*at].ends_with(char::is_alphanumeric)).collect();
    let mut text = text;
    for at in places.into_iter().rev() {
        text.replace_range(at..at + phrase.len(), word);
    }
    text
}

fn steers(sentence: &str) -> bool {
    // At the start of a word: "mistakes" are no "stakes".
    let starts_word = |at: usize| !sentence[..at].ends_with(char::is_alphanumeric);
    STEERING_PHRASES.places(sentence).any(|(at, _)| starts_word(at))
}

/// The text's lines that are neither quoted nor code, hidden comments cut out.
pub(super) fn own_lines(text: &str) -> String {
    let mut end = text.len().min(READ_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let visible = without_hidden(&text[..end]);
    let mut own = String::new();
    let mut fence: Option<&str> = None;
    let mut after_blank = true;
    for line in visible.lines() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        if let Some(open) = fence {
            if mark == Some(open) {
                fence = None;
            }
            continue;
        }
        if mark.is_some() {
            fence = mark;
            continue;
        }
        let indented = after_blank && (line.starts_with("    ") || line.starts_with('\t'));
        after_blank = trimmed.is_empty() || (after_blank && indented);
        if !indented && !trimmed.starts_with('>') {
            own.push_str(line);
            own.push('\n');
        }
    }
    own
}

fn without_hidden(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, hidden)) = rest.split_once("<!--") {
        shown.push_str(before);
        rest = hidden.split_once("-->").map_or("", |(_, after)| after);
    }
    shown.push_str(rest);
    shown
}

/// Replaces inline code by a stand-in: a name of a thing is still the object of a request, a command in
/// code is not one.
fn without_code_spans(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        out.push_str(&rest[..start]);
        let ticks = rest[start..].chars().take_while(|c| *c == '`').count();
        let fence = "`".repeat(ticks);
        let inside = &rest[start + ticks..];
        let Some(length) = inside.find(&fence) else {
            rest = inside;
            continue;
        };
        let span = inside[..length].trim();
        let is_docs = !span.contains(char::is_whitespace) && paths::sort(span) == paths::Sort::Prose;
        out.push_str(if is_docs { DOCS_SPAN } else { CODE_SPAN });
        rest = &inside[length + ticks..];
    }
    out.push_str(rest);
    out
}

fn split_sentences(line: &str, into: &mut Vec<String>) {
    let mut start = 0;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let wide = matches!(c, '。' | '！' | '？');
        let ends = matches!(c, '.' | '!' | '?') && chars.peek().is_none_or(|(_, next)| next.is_whitespace());
        if wide || ends {
            push(&line[start..at + c.len_utf8()], into);
            start = at + c.len_utf8();
        }
    }
    push(&line[start..], into);
}

fn push(sentence: &str, into: &mut Vec<String>) {
    let sentence = sentence.trim();
    if !sentence.is_empty() {
        into.push(sentence.to_owned());
    }
}

/// The words of a name or a path, split at everything but letters and digits and inside `camelCase`.
pub(super) fn name_words(name: &str) -> Vec<String> {
    spaced_words(name).split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The same words as one text, with a space between.
pub(super) fn spaced_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + name.len() / 4);
    let mut chars = name.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        let last: Option<char> = before.replace(c);
        if !c.is_alphanumeric() {
            end_word(&mut words);
            continue;
        }
        let mut ends_acronym = || chars.peek().is_some_and(|next| next.is_lowercase());
        let begins_after = |last: char| last.is_lowercase() || (last.is_uppercase() && ends_acronym());
        if c.is_uppercase() && last.is_some_and(begins_after) {
            end_word(&mut words);
        }
        words.extend(c.to_lowercase());
    }
    words.truncate(words.trim_end_matches(' ').len());
    words
}

fn end_word(words: &mut String) {
    if !words.is_empty() && !words.ends_with(' ') {
        words.push(' ');
    }
}
