//! Reads a request out of a text: the verb's object decides.
//!
//! [`super::clause`] cuts a text into clauses, each of which asks for a change, for a judgement, for
//! nothing to be done, or for nothing at all. "Review the docs and fix the typos" has one of each, and
//! the change wins.

use super::clause::{Clause, clause_words, sentence_clauses};
use super::foreign;
use super::object::{Object, join, object_of, thing};
use super::phrases::{Phrases, phrases};
use super::text::sentences;
use super::words::{AGENTS, ARCHITECTURE, CHANGE, CHATTER, FILLERS, JUDGE, JUDGEMENTS, LONG, MECHANICAL};
use crate::task::Task;

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
    /// A judgement of prose alone is asked for.
    pub(super) of_prose: bool,
    /// The whole is to be shaped anew, not a part.
    pub(super) sweeping: bool,
}

impl Request {
    /// The same request, of which is said that it is about documentation alone: what is to be explained is to be
    /// explained there.
    fn within_docs(self) -> Self {
        let told = ["describe", "explain", "list", "summarise", "summarize", "show"];
        let writes = self.task == Some(Task::Review) && told.iter().any(|verb| self.words.starts_with(verb));
        if self.task.is_none() || writes {
            Self { task: Some(Task::Docs), percent: 80, ..self }
        } else {
            self
        }
    }
}

/// Whether a text says that documentation alone is to change.
fn only_docs(text: &str) -> bool {
    static SAID: Phrases = phrases!(&[
        "docs only",
        "docs-only",
        "documentation only",
        "only docs",
        "only the docs",
        "only documentation",
        "only the documentation",
    ]);
    SAID.any(text)
}

/// What `text` asks for; `None` where it asks for nothing.
pub(super) fn read(text: &str) -> Option<Request> {
    let sentences = sentences(text);
    let addressed = after_mention(&sentences);
    let found = addressed.as_deref().and_then(read_sentences);
    found.or_else(|| read_sentences(&sentences)).or_else(|| addressed.as_deref().and_then(order))
}

/// Ways of agreeing to work that was spoken of before.
const ASSENT: [&str; 7] =
    ["go for it", "go ahead", "make it so", "try again", "another try", "another go", "another shot"];

/// What an agent is told in words that are not known: an order, unless it is a question or small talk.
fn order(sentences: &[String]) -> Option<Request> {
    for sentence in sentences {
        if sentence.ends_with(['?', '\u{ff1f}', '\u{61f}']) {
            return None;
        }
        if ASSENT.iter().any(|words| sentence.contains(words)) {
            return Some(plain(Task::Implementation, 60, sentence.clone()));
        }
        let words: Vec<String> = clause_words(sentence).concat();
        let own = |word: &String| matches!(word.as_str(), "i" | "i'll" | "i've" | "i'm" | "we" | "we'll");
        let left: Vec<String> =
            words.into_iter().filter(|word| own(word) || !FILLERS.contains(word)).collect();
        let left: Vec<String> = left.into_iter().filter(|word| !word.starts_with('@')).collect();
        let silent = left.len() < 2 || left.iter().take(2).any(|word| CHATTER.contains(word) || own(word));
        if silent {
            continue;
        }
        let wonders =
            |word: &String| matches!(word.as_str(), "whether" | "why" | "wonder" | "wondering" | "curious");
        if left.iter().any(wonders) || left.iter().take(3).any(|word| JUDGE.contains(word)) {
            return Some(plain(Task::Review, 60, left.join(" ")));
        }
        let prose = object_of(&left[1..]) == Object::Docs || foreign::names_prose(sentence);
        let task = if prose { Task::Docs } else { Task::Implementation };
        return Some(plain(task, 55, left.join(" ")));
    }
    None
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
        name.split(|c: char| !c.is_alphanumeric()).any(|part| AGENTS.contains(part) || part.ends_with("bot"))
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
        .map(|request| if only_docs(&whole) { request.within_docs() } else { request })
        .or_else(|| foreign::read(sentences).map(|(task, stem)| plain(task, 75, stem)))
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
        of_prose: false,
        sweeping: is_sweeping(rest),
    };
    match command {
        "review" | "explain" | "summarize" | "summarise" | "summary" | "ask" | "describe" | "question"
        | "analyze" | "analyse" | "check" | "audit" | "why" => Some(request(Some(Task::Review), 96)),
        "docs" | "doc" | "document" | "documentation" | "readme" | "changelog" | "docstring"
        | "docstrings" => Some(request(Some(Task::Docs), 96)),
        "implement" | "code" | "tests" | "solve" | "continue" => {
            Some(request(Some(Task::Implementation), 94))
        }
        _ if CHANGE.contains(command) => {
            let read = read_sentences(&[format!("{command} {rest}")]);
            let task = read.and_then(|read| read.task).unwrap_or(Task::Implementation);
            Some(request(Some(task), 92))
        }
        _ if AGENTS.contains(command) || matches!(command, "oc" | "run") => {
            read_sentences(&[rest.to_owned()]).filter(|_| !rest.is_empty())
        }
        _ => None,
    }
}

/// Weighs the clauses: a change wins over a judgement, program text over prose.
fn decide(clauses: &[Clause], whole: &str) -> Option<Request> {
    let refrains = clauses.iter().any(|clause| matches!(clause, Clause::Refrain { .. }));
    let hands_off = clauses.iter().any(|clause| matches!(clause, Clause::Refrain { from_all: true }));
    let judged = clauses.iter().find_map(|clause| match clause {
        Clause::Judge { words, object } => Some((words.clone(), *object)),
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
    let only_judge = changes.is_empty() || hands_off || (refrains && object == Object::Open);
    if let (Some((words, judged_object)), true) = (&judged, only_judge) {
        return Some(Request {
            task: Some(Task::Review),
            percent: 90,
            words: words.clone(),
            mechanical: false,
            long: false,
            specific: true,
            of_prose: *judged_object == Object::Docs && names_prose(words),
            sweeping: false,
        });
    }
    let deciding = changes.iter().find(|(found, ..)| *found != Object::Open).or(changes.first())?;
    // "Review the docs and correct what is wrong": there.
    let of_judged = matches!((&judged, object), (Some((_, Object::Docs)), Object::Open));
    let (task, percent) = match object {
        Object::Open if of_judged => (Some(Task::Docs), 75),
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
        of_prose: false,
        sweeping: is_sweeping(whole),
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
    let own = words[..at].iter().any(|word| matches!(word.as_str(), "i" | "we" | "you" | "i'll"));
    let next = words.get(at + 1).map_or("", String::as_str);
    // "We need tests for the parser" asks for them; "we need to talk", "I need an opinion" do not.
    let wants = matches!(words[at].as_str(), "need" | "needs") && !matches!(next, "to" | "help" | "you");
    let judges = words[at..].iter().any(|word| JUDGEMENTS.contains(word));
    if judges && wants {
        return Some(plain(Task::Review, 70, words.join(" ")));
    }
    if at == 0 || (own && !wants) {
        return None;
    }
    let subject = if own { Object::Open } else { thing(&words[..at]) };
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
    // "I will fix the docs tomorrow" is the speaker's own plan.
    if words
        .iter()
        .any(|word| matches!(word.as_str(), "i" | "i'll" | "i've" | "i'm" | "we" | "we'll" | "done"))
    {
        return None;
    }
    let left: Vec<String> =
        words.into_iter().filter(|word| !FILLERS.contains(word) && !word.starts_with('@')).collect();
    if left.is_empty() || left.len() > 4 {
        return None;
    }
    if left.iter().any(|word| JUDGEMENTS.contains(word)) {
        return Some(plain(Task::Review, 75, left.join(" ")));
    }
    match object_of(&left) {
        Object::Docs => Some(plain(Task::Docs, 60, left.join(" "))),
        Object::Code | Object::Both => Some(plain(Task::Implementation, 60, left.join(" "))),
        Object::Open => None,
    }
}

fn plain(task: Task, percent: u8, words: String) -> Request {
    let mechanical = is_mechanical(&words);
    Request {
        task: Some(task),
        percent,
        words,
        mechanical,
        long: false,
        specific: true,
        of_prose: false,
        sweeping: false,
    }
}

fn is_mechanical(text: &str) -> bool {
    text.split_whitespace().any(|word| MECHANICAL.contains(word))
}

fn is_long(text: &str) -> bool {
    LONG.any(text)
}

fn is_sweeping(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || c == ',').any(|word| ARCHITECTURE.contains(word))
}

/// Whether a judgement is said to be of texts: a "comment" or a "page" may be many things.
fn names_prose(words: &str) -> bool {
    const TEXTS: [&str; 12] = [
        "docs",
        "documentation",
        "readme",
        "wording",
        "spelling",
        "grammar",
        "changelog",
        "typos",
        "tutorial",
        "docstring",
        "docstrings",
        "prose",
    ];
    words.split_whitespace().any(|word| TEXTS.contains(&word))
}
