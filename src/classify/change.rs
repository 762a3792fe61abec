//! The nature of a change itself, from its files and its title: prose, or everything else.
//!
//! Whoever looks at names and counts alone cannot see whether an edit in program text touches no more
//! than comments. The title is evidence there, and the confidence stays low.

use crate::event::{Change, FileChange};

use super::ChangeKind;
use super::patch::{self, Touch};
use super::paths::{self, Sort};
use super::phrases::{Phrases, phrases};
use super::text::spaced_words;
use super::words::Words;

/// What a change is, how sure that is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nature {
    /// Prose, or everything else.
    pub(super) kind: ChangeKind,
    /// In percent.
    pub(super) percent: u8,
    /// The files alone say so, whatever the title says.
    pub(super) by_paths: bool,
    /// Why, in words.
    pub(super) reason: String,
    /// What kind of file each of the change's files is, in their order.
    pub(super) sorts: Vec<Sort>,
}

impl Nature {
    fn new(kind: ChangeKind, percent: u8, by_paths: bool, reason: impl Into<String>) -> Self {
        Self { kind, percent, by_paths, reason: reason.into(), sorts: Vec::new() }
    }

    /// The files of `change`, whose nature this is, each with what kind of file it is.
    pub(super) fn files<'a>(&'a self, change: &'a Change) -> impl Iterator<Item = (&'a FileChange, Sort)> {
        change.files.iter().zip(self.sorts.iter().copied())
    }
}

/// Counted files of one change.
#[derive(Default)]
struct Tally {
    prose: u64,
    beside_prose: u64,
    figures: u64,
    source: u64,
    source_added: u64,
    source_deleted: u64,
    /// Source files that are examples: a title about documentation speaks of them, and they are code.
    examples: u64,
    /// Tests that are program text, and so may hold comments as well.
    tests: u64,
    /// Files whose patch shows that nothing but comments changes.
    comments: u64,
    /// Files that no edit of comments explains: tests, workflows, templates and the like.
    firm: u64,
    /// Manifests and settings.
    settings: u64,
    first_firm: Option<String>,
}

impl Tally {
    fn of(files: &[FileChange], sorts: &[Sort]) -> Self {
        let mut tally = Self::default();
        for (file, sort) in files.iter().zip(sorts.iter().copied()) {
            let holds_comments = match sort {
                Sort::Source | Sort::Notebook | Sort::Ci | Sort::Build | Sort::Other | Sort::Site => true,
                Sort::Test => paths::is_source_file(&file.path),
                _ => false,
            };
            if holds_comments && let Some(patch) = &file.patch {
                match patch::touch(&file.path, patch) {
                    Touch::Comments => {
                        tally.comments += 1;
                        continue;
                    }
                    Touch::Code => {
                        tally.firm += 1;
                        tally.first_firm.get_or_insert_with(|| file.path.clone());
                        continue;
                    }
                    Touch::Unknown => {}
                }
            }
            match sort {
                Sort::Prose => tally.prose += 1,
                Sort::Nav | Sort::Spelling => tally.beside_prose += 1,
                Sort::Figure => tally.figures += 1,
                Sort::Source | Sort::Notebook => {
                    tally.source += 1;
                    tally.examples += u64::from(paths::is_example(&file.path));
                    tally.source_added += file.additions;
                    tally.source_deleted += file.deletions;
                }
                Sort::Build | Sort::Other | Sort::Generated | Sort::Strings | Sort::Housekeeping => {
                    tally.settings += 1;
                    tally.first_firm.get_or_insert_with(|| file.path.clone());
                }
                Sort::Test if paths::is_source_file(&file.path) && file.patch.is_none() => {
                    tally.tests += 1;
                    tally.firm += 1;
                    tally.first_firm.get_or_insert_with(|| file.path.clone());
                }
                Sort::Test | Sort::Ci | Sort::Lock | Sort::Template | Sort::Instructions | Sort::Site => {
                    tally.firm += 1;
                    tally.first_firm.get_or_insert_with(|| file.path.clone());
                }
            }
        }
        tally
    }
}

/// The nature of `change`.
pub(super) fn nature(change: Option<&Change>) -> Nature {
    let Some(change) = change else {
        return Nature::new(ChangeKind::Implementation, 50, false, "there is no change to look at");
    };
    let sorts: Vec<Sort> = change.files.iter().map(|file| paths::sort(&file.path)).collect();
    let found = weigh(change, Tally::of(&change.files, &sorts));
    Nature { sorts, ..found }
}

/// Weighs what the files say together with the title.
fn weigh(change: &Change, mut tally: Tally) -> Nature {
    let title = title_points(&change.title);
    let says_comment = spaced_words(&change.title).split(' ').any(|word| PROSE.contains(word));
    // A title that names comments may as well speak of those in tests.
    if title >= 2
        && is_about_comments(&without_names(&change.title).to_lowercase())
        && tally.firm == tally.tests
    {
        tally.source += tally.tests;
        tally.firm = 0;
    }
    if change.files.is_empty() {
        return unseen(title);
    }
    let program = tally.source + tally.firm + tally.settings;
    if program == 0 {
        return without_program(&tally);
    }
    if tally.source == 0 {
        return without_source(&tally, title);
    }
    let shown = tally.examples == tally.source && !says_comment;
    let help = names_option(&change.title) && change.files.iter().any(|file| keeps_help(&file.path));
    with_source(&tally, title - 2 * i32::from(shown) - 3 * i32::from(help))
}

fn unseen(title: i32) -> Nature {
    let docs = title >= 3;
    let kind = if docs { ChangeKind::Docs } else { ChangeKind::Implementation };
    let reason =
        if docs { "no files are known, and the title speaks of documentation" } else { "no files are known" };
    Nature::new(kind, if docs { 55 } else { 50 }, false, reason)
}

fn without_program(tally: &Tally) -> Nature {
    let (kind, percent, reason) = if tally.comments > 0 {
        let reason = if tally.prose > 0 { "only prose and comments change" } else { "only comments change" };
        (ChangeKind::Docs, 94, reason)
    } else if tally.prose > 0 {
        let percent = if tally.beside_prose > 0 { 88 } else { 96 };
        (ChangeKind::Docs, percent, "only files of prose change")
    } else if tally.figures > 0 {
        (ChangeKind::Docs, 70, "only pictures change")
    } else {
        (ChangeKind::Implementation, 65, "only settings of the documentation change")
    };
    Nature::new(kind, percent, true, reason)
}

fn without_source(tally: &Tally, title: i32) -> Nature {
    let first = tally.first_firm.as_deref().unwrap_or_default();
    if tally.prose > 0 && tally.firm == 0 && tally.settings == 1 && title >= 3 {
        let reason = format!("the title speaks of documentation, and {first} is the only other file");
        return Nature::new(ChangeKind::Docs, 55, false, reason);
    }
    let percent = if tally.prose > 0 { 85 } else { 95 };
    let reason = format!("{first} is not prose");
    Nature::new(ChangeKind::Implementation, percent, true, reason)
}

/// Weighs the title against what the files say. Positive points speak for documentation.
fn with_source(tally: &Tally, title: i32) -> Nature {
    let mut points = title;
    let lines = tally.source_added + tally.source_deleted;
    if title > 0 {
        points += i32::from(lines <= 8) + i32::from(tally.source_deleted == 0);
        points += i32::from(tally.prose >= tally.source);
        points -= 2 * i32::from(tally.source_added > 60 && tally.source_deleted > 60);
    }
    points -= 4 * i32::from(tally.firm > 0) + i32::from(tally.settings > 0);
    if points >= 3 {
        let reason =
            "the title speaks of documentation; whether only comments change, names and counts do not tell";
        return Nature::new(ChangeKind::Docs, if points >= 5 { 72 } else { 60 }, false, reason);
    }
    let percent = match points {
        ..=0 => 90,
        1 => 70,
        _ => 58,
    };
    let reason = if tally.firm > 0 { "code and what belongs to it change" } else { "code changes" };
    Nature::new(ChangeKind::Implementation, percent, points <= 0, reason)
}

/// The type and the rest of a title that follows Conventional Commits.
pub(super) fn conventional(title: &str) -> (Option<String>, &str) {
    let Some((head, rest)) = title.split_once(':') else { return (None, title) };
    let kind = head.split('(').next().unwrap_or(head).trim_end_matches('!').trim();
    let fits = !kind.is_empty() && kind.len() <= 12 && kind.chars().all(char::is_alphabetic);
    let closed = !head.contains('(') || head.trim_end_matches('!').ends_with(')');
    if fits && closed { (Some(kind.to_lowercase()), rest.trim()) } else { (None, title) }
}

/// How much a title speaks of documentation.
fn title_points(title: &str) -> i32 {
    title_signs(title).iter().map(|(_, points)| points).sum()
}

/// What in a title speaks for documentation, and with fewer than no points against it.
pub(super) fn title_signs(full: &str) -> [(&'static str, i32); 5] {
    let title = &without_names(full);
    let (kind, rest) = conventional(title);
    // A scope such as `docs(build)` says where, not what.
    let lower = if kind.is_some() { rest.to_lowercase() } else { title.to_lowercase() };
    let has = |known: &Words| lower.split(|c: char| !c.is_alphanumeric()).any(|word| known.contains(word));
    let by_type = match kind.as_deref() {
        Some(kind) if DOCS_TYPES.contains(kind) => 3,
        Some(kind) if CODE_TYPES.contains(kind) => -3,
        Some("fix" | "chore" | "style") => -1,
        _ if ["doc fix", "[doc", "document ", "documented ", "documenting "]
            .iter()
            .any(|it| lower.starts_with(it)) =>
        {
            3
        }
        _ => 0,
    };
    let named = NAMED_PROSE.any(&lower);
    let by_thing = if has(&DOC_COMMENTS) || named {
        3
    } else {
        i32::from(by_type < 3 && has(&DOCUMENTATION)) * (2 + i32::from(is_topic(&lower)))
    };
    [
        ("how it begins", by_type),
        ("it names documentation", by_thing),
        (
            "it names prose",
            2 * i32::from(has(&PROSE)) + i32::from(is_about_comments(&lower))
                - 2 * i32::from(is_product(&lower)),
        ),
        ("it speaks of explaining or linking", i32::from(has(&HINTS))),
        (
            "it names what a program shows or does",
            -2 * i32::from((has(&PROGRAM) && !named) || names_option(full)),
        ),
    ]
}

/// How many files of each kind a change has, in words.
pub(super) fn kinds(change: &Change, nature: &Nature) -> Vec<(&'static str, u64)> {
    let tally = Tally::of(&change.files, &nature.sorts);
    let comments = ("edits of comments alone, by their patch", tally.comments);
    [
        ("prose", tally.prose),
        ("navigation or spelling lists", tally.beside_prose),
        ("figures", tally.figures),
        comments,
        ("program text, which may hold comments", tally.source),
        ("tests, workflows and other files that are no prose", tally.firm),
        ("settings and manifests", tally.settings),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .collect()
}

/// Prose by two words.
static NAMED_PROSE: Phrases = phrases!(&[
    "doc comment",
    "doc string",
    "doc example",
    "code comment",
    "copyright",
    "license header",
    "licence header",
    "file header",
    "repetitive word",
    "repeated word",
    "duplicate word",
    "duplicated word",
    "redundant word",
    "double word",
]);

/// Whether comments are what is edited, rather than something that a program has: "fix the comment on resize", but
/// not "fix comment deletion".
fn is_about_comments(lower: &str) -> bool {
    static AFTER: Words = Words::of("in on for about of around above below to and at from inside within");
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| matches!(*word, "comment" | "comments"));
    at.is_some_and(|at| at > 0 && words.get(at + 1).is_none_or(|next| AFTER.contains(next)))
}

/// Whether comments are something that a program has: "fix comment deletion", "support comments in config files".
fn is_product(lower: &str) -> bool {
    static VERBS: Words = Words::of("support supports handle parse allow enable strip preserve keep render");
    static WHAT: Words = Words::of(
        "deletion editing edit count counts thread threads box form author parsing parser syntax support handling \
         section widget notification notifications moderation api token tokens node nodes",
    );
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| matches!(*word, "comment" | "comments"));
    at.is_some_and(|at| {
        words[..at].iter().any(|word| VERBS.contains(word))
            || words.get(at + 1).is_some_and(|next| WHAT.contains(next))
    })
}

/// Whether a title names an option of a command line, whose text is mostly shown by the program: `--hidden`.
fn names_option(title: &str) -> bool {
    title.split_whitespace().any(|word| {
        let word = word.trim_start_matches(['`', '\'', '"', '(']);
        let name =
            word.strip_prefix("--").or_else(|| word.strip_prefix('-').filter(|_| word.contains("/--")));
        name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
    })
}

/// Whether a source file is likely to hold the help that a program shows of its options.
fn keeps_help(path: &str) -> bool {
    static NAMES: Words =
        Words::of("flag flags cli arg args option options opts help usage cmd command commands");
    paths::is_source_file(path) && spaced_words(path).split(' ').any(|word| NAMES.contains(word))
}

/// Types of Conventional Commits that are not about prose, whatever the rest of the title says.
static CODE_TYPES: Words = Words::of("feat perf refactor ci build test tests revert deps release");
static DOCS_TYPES: Words =
    Words::of("docs doc documentation godoc javadoc rustdoc jsdoc readme comment comments docstring");
static DOC_COMMENTS: Words = Words::of(
    "docstring docstrings javadoc javadocs jsdoc rustdoc godoc tsdoc phpdoc kdoc scaladoc doxygen yardoc \
     roxygen haddock pydoc jsdocs docblock docblocks typeparam",
);
static DOCUMENTATION: Words = Words::of("docs doc documentation");
static PROSE: Words = Words::of(
    "comment comments typo typos spelling grammar wording readme changelog misspelling misspellings misspelled",
);
static HINTS: Words =
    Words::of("clarify link links explain rephrase reword example examples url urls outdated");
/// Words for text that a program shows or a tool obeys.
static PROGRAM: Words = Words::of(
    "help message messages string strings description descriptions pragma prettier eslint lint noqa \
     regex generator build nightly doctest doctests script generate generated generates generator render renders component",
);

/// Identifiers say where, not what: `build.minify` is no build. In code spans they go as well.
fn without_names(title: &str) -> String {
    // The number that a squashed pull request leaves.
    let title = title.rsplit_once("(#").filter(|(_, end)| end.ends_with(')')).map_or(title, |(it, _)| it);
    let mut outside = true;
    let mut kept = String::with_capacity(title.len());
    for part in title.split('`') {
        kept.push_str(if outside { part } else { " " });
        outside = !outside;
    }
    let is_name = |word: &&str| {
        let inner = word.trim_end_matches(['.', ',', ':', ')', '!']);
        inner.contains("::")
            || inner.contains("()")
            || (inner.contains(['.', '_']) && !inner.to_lowercase().ends_with(".md"))
    };
    kept.split_whitespace().filter(|word| !is_name(word)).collect::<Vec<_>>().join(" ")
}

/// Whether documentation is what a title is about, rather than one word in it: "docs for the pool",
/// "some documentation improvements", but not "docs build".
fn is_topic(lower: &str) -> bool {
    static AFTER: Words = Words::of(
        "for of about to on in improvements improvement update updates fixes fix cleanup tweaks and wording",
    );
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| DOCUMENTATION.contains(word));
    at.is_some_and(|at| words.get(at + 1).is_none_or(|next| AFTER.contains(next)))
}
