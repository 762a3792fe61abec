//! What kind of thing the words after a verb are about.

use super::paths::{self, Sort};
use super::words::{AS_SAID, BOUNDARIES, CHANGE, CODE, DOCS, JUDGE, REFERENCES, WORDING, Words};

/// What a change is to be made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Docs,
    Code,
    Both,
    /// The words do not say.
    Open,
}

/// Review comments are about code, unless they are said to be about wording.
pub(super) fn responded(rest: &[String]) -> Object {
    let wording = |word: &String| {
        WORDING.contains(word) || matches!(word.as_str(), "docs" | "documentation" | "readme" | "docstrings")
    };
    if rest.iter().any(wording) { Object::Docs } else { Object::Code }
}

pub(super) fn shown_by_program(word: &str) -> bool {
    matches!(
        word,
        "error"
            | "errors"
            | "message"
            | "messages"
            | "string"
            | "strings"
            | "output"
            | "help"
            | "label"
            | "labels"
            | "button"
            | "variable"
            | "variables"
            | "function"
            | "identifier"
            | "identifiers"
            | "log"
            | "warning"
            | "method"
            | "code-span"
            | "parameter"
            | "field"
    )
}

/// What kind of thing the words after a verb name. The first thing named decides; what follows "in" or
/// "for" only where that is open. What is written into a text is that text's, whatever it is about.
pub(super) fn object_of(words: &[String]) -> Object {
    let phrases = phrases(words);
    let place = place(&phrases);
    if place == Object::Docs {
        return place;
    }
    // "The page in the site's index": a part of a text that is in a program.
    let is_part = |word: &String| kind_of(word) != Object::Docs || PARTS.contains(word);
    if place == Object::Code && phrases.first().is_some_and(|(_, head)| head.iter().all(is_part)) {
        return Object::Code;
    }
    let mut found = Object::Open;
    for (index, (_, phrase)) in phrases.iter().enumerate() {
        found = thing(phrase);
        let wording = phrase.iter().any(|word| WORDING.contains(word));
        let later = || phrases[index + 1..].iter().flat_map(|(_, phrase)| phrase.iter());
        if wording
            && found == Object::Docs
            && later().any(|word| shown_by_program(word))
            && !later().any(|word| DOCS.contains(word))
        {
            return Object::Code;
        }
        if found != Object::Open {
            break;
        }
    }
    found
}

/// The words between prepositions, each with the one before it; without what a change is only measured by.
fn phrases(words: &[String]) -> Vec<(&str, &[String])> {
    let mut found = Vec::new();
    let (mut opened, mut start) = ("", 0);
    for at in 0..=words.len() {
        let word = words.get(at);
        if word.is_some_and(|word| !BOUNDARIES.contains(word)) {
            continue;
        }
        // "Deal with the typos": there is nothing before it that it could measure.
        let reference = start > 1 && REFERENCES.contains(opened);
        if !reference {
            found.push((opened, &words[start..at]));
        }
        (opened, start) = (word.map_or("", String::as_str), at + 1);
    }
    found
}

/// Parts of texts, which other things have as well.
static PARTS: Words = Words::of(
    "page pages section sections link links heading headings sentence sentences paragraph paragraphs",
);

/// Where the words say that something is: in a text, as in "the option in the readme", or in a program.
fn place(phrases: &[(&str, &[String])]) -> Object {
    let mut before: Option<&String> = None;
    let mut found = Object::Open;
    for (opened, phrase) in phrases {
        // "A script that checks the links in the docs": the rest says what the thing does.
        if matches!(
            *opened,
            "that" | "which" | "because" | "so" | "if" | "while" | "where" | "when" | "until"
        ) {
            break;
        }
        let is_place =
            matches!(*opened, "in" | "into" | "to" | "on" | "inside" | "within" | "throughout" | "across");
        // "To follow the guide" says what for.
        let verb = |word: &String| CHANGE.contains(word) || JUDGE.contains(word) || PURPOSES.contains(word);
        let purpose = *opened == "to" && phrase.first().is_some_and(verb);
        if is_place && !purpose && !before.is_some_and(|word| AS_SAID.contains(word)) {
            let text = phrase.iter().any(|word| kind_of(word) == Object::Docs && !PARTS.contains(word));
            match thing(phrase) {
                Object::Docs if text => found = Object::Docs,
                Object::Docs | Object::Open => {}
                // "The section on retries": what it is about.
                _ if *opened == "on" => {}
                // A program shows it, or both hold it: that is no place in a text.
                Object::Code | Object::Both => return Object::Code,
            }
        }
        before = phrase.last().or(before);
    }
    found
}

/// Verbs of what a change is for.
static PURPOSES: Words = Words::of(
    "follow reflect comply conform agree fit be have mirror honour honor respect adhere correspond",
);

/// Whether the words name a text, and not only so many of its parts: "in the readme", not "in two sentences".
pub(super) fn is_text(words: &[String]) -> bool {
    let text = |word: &String| kind_of(word) == Object::Docs && !PARTS.contains(word);
    object_of(words) == Object::Docs && words.iter().any(text)
}

/// The first thing that a statement names, which is mostly its subject.
pub(super) fn first_thing(words: &[String]) -> Object {
    let has = |known: fn(&str) -> bool| words.iter().any(|word| known(word));
    let of_review = has(|word| matches!(word, "review" | "reviewer" | "reviewers" | "inline"));
    let of_program = has(|word| WORDING.contains(word)) && has(shown_by_program);
    if of_program || (of_review && has(|word| matches!(word, "comment" | "comments" | "remarks"))) {
        return Object::Code;
    }
    words.iter().map(|word| kind_of(word)).find(|kind| *kind != Object::Open).unwrap_or(Object::Open)
}

/// What one phrase names. In a compound the last noun counts: "the docs build" is a build.
pub(super) fn thing(phrase: &[String]) -> Object {
    let mut found = Object::Open;
    for part in phrase.split(|word| matches!(word.as_str(), "and" | "&" | "or" | "plus")) {
        let mut head = part.iter().rev().map(|word| kind_of(word)).find(|kind| *kind != Object::Open);
        // A table in a readme, unlike one in a database.
        let table = part
            .last()
            .is_some_and(|word| matches!(word.as_str(), "table" | "tables" | "column" | "columns"));
        if table && part.iter().any(|word| kind_of(word) == Object::Docs) {
            head = Some(Object::Docs);
        }
        found = join(found, head.unwrap_or(Object::Open));
    }
    found
}

fn kind_of(word: &str) -> Object {
    let word = word.trim_end_matches("'s");
    if DOCS.contains(word) {
        return Object::Docs;
    }
    if CODE.contains(word) {
        return Object::Code;
    }
    if !word.contains(['.', '/']) {
        return Object::Open;
    }
    match paths::sort(word) {
        Sort::Prose => Object::Docs,
        Sort::Other if word.trim_end_matches('/').ends_with("docs") => Object::Docs,
        Sort::Other => Object::Open,
        _ => Object::Code,
    }
}

pub(super) fn join(one: Object, other: Object) -> Object {
    match (one, other) {
        (Object::Open, known) | (known, Object::Open) => known,
        (one, other) if one == other => one,
        _ => Object::Both,
    }
}
