//! What a mistake would cost. Unsure means higher.
//!
//! Everything may raise the stakes. Only evidence that an outsider cannot make up lowers them: what the
//! files are, and the words of people who may write to the repository.

use super::ChangeKind;
use super::ask::Ask;
use super::change::{Nature, conventional};
use super::paths::{self, Sort};
use super::phrases::{Phrases, phrases};
use super::text::{name_words, own_lines, spaced_words};
use super::words::Words;
use crate::event::{Change, Event, FileChange};
use crate::task::{Stakes, Task};

/// More changed lines of program text than this are a large change.
const LARGE_LINES: u64 = 1_000;
/// More changed files of program text than this are a cross-cutting change.
const LARGE_FILES: u64 = 60;
/// More changed lines than this make a breaking change a large one.
const BREAKING_LINES: u64 = 100;
/// More changed lines of formatting than this are no longer slight.
const FORMATTED_LINES: u64 = 2_000;
/// Files beyond this many are not looked at one by one.
const FILES_JUDGED_MAX: u64 = 3_000;
/// More added lines than this, of what a title calls documentation of code, are a long text.
const LONG_COMMENT_LINES: u64 = 120;
/// More added lines of prose than this are a long text.
const LONG_PROSE_LINES: u64 = 300;

/// Single words for what is dangerous to get wrong.
static RISKY_WORDS: Words = Words::of(
    "auth authn authz authentication authorization authorisation authorize authenticate oauth oauth2 \
     oidc saml sso login signin logout password passwords passwd secret secrets credential \
     credentials crypto cryptography cryptographic cipher encrypt encryption decrypt decryption hmac \
     jwt tls mtls ssl x509 certificate certificates permission permissions privilege privileges rbac \
     iam acl acls firewall csrf cors xss ssrf sandbox sandboxing vulnerability vulnerabilities cve \
     payment payments billing exploit security keyring keychain keystore kms hsm passkey passkeys webauthn \
     totp mfa 2fa sanitize sanitise sanitization cidr ingress egress networkpolicy passrole assumerole \
     sudo setuid seccomp selinux apparmor attestation sigstore cosign pgp gpg argon2 bcrypt pbkdf2 aes rsa \
     hkdf",
);

/// Phrases of the same kind.
static ALL_RISKY_PHRASES: Phrases = phrases!(&RISKY_PHRASES);
const RISKY_PHRASES: [&str; 36] = [
    "network policies",
    "constant time",
    "timing attack",
    "side channel",
    "webhook signature",
    "signature verification",
    "verify signature",
    "code signing",
    "key rotation",
    "rotate key",
    "session token",
    "session fixation",
    "shell injection",
    "header injection",
    "escape shell",
    "untrusted input",
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
    let in_comment = event.comment.as_ref().and_then(|(text, _)| risky(&own_lines(text)));
    if task == Task::Review
        && ask.and_then(|ask| ask.request.as_ref()).is_some_and(|request| request.of_prose)
        && in_comment.is_none()
    {
        return (Stakes::Low, "prose alone is to be judged".to_owned());
    }
    if let Some(change) = &event.change
        && in_comment.is_none()
        && asks_nothing_more(event, task, ask)
        && let Some(reason) = cosmetic(change, nature)
    {
        return (Stakes::Low, if task == Task::Review { format!("a review of {reason}") } else { reason });
    }
    if let Some(reason) = risk(event, task, ask, nature, in_comment) {
        return (if task == Task::Docs { Stakes::Medium } else { Stakes::High }, reason);
    }
    match task {
        Task::Docs => docs(event, ask, nature),
        Task::Review => review(event, nature),
        Task::Implementation => implementation(event, ask, nature),
    }
}

/// The most paths that are named as signals.
const PATHS_MAX: usize = 5;

/// Everything that speaks for some stakes, each with those, whether or not it decides.
pub(super) fn signals(
    event: &Event,
    ask: Option<&Ask>,
    nature: &Nature,
) -> Vec<(&'static str, String, Stakes)> {
    let mut found = Vec::new();
    if let Some((text, _)) = event.comment.as_ref().filter(|(_, author)| !author.bot)
        && let Some(word) = risky(&own_lines(text))
    {
        found.push(("comment", format!("speaks of {word}"), Stakes::High));
    }
    for word in event.inputs.values().filter_map(|text| risky(&own_lines(text))) {
        found.push(("dispatch", format!("speaks of {word}"), Stakes::High));
    }
    if let Some(request) = ask.and_then(|ask| ask.request.as_ref()) {
        let says = [
            (request.sweeping, "shapes the whole, not a part", Stakes::High),
            (request.long, "asks for a long text", Stakes::Medium),
            (request.mechanical, "is mechanical", Stakes::Low),
            (request.of_prose, "is to judge prose alone", Stakes::Low),
        ];
        let says = says.into_iter().filter(|(holds, ..)| *holds);
        found.extend(says.map(|(_, what, stakes)| ("request", what.to_owned(), stakes)));
    }
    let Some(change) = &event.change else { return found };
    if let Some(word) = risky(&change.title) {
        found.push(("title", format!("speaks of {word}"), Stakes::High));
    }
    let dangerous =
        nature.files(change).filter_map(|(file, sort)| Some((file, risky_path(&file.path, sort)?)));
    for (file, why) in dangerous.take(PATHS_MAX) {
        found.push(("file", format!("{} is about {why}", file.path), Stakes::High));
    }
    found.extend(large(change, nature).map(|why| ("size", why, Stakes::High)));
    let light = cosmetic(change, nature).or_else(|| slight(change, nature));
    found.extend(light.map(|why| ("change", why, Stakes::Low)));
    found
}

fn docs(event: &Event, ask: Option<&Ask>, nature: &Nature) -> (Stakes, String) {
    let request = ask.and_then(|ask| ask.request.as_ref());
    if request.is_some_and(|request| request.long && !request.mechanical) {
        return (Stakes::Medium, "a long text is asked for".to_owned());
    }
    let continues = request.is_none_or(|request| !request.specific) || event.comment.is_none();
    let added = event.change.as_ref().map_or(0, |change| prose_lines(change, nature));
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
    if let Some(reason) = large(change, nature) {
        return (Stakes::High, reason);
    }
    (Stakes::Medium, "a review of an ordinary change".to_owned())
}

fn implementation(event: &Event, ask: Option<&Ask>, nature: &Nature) -> (Stakes, String) {
    let request = ask.and_then(|ask| ask.request.as_ref());
    if request.is_some_and(|request| request.sweeping && !request.mechanical) {
        return (Stakes::High, "the request shapes the whole, not a part".to_owned());
    }
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
    if let Some(reason) = large(change, nature) {
        return (Stakes::High, reason);
    }
    (Stakes::Medium, "an ordinary change".to_owned())
}

/// Why the change itself is slight, if it is: prose, a lock file, a bump, a release, wording, formatting.
fn slight(change: &Change, nature: &Nature) -> Option<String> {
    if change.files.is_empty() || (change.files.len() as u64) < change.files_total {
        let known = change.author.trusted() && !change.files.is_empty();
        return (known && is_bump(change, nature)).then(|| "a version bump".to_owned());
    }
    if nature.kind == ChangeKind::Docs && (nature.by_paths || change.author.trusted()) {
        let comments = if nature.by_paths { 0 } else { change.additions_total };
        let long = prose_lines(change, nature) > LONG_PROSE_LINES || comments > LONG_COMMENT_LINES;
        return (!long).then(|| "documentation".to_owned());
    }
    let sorts = &nature.sorts;
    if sorts.iter().all(|sort| *sort == Sort::Lock) {
        return Some("lock files alone".to_owned());
    }
    if !change.author.trusted() || breaks(change) {
        return None;
    }
    if is_bump(change, nature) {
        return Some("a version bump".to_owned());
    }
    let lines = change.additions_total + change.deletions_total;
    let (kind, _) = conventional(&change.title);
    let words = name_words(&change.title);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let no_program = sorts.iter().all(|sort| {
        !matches!(sort, Sort::Source | Sort::Test | Sort::Notebook | Sort::Site | Sort::Template)
    });
    if let Some(reason) = small_by_sort(change, nature, lines) {
        return Some(reason);
    }
    let small_chore =
        kind.as_deref() == Some("chore") || has(&["comment", "comments", "docs", "doc", "terminology"]);
    if small_chore && lines <= 20 {
        return Some(format!("a chore of {lines} lines"));
    }
    // A line of a workflow may hand out rights.
    let workflow = sorts.contains(&Sort::Ci);
    (no_program && !workflow && lines <= 4).then(|| format!("{lines} lines of settings"))
}

/// The change is all that is asked about.
fn asks_nothing_more(event: &Event, task: Task, ask: Option<&Ask>) -> bool {
    let specific = ask.and_then(|ask| ask.request.as_ref()).is_some_and(|request| request.specific);
    task != Task::Docs && (task == Task::Review || event.comment.is_none() || !specific)
}

/// Why a change is of the look alone, by its title, whose author may write: formatting, lint, wording.
/// Such a change may touch dangerous places without being dangerous.
fn cosmetic(change: &Change, nature: &Nature) -> Option<String> {
    if !change.author.trusted() || change.files.is_empty() || nature.kind == ChangeKind::Docs {
        return None;
    }
    let lines = change.additions_total + change.deletions_total;
    if is_formatting(&change.title) && lines <= FORMATTED_LINES {
        return Some("formatting".to_owned());
    }
    let (kind, _) = conventional(&change.title);
    let words = name_words(&change.title);
    static WORDING: Words = Words::of(
        "typo typos spelling terminology wording lint linting lints clippy pylint ruff eslint pyright mypy \
         flake8 golangci rubocop checkstyle",
    );
    let feature = matches!(kind.as_deref(), Some("feat" | "perf"));
    let worded = !feature && words.iter().any(|word| WORDING.contains(word));
    (worded && lines <= 200).then(|| "wording or lint".to_owned())
}

/// Whether a title says that a tool wrote the change's new layout.
fn is_formatting(title: &str) -> bool {
    let (kind, rest) = conventional(title);
    let words = name_words(rest);
    static TOOLS: Words = Words::of(
        "prettier rustfmt gofmt gofumpt black isort yapf autopep8 spotless ktlint scalafmt clang biome",
    );
    static LAYOUT: Words =
        Words::of("reformat reformatted indentation whitespace indent reindent unindent autoformat");
    static APPLIED: Words = Words::of(
        "run apply applied rerun using with via format formatted formatting reformat lint fmt code",
    );
    static BEFORE: Words = Words::of(
        "fix fixes fixed code source automatic auto apply run correct improve consistent cleanup minor some file",
    );
    let has = |known: &Words| words.iter().any(|word| known.contains(word));
    let makes = words.iter().any(|word| matches!(word.as_str(), "add" | "support" | "introduce" | "output"));
    // The layout of code, rather than of dates or amounts.
    let formatting = words.iter().position(|word| word == "formatting").is_some_and(|at| {
        let of = words.get(at + 1).is_some_and(|next| matches!(next.as_str(), "of" | "for"));
        let before = at == 0 || words.get(at - 1).is_some_and(|before| BEFORE.contains(before));
        (before && !of) || words.len() <= 2
    });
    let by_tool = has(&TOOLS) && (has(&APPLIED) || words.len() <= 2);
    let format_alone = words.iter().any(|word| word == "format") && words.len() <= 3;
    kind.as_deref() == Some("style")
        || (!makes && (formatting || by_tool || has(&LAYOUT)))
        || (words.first().is_some_and(|word| word == "sort") && words.iter().any(|word| word == "imports"))
        || format_alone
}

/// Whether a title or a body announces a breaking change, as Conventional Commits write it.
fn breaks(change: &Change) -> bool {
    let (kind, _) = conventional(&change.title);
    let marked = change.title.split(':').next().is_some_and(|head| head.trim_end().ends_with('!'));
    (kind.is_some() && marked) || change.body.contains("BREAKING CHANGE")
}

/// Few lines of files of a kind in which few lines are slight.
fn small_by_sort(change: &Change, nature: &Nature, lines: u64) -> Option<String> {
    let all = |fits: fn(&Sort) -> bool| nature.sorts.iter().all(fits);
    let (kind, _) = conventional(&change.title);
    if all(|sort| matches!(sort, Sort::Housekeeping | Sort::Prose)) {
        return Some("settings of the forge or the editor".to_owned());
    }
    if nature.files(change).any(|(file, sort)| file.path.starts_with(".github/") && sort == Sort::Template)
        && all(|sort| matches!(sort, Sort::Housekeeping | Sort::Prose | Sort::Template))
    {
        return Some("templates of the forge".to_owned());
    }
    if all(|sort| matches!(sort, Sort::Strings | Sort::Prose)) && lines <= 60 {
        return Some(format!("{lines} lines of an interface's strings"));
    }
    let recorded = |(file, sort): (&FileChange, Sort)| {
        sort == Sort::Test
            && [".snap", ".stderr", ".stdout", ".golden", ".txt"].iter().any(|end| file.path.ends_with(end))
    };
    if lines <= 60 && nature.files(change).all(recorded) {
        return Some("recorded output of tests".to_owned());
    }
    let about_docs = matches!(kind.as_deref(), Some("docs" | "doc"))
        || name_words(&change.title)
            .iter()
            .any(|word| matches!(word.as_str(), "docs" | "doc" | "documentation"));
    if about_docs
        && all(|sort| {
            matches!(
                sort,
                Sort::Site | Sort::Nav | Sort::Prose | Sort::Figure | Sort::Lock | Sort::Build | Sort::Other
            )
        })
    {
        let own = nature.files(change).filter(|(_, sort)| *sort == Sort::Site);
        let site_added: u64 = own.map(|(file, _)| file.additions).sum();
        return (site_added <= 100).then(|| "settings and looks of the documentation".to_owned());
    }
    let shown = |(file, sort): (&FileChange, Sort)| sort == Sort::Prose || paths::is_example(&file.path);
    if lines <= 40 && nature.files(change).all(shown) {
        return Some("examples".to_owned());
    }
    None
}

/// `v1.2`, `1.2.3-rc.1`.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts = text.splitn(3, '.');
    let number = |part: Option<&str>| part.is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    number(parts.next()) && number(parts.next()) && !text.contains(char::is_whitespace)
}

/// A new version of a dependency, or of the project itself: the title says so, and the files are of
/// that kind.
fn is_bump(change: &Change, nature: &Nature) -> bool {
    let (kind, rest) = conventional(&change.title);
    let words = name_words(&change.title);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let lower = rest.to_lowercase();
    let says = has(&["bump", "bumps", "bumped", "dependencies", "deps", "lockfile", "autoupdate"])
        || is_version(&lower)
        || lower.starts_with("version packages")
        || (has(&["prepare", "publish", "cut", "tag"])
            && (has(&["release"]) || lower.split_whitespace().any(is_version)))
        || (has(&["pin", "unpin", "upgrade", "update"]) && nature.sorts.contains(&Sort::Lock))
        || kind.as_deref() == Some("release")
        || lower.starts_with("release")
        || (has(&["update", "upgrade"]) && has(&["dependency", "action"]));
    let fits = |(file, sort): (&FileChange, Sort)| {
        let packaging = matches!(
            sort,
            Sort::Lock | Sort::Build | Sort::Ci | Sort::Prose | Sort::Generated | Sort::Housekeeping
        );
        packaging
            || paths::is_version_file(&file.path)
            || file.path.ends_with("package.json")
            || file.additions + file.deletions <= 6
    };
    says && nature.files(change).all(fits)
}

fn large(change: &Change, nature: &Nature) -> Option<String> {
    let counted = |sort: Sort| {
        !matches!(
            sort,
            Sort::Lock
                | Sort::Prose
                | Sort::Figure
                | Sort::Spelling
                | Sort::Generated
                | Sort::Strings
                | Sort::Housekeeping
        )
    };
    if breaks(change) && change.additions_total + change.deletions_total > BREAKING_LINES {
        return Some("a breaking change of some size".to_owned());
    }
    if is_formatting(&change.title) {
        return None;
    }
    let mut lines = 0;
    let mut files = 0;
    let recorded = |file: &FileChange, sort| {
        sort == Sort::Test
            && [".txt", ".snap", ".stderr", ".stdout", ".json", ".golden", ".html", ".svg"]
                .iter()
                .any(|end| file.path.ends_with(end))
    };
    for (file, _) in nature.files(change).filter(|(file, sort)| counted(*sort) && !recorded(file, *sort)) {
        lines += file.additions + file.deletions;
        files += 1;
    }
    if change.files.len() < change.files_total.min(FILES_JUDGED_MAX) as usize {
        lines = lines.max(change.additions_total + change.deletions_total);
        files = files.max(change.files_total);
    }
    (lines > LARGE_LINES || files > LARGE_FILES)
        .then(|| format!("a large change: {lines} lines in {files} files"))
}

fn prose_lines(change: &Change, nature: &Nature) -> u64 {
    let prose = nature.files(change).filter(|(_, sort)| *sort == Sort::Prose);
    prose.map(|(file, _)| file.additions).sum()
}

/// What about this is dangerous to get wrong; `in_comment` is what of that the comment speaks of.
fn risk(
    event: &Event,
    task: Task,
    ask: Option<&Ask>,
    nature: &Nature,
    in_comment: Option<String>,
) -> Option<String> {
    let request = ask.and_then(|ask| ask.request.as_ref());
    if task != Task::Docs
        && event.comment.as_ref().is_some_and(|(_, author)| !author.bot)
        && let Some(word) = in_comment
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
    // A dependency may be called what it likes, and tests are about things, they are not the things.
    let beside = change.author.trusted() && (is_bump(change, nature) || tests_alone(change, nature));
    if !prose
        && !beside
        && let Some(word) = risky(&change.title)
    {
        return Some(format!("the title speaks of {word}"));
    }
    if prose {
        return None;
    }
    nature.files(change).find_map(|(file, sort)| {
        let why = risky_path(&file.path, sort)?;
        Some(format!("{} is about {why}", file.path))
    })
}

fn tests_alone(change: &Change, nature: &Nature) -> bool {
    let all = change.files.len() as u64 >= change.files_total && !change.files.is_empty();
    all && nature.sorts.iter().all(|sort| *sort == Sort::Test)
}

/// What is dangerous about a path of a file of this sort. Prose and tests are about things, they are not the
/// things.
fn risky_path(path: &str, sort: Sort) -> Option<String> {
    if paths::is_example(path) {
        return None;
    }
    match sort {
        Sort::Instructions => return Some("what agents are told".to_owned()),
        Sort::Prose
        | Sort::Figure
        | Sort::Nav
        | Sort::Spelling
        | Sort::Test
        | Sort::Lock
        | Sort::Site
        | Sort::Generated
        | Sort::Strings
        | Sort::Housekeeping => return None,
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
    static INFRASTRUCTURE: Words = Words::of(
        "policy policies role roles security firewall network networkpolicy acl iam kms secrets rbac",
    );
    if paths::is_infrastructure(path)
        && let Some(word) = name_words(path.rsplit('/').next().unwrap_or(path))
            .into_iter()
            .find(|word| INFRASTRUCTURE.contains(word))
    {
        return Some(word);
    }
    risky(path)
}

fn risky(text: &str) -> Option<String> {
    let words = spaced_words(text);
    let first = ALL_RISKY_PHRASES.places(&words).map(|(_, number)| number).min();
    let found = first.map(|number| RISKY_PHRASES[number]);
    found.or_else(|| words.split(' ').find(|word| RISKY_WORDS.contains(word))).map(str::to_owned)
}
