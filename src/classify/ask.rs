//! Who asked for what: comments and dispatches, then agent labels and review events, then the body's
//! sentence and the branch.
//!
//! Only people who may write to the repository can choose a task. A comment by anybody else asks for a
//! review at most, and a bot's comment asks for nothing.

use super::ChangeKind;
use super::change::Nature;
use super::request::{self, Request};
use super::text::{name_words, sentences};
use super::words::{AGENTS, CHANGE, DOCS, DOCS_VERBS, JUDGE};
use crate::event::{Change, Event, Kind};
use crate::task::Task;

/// A task that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) task: Task,
    /// In percent.
    pub(super) percent: u8,
    pub(super) reason: String,
    /// The request in words, where there are any.
    pub(super) request: Option<Request>,
}

/// Where an ask may be found.
type Source = fn(&Event, &Nature) -> Option<Ask>;

/// Every place where an ask may be found, by precedence.
const SOURCES: [(&str, Source); 5] = [
    ("comment", comment),
    ("dispatch", dispatch),
    ("label or event", label_or_review_event),
    ("body", body),
    ("branch", branch),
];

/// The ask that counts, by precedence; `None` where nobody asked.
pub(super) fn find(event: &Event, nature: &Nature) -> Option<Ask> {
    SOURCES.iter().find_map(|(_, read)| read(event, nature))
}

/// Every ask, each with where it was found, by precedence.
pub(super) fn all(event: &Event, nature: &Nature) -> Vec<(&'static str, Ask)> {
    SOURCES.iter().filter_map(|(name, read)| Some((*name, read(event, nature)?))).collect()
}

fn comment(event: &Event, nature: &Nature) -> Option<Ask> {
    let (text, author) = event.comment.as_ref().filter(|(_, author)| !author.bot)?;
    if !author.trusted() {
        let reason = "the comment is by somebody who may not write to the repository, so it can ask for no more than a review";
        return Some(Ask { task: Task::Review, percent: 90, reason: reason.to_owned(), request: None });
    }
    Some(worded(request::read(text)?, "the comment", nature))
}

/// Only people who may write can start a dispatch.
fn dispatch(event: &Event, nature: &Nature) -> Option<Ask> {
    if event.kind != Kind::WorkflowDispatch {
        return None;
    }
    let by_name = ["task", "mode"].iter().find_map(|key| event.inputs.get(*key)?.trim().parse::<Task>().ok());
    if let Some(task) = by_name {
        let reason = format!("the dispatch's input names the task {task}");
        return Some(Ask { task, percent: 97, reason, request: None });
    }
    const TEXTS: [&str; 9] = [
        "prompt",
        "task",
        "instructions",
        "instruction",
        "request",
        "ask",
        "message",
        "command",
        "direct_prompt",
    ];
    let named = TEXTS.iter().filter_map(|key| event.inputs.get(*key)).find_map(|text| request::read(text));
    let request = named.or_else(|| event.inputs.values().find_map(|text| request::read(text)))?;
    Some(worded(request, "the dispatch", nature))
}

fn worded(request: Request, source: &str, nature: &Nature) -> Ask {
    let words = &request.words;
    let (task, reason) = match request.task {
        Some(task) => (task, format!("{source} asks for {}: \"{words}\"", article(task))),
        // "Fix it" on a change that is all prose is about prose.
        None if nature.kind == ChangeKind::Docs && nature.by_paths => {
            (Task::Docs, format!("{source} asks for a change (\"{words}\"), and all that changes is prose"))
        }
        None => {
            (Task::Implementation, format!("{source} asks for a change (\"{words}\") without saying of what"))
        }
    };
    Ask { task, percent: request.percent, reason, request: Some(request) }
}

fn article(task: Task) -> &'static str {
    match task {
        Task::Implementation => "an implementation",
        Task::Review => "a judgement",
        Task::Docs => "prose",
    }
}

fn label_or_review_event(event: &Event, _: &Nature) -> Option<Ask> {
    let ask = |task, percent, reason| Some(Ask { task, percent, reason, request: None });
    let action = event.action.as_deref().unwrap_or_default();
    if let (Some(label), "labeled") = (&event.label, action)
        && let Some(task) = agent_label(label)
    {
        return ask(task, 94, format!("the label `{label}` was set"));
    }
    match action {
        "review_requested" => return ask(Task::Review, 94, "a review was requested".to_owned()),
        "ready_for_review" => return ask(Task::Review, 92, "the draft became ready for review".to_owned()),
        _ => {}
    }
    let labels = &event.change.as_ref()?.labels;
    let removed = event.label.as_ref().filter(|_| action == "unlabeled");
    let set = labels.iter().filter(|label| Some(*label) != removed);
    let mut asked: Vec<(Task, &String)> =
        set.filter_map(|label| Some((agent_label(label)?, label))).collect();
    // Where labels disagree, what takes most care: implementation comes first in the order of tasks.
    asked.sort();
    let (task, label) = asked.first()?;
    ask(*task, 86, format!("the label `{label}` is set"))
}

/// The task a label gives to an agent. `documentation` and the like only say what a change is about.
fn agent_label(label: &str) -> Option<Task> {
    let words = name_words(label);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if has(&["review"])
        && has(&["needs", "need", "needed", "ready", "please", "request", "requested", "awaiting"])
    {
        return Some(Task::Review);
    }
    // The agent comes first, or is who it is for: `agent:docs`, `ready-for-ai`; but not `feature: ai`.
    let for_agent = words.iter().enumerate().any(|(at, word)| {
        let before = at.checked_sub(1).and_then(|before| words.get(before)).map_or("", String::as_str);
        let given =
            matches!(before, "for" | "by" | "with" | "to" | "needs" | "need" | "ask" | "run" | "let" | "use");
        AGENTS.contains(word) && (at == 0 || given)
    });
    if !for_agent || has(&["generated", "assisted", "written", "authored", "no", "skip", "area"]) {
        return None;
    }
    if has(&["docs", "doc", "document", "documentation", "readme"]) {
        Some(Task::Docs)
    } else if has(&["review", "reviewer", "explain", "triage", "summarize", "audit"]) {
        Some(Task::Review)
    } else if has(&[
        "implement",
        "implementation",
        "code",
        "coding",
        "fix",
        "build",
        "develop",
        "dev",
        "work",
        "solve",
        "resolve",
        "task",
        "feature",
        "test",
        "tests",
        "refactor",
        "continue",
    ]) {
        Some(Task::Implementation)
    } else {
        let own = words.iter().filter(|word| !matches!(word.as_str(), "run" | "use" | "try" | "let" | "get"));
        own.filter(|word| !AGENTS.contains(word)).find_map(|word| by_word(word))
    }
}

/// The task that a single word gives.
fn by_word(word: &str) -> Option<Task> {
    if DOCS.contains(word) || DOCS_VERBS.contains(word) || word == "release" {
        Some(Task::Docs)
    } else if JUDGE.contains(word) {
        Some(Task::Review)
    } else if CHANGE.contains(word) || matches!(word, "bugfix" | "hotfix" | "autofix" | "deps" | "chore") {
        Some(Task::Implementation)
    } else {
        None
    }
}

/// A sentence of the body that gives the work to an agent.
fn body(event: &Event, nature: &Nature) -> Option<Ask> {
    let change = event.change.as_ref().filter(|change| change.author.trusted())?;
    let request = assignment(&change.body)?;
    let mut ask = worded(request, "the body", nature);
    ask.percent = ask.percent.min(82);
    Some(ask)
}

fn assignment(body: &str) -> Option<Request> {
    let sentences = sentences(body);
    for (at, sentence) in sentences.iter().enumerate() {
        // "Copilot, please add tests."
        if let Some((name, rest)) = sentence.split_once(',')
            && AGENTS.contains(name.trim())
            && let Some(request) = request::read(rest)
        {
            return Some(request);
        }
        // A heading such as "Instructions for the agent", and what follows it.
        if heads_work(sentence)
            && let Some(request) = sentences.get(at + 1).and_then(|next| request::read(next))
        {
            return Some(request);
        }
        let (head, rest) = sentence.split_once(':').unwrap_or(("", ""));
        let heads = head.split_whitespace().count();
        if heads > 0
            && heads <= 6
            && names_agent(head)
            && let Some(request) = request::read(rest)
        {
            return Some(request);
        }
        if sentence.split_whitespace().any(request::is_agent_mention)
            && let Some(request) = request::read(sentence)
        {
            return Some(request);
        }
        if let Some(request) = going_on(sentence) {
            return Some(request);
        }
    }
    None
}

/// Whether a line is a heading over work that is given to an agent.
fn heads_work(line: &str) -> bool {
    let words: Vec<&str> =
        line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let work = |word: &&str| {
        matches!(*word, "instructions" | "task" | "tasks" | "work" | "todo" | "request" | "prompt")
    };
    words.len() <= 5 && !line.ends_with('.') && names_agent(line) && words.iter().any(work)
}

fn names_agent(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| AGENTS.contains(word) || word == "agents")
}

/// "The agent continues the documentation work on this branch". Sentences about an agent that is itself
/// what the project makes name no branch and no issue.
fn going_on(sentence: &str) -> Option<Request> {
    let here = [
        "this branch",
        "this pr",
        "this pull request",
        "linked issue",
        "this issue",
        "described below",
        "below",
    ];
    if !here.iter().any(|place| sentence.contains(place)) {
        return None;
    }
    for part in sentence.split([';', ',', ':']) {
        let words: Vec<&str> = part.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| names_agent(word)) else { continue };
        let mut rest = words[at + 1..].iter().copied().peekable();
        while rest
            .next_if(|word| matches!(*word, "will" | "should" | "must" | "to" | "is" | "can" | "shall"))
            .is_some()
        {}
        let Some(verb) = rest.next() else { continue };
        let verb =
            if verb.ends_with("shes") { verb.trim_end_matches("es") } else { verb.trim_end_matches('s') };
        let order = format!("{verb} {}", rest.collect::<Vec<_>>().join(" "));
        if let Some(request) = request::read(&order) {
            return Some(request);
        }
    }
    None
}

const AGENT_BRANCHES: [&str; 22] = [
    "agent/",
    "ai/",
    "bot/",
    "claude/",
    "codex/",
    "copilot/",
    "cursor/",
    "devin/",
    "gemini/",
    "jules/",
    "opencode/",
    "aider/",
    "openhands/",
    "swe-agent/",
    "sweep/",
    "ai-agent/",
    "agents/",
    "amp/",
    "cline/",
    "goose/",
    "openhands-fix-",
    "windsurf/",
];

/// A branch that an agent works on. In a fork anybody may call a branch anything.
fn branch(event: &Event, nature: &Nature) -> Option<Ask> {
    let change = event.change.as_ref()?;
    let prefix = AGENT_BRANCHES.iter().find(|prefix| change.branch.to_lowercase().starts_with(**prefix))?;
    if !may_name_branches(change) {
        return None;
    }
    let prose = nature.kind == ChangeKind::Docs && (nature.by_paths || change.author.trusted());
    let task = if prose { Task::Docs } else { Task::Implementation };
    let reason = format!("the branch is an agent's own (`{prefix}…`), and its work goes on");
    Some(Ask { task, percent: nature.percent.min(75), reason, request: None })
}

fn may_name_branches(change: &Change) -> bool {
    change.author.trusted() || (!change.fork && !change.branch.is_empty())
}
