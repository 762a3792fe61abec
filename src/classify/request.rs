//! Reads a request out of a text: the verb's object decides.
//!
//! A text is cut into clauses, each of which asks for a change, for a judgement, for nothing to be done,
//! or for nothing at all. "Review the docs and fix the typos" has one of each, and the change wins.

use super::text::sentences;
use super::words::{
    AGENTS, BOUNDARIES, CHANGE, CODE, DOCS, DOCS_VERBS, FILLERS, FOREIGN, JUDGE, JUDGEMENTS, LONG, MAKING,
    MECHANICAL, NEGATIONS, QUESTIONS, RESPONDING, WORDING, WORDING_VERBS,
};
use crate::task::Task;

/// What a change is to be made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Docs,
    Code,
    Both,
    /// The words do not say.
    Open,
}

/// A request, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The task; `None` where a change is asked for and the words leave open of what kind.
    pub(super) task: Option<Task>,
    /// In percent.
    pub(super) percent: u8,
    /// The words that decided.
    pub(super) words: String,
    /// Anybody would see a mistake at a glance: typos, formatting.
    pub(super) mechanical: bool,
    /// A long text is asked for.
    pub(super) long: bool,
    /// The request names what is to be done, rather than pointing at something else.
    pub(super) specific: bool,
}

#[derive(Clone, Debug)]
enum Clause {
    Change {
        object: Object,
        mechanical: bool,
        words: String,
    },
    Judge {
        words: String,
    },
    /// "Don't change anything".
    Refrain,
}

/// What `text` asks for; `None` where it asks for nothing.
pub(super) fn read(text: &str) -> Option<Request> {
    let sentences = sentences(text);
    let addressed = after_mention(&sentences);
    let found = addressed.as_deref().and_then(read_sentences);
    found.or_else(|| read_sentences(&sentences))
}

/// What the text says from the first mention of an agent on; what comes before is for others.
fn after_mention(sentences: &[String]) -> Option<Vec<String>> {
    for (index, sentence) in sentences.iter().enumerate() {
        let mention = sentence.split_whitespace().find(|word| is_agent_mention(word));
        let Some(at) = mention.and_then(|word| sentence.find(word)) else { continue };
        let mut rest = vec![sentence[at..].to_owned()];
        rest.extend_from_slice(&sentences[index + 1..]);
        return Some(rest);
    }
    None
}

/// Whether a word is an `@name` whose name has a part that marks an agent.
pub(super) fn is_agent_mention(word: &str) -> bool {
    word.strip_prefix('@').is_some_and(|name| {
        name.split(|c: char| !c.is_alphanumeric()).any(|part| AGENTS.contains(&part) || part.ends_with("bot"))
    })
}

fn read_sentences(sentences: &[String]) -> Option<Request> {
    if let Some(request) = sentences.iter().find_map(|sentence| slash(sentence)) {
        return Some(request);
    }
    let mut clauses = Vec::new();
    for sentence in sentences {
        sentence_clauses(sentence, &mut clauses);
    }
    let whole = sentences.join(" ");
    decide(&clauses, &whole)
        .or_else(|| foreign(&whole))
        .or_else(|| sentences.iter().find_map(|sentence| need(sentence)))
        .or_else(|| fragment(sentences))
}

/// A command at the start of a line, such as `/review`.
fn slash(sentence: &str) -> Option<Request> {
    let rest = sentence.strip_prefix('/')?;
    let (command, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim_end_matches(['.', '!', ':']);
    let request = |task, percent| Request {
        task,
        percent,
        words: format!("/{command}"),
        mechanical: is_mechanical(rest) || is_mechanical(command),
        long: is_long(rest),
        specific: !rest.is_empty(),
    };
    match command {
        "review" | "explain" | "summarize" | "summarise" | "summary" | "ask" | "describe" | "question"
        | "analyze" | "analyse" | "check" | "audit" | "why" => Some(request(Some(Task::Review), 96)),
        "docs" | "doc" | "document" | "documentation" | "readme" | "changelog" | "docstring"
        | "docstrings" => Some(request(Some(Task::Docs), 96)),
        "implement" | "code" | "tests" | "solve" | "continue" => {
            Some(request(Some(Task::Implementation), 94))
        }
        _ if CHANGE.contains(&command) => {
            let read = read_sentences(&[format!("{command} {rest}")]);
            let task = read.and_then(|read| read.task).unwrap_or(Task::Implementation);
            Some(request(Some(task), 92))
        }
        _ if AGENTS.contains(&command) || matches!(command, "oc" | "run") => {
            read_sentences(&[rest.to_owned()]).filter(|_| !rest.is_empty())
        }
        _ => None,
    }
}

/// The clauses of one sentence.
fn sentence_clauses(sentence: &str, into: &mut Vec<Clause>) {
    let question = sentence.ends_with('?');
    let mut change_before_colon = false;
    for (after_colon, part) in parts(sentence) {
        // What follows the colon of a request that is clear says which one, and is often a title.
        if after_colon && change_before_colon {
            break;
        }
        for words in clause_words(&part) {
            let clause = clause(&words, question);
            if let Some(Clause::Change { object, .. }) = &clause {
                change_before_colon |= *object != Object::Open;
            }
            match (clause, into.last_mut()) {
                (Some(clause), _) => into.push(clause),
                // "Update the readme, the tests and the changelog": the list goes on.
                (None, Some(Clause::Change { object, .. })) if words.len() <= 3 && !question => {
                    *object = join(*object, object_of(&words));
                }
                _ => {}
            }
        }
    }
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
fn clause_words(part: &str) -> Vec<Vec<String>> {
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
        let next = words[at + 1..].iter().find(|word| !FILLERS.contains(&word.as_str()));
        let opens = words[at] == "without"
            || next.is_some_and(|word| {
                is_change(word) || JUDGE.contains(&word.as_str()) || NEGATIONS.contains(&word.as_str())
            });
        // "The docs and tests": a noun that is a verb as well goes on with the list.
        let noun = next.is_some_and(|word| DOCS.contains(&word.as_str()) || CODE.contains(&word.as_str()));
        if opens && !noun {
            found.push(words[start..at].to_vec());
            start = at;
        }
    }
    found.push(words[start..].to_vec());
    found
}

fn is_change(word: &str) -> bool {
    CHANGE.contains(&word)
}

/// What one clause asks for.
fn clause(words: &[String], question: bool) -> Option<Clause> {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let mut at = 0;
    let mut asked_you = false;
    while at < words.len() {
        let this = word(at);
        let filler = FILLERS.contains(&this) || this.starts_with('@');
        if !filler || (this == "need" && word(at + 1) != "to" && word(at + 1) != "you") {
            break;
        }
        // "Should we implement this?" asks for an opinion; "could you" asks for the work.
        let about_us = matches!(this, "should" | "can" | "could" | "would" | "must") && word(at + 1) != "you";
        if question && about_us && !asked_you {
            return Some(Clause::Judge { words: phrase(words, at) });
        }
        // "I will fix it": the speaker's own plan.
        if this == "i" && !matches!(word(at + 1), "want" | "would" | "need") {
            return None;
        }
        asked_you |= this == "you";
        at += 1;
    }
    let this = word(at);
    if NEGATIONS.contains(&this) || (this == "do" && word(at + 1) == "not") {
        return Some(Clause::Refrain);
    }
    let asks_do = this == "do" && matches!(word(at + 1), "you" | "we" | "they" | "these" | "those" | "i");
    if QUESTIONS.contains(&this) || asks_do {
        let is_question = question
            || matches!(
                this,
                "why" | "what" | "how" | "any" | "thoughts" | "opinions" | "opinion" | "feedback" | "wdyt"
            );
        return is_question.then(|| Clause::Judge { words: phrase(words, at) });
    }
    if (matches!(this, "take" | "give") || word(at.saturating_sub(1)) == "have")
        && words[at..]
            .iter()
            .any(|word| word == "look" || JUDGEMENTS.contains(&word.as_str()) || word == "pass")
        || (this == "know" && word(at.saturating_sub(1)) == "me")
    {
        return Some(Clause::Judge { words: phrase(words, at) });
    }
    let rest = words.get(at + 1..).unwrap_or_default();
    if this == "take" && matches!(word(at + 1), "over" | "care") {
        return Some(Clause::Change { object: object_of(rest), mechanical: false, words: phrase(words, at) });
    }
    if JUDGE.contains(&this) {
        return Some(judge_or_write(this, rest, phrase(words, at)));
    }
    is_change(this).then(|| change(this, rest, phrase(words, at)))
}

/// "Explain" asks for a judgement, "explain the flag in the readme" for prose.
fn judge_or_write(verb: &str, rest: &[String], words: String) -> Clause {
    let writes =
        matches!(verb, "explain" | "describe" | "list" | "summarise" | "summarize" | "show" | "comment");
    let asks = rest.first().is_some_and(|word| QUESTIONS.contains(&word.as_str()) || word == "if");
    let place = rest.iter().position(|word| word == "in" || word == "to").filter(|at| *at == 0 || !asks);
    let in_docs = place.is_some_and(|at| object_of(&rest[at + 1..]) == Object::Docs);
    if writes && in_docs {
        return Clause::Change { object: Object::Docs, mechanical: false, words };
    }
    Clause::Judge { words }
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
    if MAKING.contains(&verb)
        && (judgement || (comments && of_review))
        && !head.iter().any(|word| CODE.contains(word))
    {
        return Clause::Judge { words };
    }
    let responds = RESPONDING.contains(&verb)
        && (judgement || (comments && (of_review || matches!(verb, "address" | "resolve" | "incorporate"))));
    let object = if responds {
        responded(rest)
    } else if DOCS_VERBS.contains(&verb) {
        Object::Docs
    } else if WORDING_VERBS.contains(&verb) {
        if head.iter().any(|word| shown_by_program(word)) { Object::Code } else { Object::Docs }
    } else if matches!(verb, "test" | "lint" | "refactor" | "rebase" | "implement")
        && object_of(rest) == Object::Open
    {
        Object::Code
    } else {
        object_of(rest)
    };
    let mechanical = MECHANICAL.contains(&verb) || head.iter().any(|word| MECHANICAL.contains(word));
    Clause::Change { object, mechanical: mechanical && !responds, words }
}

/// Review comments are about code, unless they are said to be about wording.
fn responded(rest: &[String]) -> Object {
    let wording = |word: &String| {
        WORDING.contains(&word.as_str())
            || matches!(word.as_str(), "docs" | "documentation" | "readme" | "docstrings")
    };
    if rest.iter().any(wording) { Object::Docs } else { Object::Code }
}

fn shown_by_program(word: &str) -> bool {
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
    let phrases: Vec<&[String]> = words.split(|word| BOUNDARIES.contains(&word.as_str())).collect();
    let mut found = Object::Open;
    for (index, phrase) in phrases.iter().enumerate() {
        found = thing(phrase);
        let wording = phrase.iter().any(|word| WORDING.contains(&word.as_str()));
        let later = || phrases[index + 1..].iter().copied().flatten();
        if wording
            && found == Object::Docs
            && later().any(|word| shown_by_program(word))
            && !later().any(|word| DOCS.contains(&word.as_str()))
        {
            return Object::Code;
        }
        if found != Object::Open {
            break;
        }
    }
    found
}

/// What one phrase names. In a compound the last noun counts: "the docs build" is a build.
fn thing(phrase: &[String]) -> Object {
    let mut found = Object::Open;
    for part in phrase.split(|word| matches!(word.as_str(), "and" | "&" | "or" | "plus")) {
        let head = part.iter().rev().map(|word| kind_of(word)).find(|kind| *kind != Object::Open);
        found = join(found, head.unwrap_or(Object::Open));
    }
    found
}

fn kind_of(word: &str) -> Object {
    let word = word.trim_end_matches("'s");
    if DOCS.contains(&word) {
        return Object::Docs;
    }
    if CODE.contains(&word) {
        return Object::Code;
    }
    if !word.contains(['.', '/']) {
        return Object::Open;
    }
    match super::paths::sort(word) {
        super::paths::Sort::Prose => Object::Docs,
        super::paths::Sort::Other if word.trim_end_matches('/').ends_with("docs") => Object::Docs,
        super::paths::Sort::Other => Object::Open,
        _ => Object::Code,
    }
}

fn join(one: Object, other: Object) -> Object {
    match (one, other) {
        (Object::Open, known) | (known, Object::Open) => known,
        (one, other) if one == other => one,
        _ => Object::Both,
    }
}

/// Weighs the clauses: a change wins over a judgement, program text over prose.
fn decide(clauses: &[Clause], whole: &str) -> Option<Request> {
    let refrains = clauses.iter().any(|clause| matches!(clause, Clause::Refrain));
    let judged = clauses.iter().find_map(|clause| match clause {
        Clause::Judge { words } => Some(words.clone()),
        _ => None,
    });
    let changes: Vec<(Object, bool, &String)> = clauses
        .iter()
        .filter_map(|clause| match clause {
            Clause::Change { object, mechanical, words } => Some((*object, *mechanical, words)),
            _ => None,
        })
        .collect();
    let object = changes.iter().fold(Object::Open, |found, (object, ..)| join(found, *object));
    let only_judge = changes.is_empty() || (refrains && object == Object::Open);
    if let (Some(words), true) = (&judged, only_judge) {
        return Some(Request {
            task: Some(Task::Review),
            percent: 90,
            words: words.clone(),
            mechanical: false,
            long: false,
            specific: true,
        });
    }
    let deciding = changes.iter().find(|(found, ..)| *found != Object::Open).or(changes.first())?;
    let (task, percent) = match object {
        Object::Docs => (Some(Task::Docs), 90),
        Object::Code => (Some(Task::Implementation), 90),
        Object::Both => (Some(Task::Implementation), 85),
        Object::Open => (None, 65),
    };
    Some(Request {
        task,
        percent,
        words: deciding.2.clone(),
        mechanical: changes.iter().all(|(_, mechanical, _)| *mechanical),
        long: is_long(whole),
        specific: object != Object::Open,
    })
}

/// "The readme should mention the flag", "the parser needs a test".
fn need(sentence: &str) -> Option<Request> {
    if sentence.ends_with('?') {
        return None;
    }
    let words: Vec<String> = clause_words(sentence).concat();
    let at = words
        .iter()
        .position(|word| matches!(word.as_str(), "needs" | "need" | "should" | "must" | "lacks"))?;
    if at == 0 || words[..at].iter().any(|word| matches!(word.as_str(), "i" | "we" | "you" | "i'll")) {
        return None;
    }
    let subject = thing(&words[..at]);
    let object = if subject == Object::Open || words[at] != "should" {
        join(object_of(&words[at + 1..]), subject)
    } else {
        subject
    };
    let task = if object == Object::Docs { Task::Docs } else { Task::Implementation };
    Some(plain(task, 65, words.join(" ")))
}

/// A few words without a verb: "docs please", "opinions only".
fn fragment(sentences: &[String]) -> Option<Request> {
    let [sentence] = sentences else { return None };
    let words: Vec<String> = clause_words(sentence).concat();
    let left: Vec<String> = words
        .into_iter()
        .filter(|word| !FILLERS.contains(&word.as_str()) && !word.starts_with('@'))
        .collect();
    if left.is_empty() || left.len() > 4 {
        return None;
    }
    if left.iter().any(|word| JUDGEMENTS.contains(&word.as_str())) {
        return Some(plain(Task::Review, 75, left.join(" ")));
    }
    match object_of(&left) {
        Object::Docs => Some(plain(Task::Docs, 60, left.join(" "))),
        Object::Code | Object::Both => Some(plain(Task::Implementation, 60, left.join(" "))),
        Object::Open => None,
    }
}

/// Stems of other languages, wherever they stand. Only asked where the text holds no English request.
fn foreign(whole: &str) -> Option<Request> {
    let find = |stems: &[&'static str]| stems.iter().find(|stem| whole.contains(**stem)).copied();
    if let Some(stem) = find(FOREIGN.change) {
        let task = if find(FOREIGN.docs).is_some() { Task::Docs } else { Task::Implementation };
        return Some(plain(task, 75, format!("{}…", stem.trim())));
    }
    find(FOREIGN.judge).map(|stem| plain(Task::Review, 75, format!("{stem}…")))
}

fn plain(task: Task, percent: u8, words: String) -> Request {
    let mechanical = is_mechanical(&words);
    Request { task: Some(task), percent, words, mechanical, long: false, specific: true }
}

fn is_mechanical(text: &str) -> bool {
    text.split_whitespace().any(|word| MECHANICAL.contains(&word))
}

fn is_long(text: &str) -> bool {
    LONG.iter().any(|sign| text.contains(sign))
}

/// At most eight words from `at` on, for a reason.
fn phrase(words: &[String], at: usize) -> String {
    let rest = words.get(at..).unwrap_or_default();
    let shown = rest.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(" ");
    if rest.len() > 8 { format!("{shown} …") } else { shown }
}
