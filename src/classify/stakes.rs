//! What a mistake would cost. Unsure means higher.
//!
//! Everything may raise the stakes. Only evidence that an outsider cannot make up lowers them: what the
//! files are, and the words of people who may write to the repository.

use super::ChangeKind;
use super::ask::Ask;
use super::change::{Nature, conventional};
use super::paths::{self, Sort};
use super::text::{name_words, own_lines};
use super::words::Words;
use crate::event::{Change, Event, FileChange};
use crate::task::{Stakes, Task};

/// More changed lines of program text than this are a large change.
const LARGE_LINES: u64 = 1_000;
/// More changed files of program text than this are a cross-cutting change.
const LARGE_FILES: u64 = 60;
/// More added lines of prose than this are a long text.
const LONG_PROSE_LINES: u64 = 300;

/// Single words for what is dangerous to get wrong.
const RISKY_WORDS: Words = Words::of(
    "auth authn authz authentication authorization authorisation authorize authenticate oauth oauth2 \
     oidc saml sso login signin logout password passwords passwd secret secrets credential \
     credentials crypto cryptography cryptographic cipher encrypt encryption decrypt decryption hmac \
     jwt tls mtls ssl x509 certificate certificates permission permissions privilege privileges rbac \
     iam acl acls firewall csrf cors xss ssrf sandbox sandboxing vulnerability vulnerabilities cve \
     payment payments billing exploit security",
);

/// Phrases of the same kind.
const RISKY_PHRASES: [&str; 20] = [
    "security group",
    "network rule",
    "network policy",
    "access control",
    "access token",
    "api token",
    "api key",
    "private key",
    "signing key",
    "sql injection",
    "command injection",
    "path traversal",
    "data loss",
    "database migration",
    "schema migration",
    "db migration",
    "drop table",
    "remote code",
    "data migration",
    "trust boundary",
];

/// The stakes, and why.
pub(super) fn judge(event: &Event, task: Task, ask: Option<&Ask>, nature: &Nature) -> (Stakes, String) {
    if let Some(reason) = risk(event, task, ask, nature) {
        return (if task == Task::Docs { Stakes::Medium } else { Stakes::High }, reason);
    }
    match task {
        Task::Docs => docs(event, ask, nature),
        Task::Review => review(event, nature),
        Task::Implementation => implementation(event, ask, nature),
    }
}

fn docs(event: &Event, ask: Option<&Ask>, nature: &Nature) -> (Stakes, String) {
    let request = ask.and_then(|ask| ask.request.as_ref());
    if request.is_some_and(|request| request.long && !request.mechanical) {
        return (Stakes::Medium, "a long text is asked for".to_owned());
    }
    let continues = request.is_none_or(|request| !request.specific) || event.comment.is_none();
    let added = event.change.as_ref().map_or(0, prose_lines);
    if continues && added > LONG_PROSE_LINES {
        return (Stakes::Medium, format!("{added} lines of prose are added"));
    }
    if nature.kind == ChangeKind::Implementation && request.is_none_or(|request| !request.specific) {
        return (Stakes::Medium, "prose is asked for on a change that holds code".to_owned());
    }
    (Stakes::Low, "prose: anybody sees a mistake and undoes it".to_owned())
}

fn review(event: &Event, nature: &Nature) -> (Stakes, String) {
    let Some(change) = &event.change else {
        return (Stakes::Medium, "a judgement, with no change to look at".to_owned());
    };
    if let Some(reason) = slight(change, nature) {
        return (Stakes::Low, format!("a review of {reason}"));
    }
    if let Some(reason) = large(change) {
        return (Stakes::High, reason);
    }
    (Stakes::Medium, "a review of an ordinary change".to_owned())
}

fn implementation(event: &Event, ask: Option<&Ask>, nature: &Nature) -> (Stakes, String) {
    let request = ask.and_then(|ask| ask.request.as_ref());
    if request.is_some_and(|request| request.mechanical) {
        return (Stakes::Low, "what is asked for is mechanical".to_owned());
    }
    let Some(change) = &event.change else {
        return (Stakes::High, "no change exists yet, so nothing bounds what is asked for".to_owned());
    };
    let about_the_change = event.comment.is_none() || request.is_none_or(|request| !request.specific);
    if about_the_change
        && nature.kind == ChangeKind::Implementation
        && let Some(reason) = slight(change, nature)
    {
        return (Stakes::Low, reason);
    }
    if let Some(reason) = large(change) {
        return (Stakes::High, reason);
    }
    (Stakes::Medium, "an ordinary change".to_owned())
}

/// Why the change itself is slight, if it is: prose, a lock file, a bump, a release, wording, formatting.
fn slight(change: &Change, nature: &Nature) -> Option<String> {
    if change.files.is_empty() || (change.files.len() as u64) < change.files_total {
        let known = change.author.trusted() && !change.files.is_empty();
        return (known && is_bump(change)).then(|| "a version bump".to_owned());
    }
    if nature.kind == ChangeKind::Docs && (nature.by_paths || change.author.trusted()) {
        return (prose_lines(change) <= LONG_PROSE_LINES).then(|| "documentation".to_owned());
    }
    let sorts: Vec<Sort> = change.files.iter().map(|file| paths::sort(&file.path)).collect();
    if sorts.iter().all(|sort| *sort == Sort::Lock) {
        return Some("lock files alone".to_owned());
    }
    if !change.author.trusted() {
        return None;
    }
    if is_bump(change) {
        return Some("a version bump".to_owned());
    }
    let lines = change.additions_total + change.deletions_total;
    let (kind, _) = conventional(&change.title);
    let words = name_words(&change.title);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let no_program = sorts.iter().all(|sort| !matches!(sort, Sort::Source | Sort::Test | Sort::Notebook));
    if kind.as_deref() == Some("style")
        || has(&["formatting", "reformat", "typo", "typos", "indentation", "whitespace", "linting"])
    {
        return (lines <= 200).then(|| "wording or formatting".to_owned());
    }
    let small_chore =
        kind.as_deref() == Some("chore") || has(&["comment", "comments", "docs", "doc", "terminology"]);
    if small_chore && lines <= 20 {
        return Some(format!("a chore of {lines} lines"));
    }
    (no_program && lines <= 4).then(|| format!("{lines} lines of settings"))
}

/// A new version of a dependency, or of the project itself: the title says so, and the files are of
/// that kind.
fn is_bump(change: &Change) -> bool {
    let (kind, rest) = conventional(&change.title);
    let words = name_words(&change.title);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let says = has(&["bump", "bumps", "dependencies", "deps", "lockfile"])
        || kind.as_deref() == Some("release")
        || rest.to_lowercase().starts_with("release")
        || (has(&["update", "upgrade"]) && has(&["dependency", "action"]));
    let fits = |file: &FileChange| {
        let packaging = matches!(paths::sort(&file.path), Sort::Lock | Sort::Build | Sort::Ci | Sort::Prose);
        packaging || file.path.ends_with("package.json") || file.additions + file.deletions <= 6
    };
    says && change.files.iter().all(fits)
}

fn large(change: &Change) -> Option<String> {
    let counted = |sort: Sort| !matches!(sort, Sort::Lock | Sort::Prose | Sort::Figure | Sort::Spelling);
    let mut lines = 0;
    let mut files = 0;
    for file in change.files.iter().filter(|file| counted(paths::sort(&file.path))) {
        lines += file.additions + file.deletions;
        files += 1;
    }
    if (change.files.len() as u64) < change.files_total {
        lines = lines.max(change.additions_total + change.deletions_total);
        files = files.max(change.files_total);
    }
    (lines > LARGE_LINES || files > LARGE_FILES)
        .then(|| format!("a large change: {lines} lines in {files} files"))
}

fn prose_lines(change: &Change) -> u64 {
    let prose = change.files.iter().filter(|file| paths::sort(&file.path) == Sort::Prose);
    prose.map(|file| file.additions).sum()
}

/// What about this is dangerous to get wrong.
fn risk(event: &Event, task: Task, ask: Option<&Ask>, nature: &Nature) -> Option<String> {
    let request = ask.and_then(|ask| ask.request.as_ref());
    if task != Task::Docs
        && let Some((text, _)) = event.comment.as_ref().filter(|(_, author)| !author.bot)
        && let Some(word) = risky(&own_lines(text))
    {
        return Some(format!("the comment speaks of {word}"));
    }
    if task == Task::Implementation
        && let Some(word) = event.inputs.values().find_map(|text| risky(&own_lines(text)))
    {
        return Some(format!("the dispatch speaks of {word}"));
    }
    // A request for prose or for something mechanical is not about what the change is about.
    if task == Task::Docs || request.is_some_and(|request| request.mechanical) {
        return None;
    }
    let change = event.change.as_ref()?;
    let prose = nature.kind == ChangeKind::Docs && (nature.by_paths || change.author.trusted());
    if !prose && let Some(word) = risky(&change.title) {
        return Some(format!("the title speaks of {word}"));
    }
    change
        .files
        .iter()
        .find_map(|file| {
            let why = risky_path(&file.path)?;
            Some(format!("{} is about {why}", file.path))
        })
        .filter(|_| !prose)
}

/// What is dangerous about a path. Prose and tests are about things, they are not the things.
fn risky_path(path: &str) -> Option<String> {
    match paths::sort(path) {
        Sort::Instructions => return Some("what agents are told".to_owned()),
        Sort::Prose | Sort::Figure | Sort::Nav | Sort::Spelling | Sort::Test | Sort::Lock | Sort::Site => {
            return None;
        }
        _ => {}
    }
    let lower = path.to_lowercase();
    if lower.ends_with("codeowners") || lower.ends_with(".github/tollgate.yml") {
        return Some("who may do what".to_owned());
    }
    let migrates =
        lower.split('/').rev().skip(1).any(|dir| matches!(dir, "migrations" | "migrate" | "alembic"));
    if migrates || lower.ends_with(".sql") {
        return Some("the database's shape".to_owned());
    }
    risky(path)
}

fn risky(text: &str) -> Option<String> {
    let words = name_words(text);
    let joined = words.join(" ");
    let phrase =
        RISKY_PHRASES.iter().find(|phrase| joined.contains(**phrase)).map(|phrase| (*phrase).to_owned());
    phrase.or_else(|| words.into_iter().find(|word| RISKY_WORDS.contains(word)))
}
