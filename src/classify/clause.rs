//! Cuts sentences into clauses, and says what each one asks for.

use super::object::{Object, first_thing, is_text, join, object_of, responded, shown_by_program};
use super::words::{
    BOUNDARIES, CHANGE, CODE, DOCS, DOCS_VERBS, FILLERS, JUDGE, JUDGEMENTS, MAKING, MECHANICAL, NEGATIONS,
    QUESTIONS, RESPONDING, VERDICTS, WORDING, WORDING_VERBS, Words,
};

/// What a clause asks for.
#[derive(Clone, Debug)]
pub(super) enum Clause {
    Change {
        object: Object,
        mechanical: bool,
        words: String,
    },
    Judge {
        words: String,
        /// What is to be judged.
        object: Object,
    },
    /// Something is not to be done.
    Refrain {
        /// "Don't change anything", rather than "don't touch the parser".
        from_all: bool,
    },
}

/// The clauses of one sentence.
pub(super) fn sentence_clauses(sentence: &str, into: &mut Vec<Clause>) {
    let question = sentence.ends_with('?');
    let before = into.len();
    let mut change_before_colon = false;
    let mut subject = Object::Open;
    for (after_colon, part) in parts(sentence) {
        // What follows the colon of a request that is clear says which one, and is often a title.
        if after_colon && change_before_colon {
            break;
        }
        for words in clause_words(&part) {
            let mut clause = clause(&words, question);
            // "The readme lags behind, update it".
            if let Some(Clause::Change { object, .. }) = &mut clause
                && *object == Object::Open
                && (words.iter().any(|word| matches!(word.as_str(), "it" | "them" | "that"))
                    || is_bare(&words))
            {
                *object = subject;
            }
            if clause.is_none() && subject == Object::Open {
                subject = first_thing(&words);
            }
            if let Some(Clause::Change { object, .. }) = &clause {
                change_before_colon |= *object != Object::Open;
            }
            let here = into.len() > before;
            match (clause, into.last_mut()) {
                (Some(clause), _) => into.push(clause),
                // "Address the comments, they are all about wording".
                (None, Some(Clause::Change { object, .. })) if says_wording(&words) => *object = Object::Docs,
                // "Update the readme, the tests and the changelog": the list goes on.
                (None, Some(Clause::Change { object, .. })) if here && words.len() <= 3 && !question => {
                    *object = join(*object, object_of(&words));
                }
                _ => {}
            }
        }
    }
}

/// Whether a clause is no more than a verb: "please fix".
fn is_bare(words: &[String]) -> bool {
    words.iter().filter(|word| !FILLERS.contains(word)).count() <= 1
}

/// Whether a clause says of what came before that it is about wording.
fn says_wording(words: &[String]) -> bool {
    let points_back = words.first().is_some_and(|word| {
        matches!(word.as_str(), "they" | "they're" | "all" | "it's" | "these" | "those" | "which" | "mostly")
    });
    points_back && words.iter().any(|word| WORDING.contains(word))
}

/// A sentence's parts between commas, colons and the like, and whether a colon came before.
fn parts(sentence: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut after_colon = false;
    let mut part = String::new();
    let chars: Vec<char> = sentence.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let spaced = chars.get(at + 1).is_none_or(|next| next.is_whitespace());
        let breaks =
            matches!(c, ';' | '(' | ')' | '\u{2014}' | '\u{2013}') || (matches!(c, ',' | ':') && spaced);
        if !breaks {
            part.push(*c);
            continue;
        }
        found.push((after_colon, std::mem::take(&mut part)));
        after_colon |= *c == ':';
    }
    found.push((after_colon, part));
    found.retain(|(_, part)| !part.trim().is_empty());
    found
}

/// Splits a part before every "and", "then" or "but" that a verb follows.
pub(super) fn clause_words(part: &str) -> Vec<Vec<String>> {
    let trim = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && !"@/'-_".contains(c));
        word.replace('\u{2019}', "'")
    };
    let words: Vec<String> = part.split_whitespace().map(trim).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    let mut start = 0;
    for at in 1..words.len() {
        if !matches!(words[at].as_str(), "and" | "then" | "but" | "or" | "&" | "rather" | "without") {
            continue;
        }
        let next = words[at + 1..].iter().find(|word| !FILLERS.contains(word));
        let opens = words[at] == "without"
            || next.is_some_and(|word| is_change(word) || JUDGE.contains(word) || NEGATIONS.contains(word));
        // "The docs and tests": a noun that is a verb as well goes on with the list.
        let noun = next.is_some_and(|word| DOCS.contains(word) || CODE.contains(word));
        if opens && !noun {
            found.push(words[start..at].to_vec());
            start = at;
        }
    }
    found.push(words[start..].to_vec());
    found
}

fn is_change(word: &str) -> bool {
    CHANGE.contains(word)
}

/// What one clause asks for.
fn clause(words: &[String], question: bool) -> Option<Clause> {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let mut at = 0;
    let mut asked_you = false;
    while at < words.len() {
        let this = word(at);
        let filler = FILLERS.contains(this) || this.starts_with('@');
        if !filler || (this == "need" && word(at + 1) != "to" && word(at + 1) != "you") {
            break;
        }
        // "Should we implement this?" asks for an opinion; "could you" asks for the work.
        let polite = matches!(this, "can" | "could")
            && word(at + 1) == "we"
            && matches!(word(at + 2), "get" | "have" | "add");
        let about_us =
            matches!(this, "should" | "can" | "could" | "would" | "must") && word(at + 1) != "you" && !polite;
        // "Would you merge this?"
        let verdict = this == "would" && word(at + 1) == "you" && VERDICTS.contains(word(at + 2));
        if question && (about_us || verdict) && !asked_you {
            return Some(judgement(words, at));
        }
        // "I will fix it": the speaker's own plan.
        if this == "i" && !matches!(word(at + 1), "want" | "would" | "need") {
            return None;
        }
        asked_you |= this == "you";
        at += 1;
    }
    let this = word(at);
    if NEGATIONS.contains(this) || (this == "do" && word(at + 1) == "not") {
        return Some(Clause::Refrain { from_all: from_all(words.get(at + 1..).unwrap_or_default()) });
    }
    let asks_do = this == "do" && matches!(word(at + 1), "you" | "we" | "they" | "these" | "those" | "i");
    if QUESTIONS.contains(this) || asks_do {
        let is_question = question
            || matches!(
                this,
                "why" | "what" | "how" | "any" | "thoughts" | "opinions" | "opinion" | "feedback" | "wdyt"
            );
        return is_question.then(|| judgement(words, at));
    }
    let could_use = this == "use" && matches!(word(at.saturating_sub(1)), "could" | "can");
    if (could_use || matches!(this, "take" | "give") || word(at.saturating_sub(1)) == "have")
        && words[at..].iter().any(|word| LOOKS.contains(word) || JUDGEMENTS.contains(word))
        || (this == "know" && word(at.saturating_sub(1)) == "me")
        || words[at..].iter().any(|word| word == "eyes")
    {
        return Some(judgement(words, at));
    }
    let rest = words.get(at + 1..).unwrap_or_default();
    if this == "take" && word(at + 1) == "over" {
        return Some(Clause::Change { object: object_of(rest), mechanical: false, words: phrase(words, at) });
    }
    // "Take care of her comments", "follow up on the review".
    if matches!((this, word(at + 1)), ("take", "care") | ("follow", "up")) {
        return Some(change("address", words.get(at + 3..).unwrap_or_default(), phrase(words, at)));
    }
    let goes_over = matches!(word(at + 1), "through" | "over");
    if goes_over && matches!(this, "run" | "go" | "walk" | "step" | "skim" | "read") {
        return Some(judgement(words, at));
    }
    // "Validate the input before using it" asks for the check, not for an opinion.
    let guards = rest.windows(2).any(|pair| pair[0] == "before" && pair[1].ends_with("ing"));
    if guards && matches!(this, "validate" | "verify" | "check") {
        return Some(Clause::Change { object: Object::Code, mechanical: false, words: phrase(words, at) });
    }
    // "The review comments are all valid" asks for no review.
    let remarks = ["comments", "comment", "feedback", "remarks", "notes", "nits", "suggestions"];
    if this == "review" && remarks.contains(&word(at + 1)) {
        return None;
    }
    if JUDGE.contains(this) {
        return Some(judge_or_write(this, rest, phrase(words, at)));
    }
    is_change(this).then(|| change(this, rest, phrase(words, at)))
}

fn judgement(words: &[String], at: usize) -> Clause {
    Clause::Judge { words: phrase(words, at), object: object_of(words.get(at..).unwrap_or_default()) }
}

/// Whether what follows a "don't" or "no" is any change at all: "no edits", "do not change anything".
fn from_all(rest: &[String]) -> bool {
    static ALL: Words = Words::of(
        "not edit edits editing change changes changing modify modifying touch commit commits push write \
         make making apply anything any file files yet please just it a the to",
    );
    let first = rest.iter().find(|word| *word != "not");
    first.is_some_and(|word| word != "please") && rest.iter().all(|word| ALL.contains(word))
}

/// "Explain" asks for a judgement, "explain the flag in the readme" for prose.
fn judge_or_write(verb: &str, rest: &[String], words: String) -> Clause {
    let writes = matches!(
        verb,
        "note" | "explain" | "describe" | "list" | "summarise" | "summarize" | "show" | "comment"
    );
    let asks = rest.first().is_some_and(|word| QUESTIONS.contains(word) || word == "if");
    let place = rest.iter().position(|word| word == "in" || word == "to").filter(|at| *at == 0 || !asks);
    let in_docs = place.is_some_and(|at| is_text(&rest[at + 1..]));
    if writes && in_docs {
        return Clause::Change { object: Object::Docs, mechanical: false, words };
    }
    let object = object_of(rest);
    Clause::Judge { words, object }
}

fn change(verb: &str, rest: &[String], words: String) -> Clause {
    let head: Vec<&str> =
        rest.iter().map(String::as_str).take_while(|word| !BOUNDARIES.contains(word)).collect();
    let judgement = head.iter().any(|word| JUDGEMENTS.contains(word));
    let comments =
        head.iter().any(|word| matches!(*word, "comment" | "comments" | "nits" | "notes" | "remarks"));
    let of_review = head.iter().any(|word| {
        matches!(
            *word,
            "review" | "reviewer's" | "reviewers" | "pr" | "inline" | "my" | "his" | "her" | "their" | "your"
        )
    });
    // "Leave inline comments", but not "add inline comments to the tricky part".
    let placed =
        rest.iter().any(|word| matches!(word.as_str(), "to" | "above" | "explaining" | "describing"));
    if MAKING.contains(verb)
        && (judgement || (comments && of_review && !placed))
        && !head.iter().any(|word| CODE.contains(word))
    {
        return Clause::Judge { words, object: object_of(rest) };
    }
    let responds = RESPONDING.contains(verb)
        && (judgement || (comments && (of_review || matches!(verb, "address" | "resolve" | "incorporate"))));
    let object = if responds {
        responded(rest)
    } else if DOCS_VERBS.contains(verb) {
        Object::Docs
    } else if WORDING_VERBS.contains(verb) {
        if head.iter().any(|word| shown_by_program(word)) { Object::Code } else { Object::Docs }
    } else if verb == "implement" && !head.iter().any(|word| IS_DOCS.contains(word)) {
        // "Implement the RFC", "what docs/design.md says": the page says how, it is not what is made.
        Object::Code
    } else if matches!(verb, "test" | "lint" | "refactor" | "rebase" | "implement")
        && object_of(rest) == Object::Open
    {
        Object::Code
    } else {
        object_of(rest)
    };
    // "Run the formatter and push": pushing adds nothing.
    let mechanical = matches!(verb, "push" | "commit")
        || MECHANICAL.contains(verb)
        || head.iter().any(|word| MECHANICAL.contains(word));
    Clause::Change { object, mechanical: mechanical && !responds, words }
}

/// Ways of looking at something.
static LOOKS: Words = Words::of("look pass peek glance read once-over");

/// Documentation by its own name, rather than a text about something that can be made.
static IS_DOCS: Words = Words::of("docs documentation readme readme.md docstring docstrings changelog");

/// At most eight words from `at` on, for a reason.
fn phrase(words: &[String], at: usize) -> String {
    let rest = words.get(at..).unwrap_or_default();
    let shown = rest.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(" ");
    if rest.len() > 8 { format!("{shown} …") } else { shown }
}
