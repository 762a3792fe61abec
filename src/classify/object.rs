//! What kind of thing the words after a verb are about.

use super::paths::{self, Sort};
use super::words::{BOUNDARIES, CODE, DOCS, WORDING};

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
/// "for" only where that is open.
pub(super) fn object_of(words: &[String]) -> Object {
    let phrases: Vec<&[String]> = words.split(|word| BOUNDARIES.contains(word)).collect();
    let mut found = Object::Open;
    for (index, phrase) in phrases.iter().enumerate() {
        found = thing(phrase);
        let wording = phrase.iter().any(|word| WORDING.contains(word));
        let later = || phrases[index + 1..].iter().copied().flatten();
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

/// The first thing that a statement names, which is mostly its subject.
pub(super) fn first_thing(words: &[String]) -> Object {
    words.iter().map(|word| kind_of(word)).find(|kind| *kind != Object::Open).unwrap_or(Object::Open)
}

/// What one phrase names. In a compound the last noun counts: "the docs build" is a build.
pub(super) fn thing(phrase: &[String]) -> Object {
    let mut found = Object::Open;
    for part in phrase.split(|word| matches!(word.as_str(), "and" | "&" | "or" | "plus")) {
        let head = part.iter().rev().map(|word| kind_of(word)).find(|kind| *kind != Object::Open);
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
