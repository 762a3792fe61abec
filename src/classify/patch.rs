//! What a patch touches: comments alone, or more.
//!
//! Both sides of every hunk are read without their comments. Where what remains is the same on both, and
//! some comment is not, only comments change. A hunk shows a few lines; whether it starts inside a comment
//! is weighed in [`start`], and where that leaves a doubt that matters, the answer is [`Touch::Unknown`].
//! Comments that a tool obeys are program text.

mod start;

use std::sync::LazyLock;

use super::words::Words;

/// The most bytes of a patch that are read.
const PATCH_BYTES_MAX: usize = 256 * 1024;

/// What a patch touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// Comments, docstrings, a notebook's text.
    Comments,
    /// More than that.
    Code,
    /// The patch does not show enough.
    Unknown,
}

/// How a language writes comments and strings.
struct Syntax {
    line: &'static [&'static str],
    block: &'static [(&'static str, &'static str)],
    /// A string that is a statement of its own is documentation.
    docstrings: bool,
    /// Quotes whose strings may span lines.
    long_quotes: &'static str,
    /// `'` begins a string, and not only a character or a lifetime.
    single_quotes: bool,
}

const fn c_like(long_quotes: &'static str, single_quotes: bool) -> Syntax {
    Syntax { line: &["//"], block: &[("/*", "*/")], docstrings: false, long_quotes, single_quotes }
}

const fn hash(docstrings: bool, long_quotes: &'static str) -> Syntax {
    Syntax { line: &["#"], block: &[], docstrings, long_quotes, single_quotes: true }
}

const fn dashes() -> Syntax {
    Syntax { line: &["--"], block: &[("/*", "*/")], docstrings: false, long_quotes: "", single_quotes: true }
}

fn syntax(path: &str) -> Option<Syntax> {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let ext = name.rsplit_once('.').map_or("", |(_, ext)| ext);
    if name.starts_with("dockerfile") || name == "makefile" || name == "justfile" || name == "cmakelists.txt"
    {
        return Some(hash(false, "\"'"));
    }
    Some(match ext {
        "rs" => c_like("\"", false),
        "go" => c_like("`", true),
        "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" | "jsx" | "tsx" => c_like("`", true),
        "java" | "kt" | "kts" | "c" | "h" | "cc" | "cpp" | "cxx" | "hh" | "hpp" | "m" | "mm" | "cs"
        | "swift" | "scala" | "dart" | "groovy" | "gradle" | "proto" | "zig" | "sol" | "php" | "scss"
        | "less" | "thrift" => c_like("", true),
        "py" | "pyi" | "pyx" => hash(true, ""),
        "rb" => Syntax { block: &[("=begin", "=end")], ..hash(false, "\"'") },
        "sh" | "bash" | "zsh" | "fish" | "pl" | "r" | "mk" | "cmake" | "jl" | "nix" => hash(false, "\"'"),
        "yml" | "yaml" | "toml" | "ex" | "exs" | "graphql" | "gql" | "conf" => hash(false, "\"'"),
        "tf" | "hcl" => Syntax { line: &["#", "//"], block: &[("/*", "*/")], ..hash(false, "") },
        "sql" | "lua" | "hs" | "elm" => dashes(),
        _ => return None,
    })
}

/// What `patch`, a unified diff of the file at `path` with or without its header, touches.
pub(super) fn touch(path: &str, patch: &str) -> Touch {
    if patch.len() > PATCH_BYTES_MAX {
        return Touch::Unknown;
    }
    let hunks = hunks(patch);
    if hunks.is_empty() {
        return Touch::Unknown;
    }
    if path.to_lowercase().ends_with(".ipynb") {
        return worst(hunks.iter().map(|hunk| notebook(hunk)));
    }
    let Some(syntax) = syntax(path) else { return Touch::Unknown };
    let yaml = path.ends_with(".yml") || path.ends_with(".yaml");
    worst(hunks.iter().map(|hunk| judge(hunk, &syntax, yaml)))
}

fn worst(touches: impl Iterator<Item = Touch>) -> Touch {
    let mut found = Touch::Comments;
    for touch in touches {
        match touch {
            Touch::Code => return Touch::Code,
            Touch::Unknown => found = Touch::Unknown,
            Touch::Comments => {}
        }
    }
    found
}

/// One hunk's lines, each with its sign.
type Hunk<'a> = Vec<(char, &'a str)>;

fn hunks(patch: &str) -> Vec<Hunk<'_>> {
    let mut found: Vec<Hunk<'_>> = Vec::new();
    for line in patch.lines() {
        if line.starts_with("@@") {
            found.push(Vec::new());
            continue;
        }
        let Some(hunk) = found.last_mut() else { continue };
        match line.chars().next() {
            Some(sign @ ('+' | '-' | ' ')) => hunk.push((sign, &line[1..])),
            None => hunk.push((' ', "")),
            // "\ No newline at end of file"
            Some(_) => {}
        }
    }
    found
}

fn side<'a>(hunk: &Hunk<'a>, without: char) -> Vec<&'a str> {
    hunk.iter().filter(|(sign, _)| *sign != without).map(|(_, line)| *line).collect()
}

/// Judges a hunk by the likeliest place where it starts; where another place is as likely and would say
/// something else, nothing is known.
fn judge(hunk: &Hunk<'_>, syntax: &Syntax, yaml: bool) -> Touch {
    let (old, new) = (side(hunk, '+'), side(hunk, '-'));
    let [first, rest @ ..] = &start::likeliest(&old, &new, syntax)[..] else { return Touch::Unknown };
    let touch = from(first.place, &old, &new, syntax);
    // Not even the best guess makes sense of it.
    if first.score < 0 {
        return Touch::Unknown;
    }
    let doubt = |other: &start::Guess| {
        first.score - other.score < start::MARGIN && from(other.place, &old, &new, syntax) != touch
    };
    if rest.iter().any(doubt) {
        return Touch::Unknown;
    }
    // A YAML block scalar may be a script or a text, where `#` is no comment.
    let scalar = yaml && hunk.iter().any(|(_, line)| line.trim_end().ends_with(['|', '>']));
    if scalar && touch == Touch::Comments { Touch::Unknown } else { touch }
}

/// What a hunk touches that starts in this place.
fn from(place: Within, old: &[&str], new: &[&str], syntax: &Syntax) -> Touch {
    let (old, new) = (strip(old, syntax, place), strip(new, syntax, place));
    if old.code != new.code {
        return Touch::Code;
    }
    let (mut gone, mut come) = (old.comments, new.comments);
    // Each comment that stays is taken off both sides, once.
    gone.retain(|comment| match come.iter().position(|other| other == comment) {
        Some(at) => {
            come.remove(at);
            false
        }
        None => true,
    });
    // Blank lines alone: the layout of code.
    if (gone.is_empty() && come.is_empty()) || gone.iter().chain(&come).any(|comment| is_pragma(comment)) {
        return Touch::Code;
    }
    Touch::Comments
}

/// A side of a hunk, taken apart.
#[derive(Default)]
struct Stripped {
    /// Lines that hold code, without comments.
    code: Vec<String>,
    /// Comments, one a line.
    comments: Vec<String>,
}

/// What is open at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Nothing,
    /// A comment or a documenting text, until this.
    Comment(&'static str),
    /// A string that spans lines, until this.
    Text(&'static str),
}

impl Within {
    /// Takes a line up to the end of what was open before it: what comes after, or nothing where all of the line
    /// is within.
    fn ends_in<'a>(self, line: &'a str, code: &mut String, comment: &mut String) -> Option<&'a str> {
        let (end, to) = match self {
            Self::Nothing => return Some(line),
            Self::Comment(close) => (line.find(close).map(|at| (at, close)), comment),
            Self::Text(close) => (find_unescaped(line, close).map(|at| (at + close.len(), "")), code),
        };
        let Some((end, dropped)) = end else {
            to.push_str(line);
            return None;
        };
        to.push_str(&line[..end]);
        Some(&line[end + dropped.len()..])
    }
}

fn strip(lines: &[&str], syntax: &Syntax, start: Within) -> Stripped {
    let mut found = Stripped::default();
    let mut within = start;
    let (mut code, mut comment) = (String::new(), String::new());
    for line in lines {
        code.clear();
        comment.clear();
        let continues = found.code.last().is_some_and(|last| {
            let last = last.trim_end();
            last.ends_with(['=', '(', '[', '{', ',', '+', '\\']) || last.ends_with("return")
        });
        within = strip_line(line, syntax, within, continues, &mut code, &mut comment);
        if !code.trim().is_empty() {
            found.code.push(code.trim_end().to_owned());
        }
        if !comment.trim().is_empty() {
            found.comments.push(comment.trim().to_owned());
        }
    }
    found
}

/// What any comment or string of any language begins with.
const MARKS: [char; 7] = ['"', '\'', '`', '#', '/', '-', '='];

fn strip_line(
    line: &str,
    syntax: &Syntax,
    mut within: Within,
    continues: bool,
    code: &mut String,
    comment: &mut String,
) -> Within {
    let mut rest = line;
    while !rest.is_empty() {
        let Some(after) = within.ends_in(rest, code, comment) else { return within };
        (rest, within) = (after, Within::Nothing);
        let plain = rest.find(MARKS).unwrap_or(rest.len());
        if plain > 0 {
            code.push_str(&rest[..plain]);
            rest = &rest[plain..];
            continue;
        }
        if let Some((open, close)) = syntax.block.iter().find(|(open, _)| rest.starts_with(open)) {
            rest = &rest[open.len()..];
            within = Within::Comment(close);
            continue;
        }
        let hash_in_word = rest.starts_with('#') && code.ends_with(|c: char| !c.is_whitespace());
        let in_url = rest.starts_with("//") && code.ends_with(':');
        if !hash_in_word && !in_url && syntax.line.iter().any(|mark| rest.starts_with(mark)) {
            comment.push_str(rest);
            return Within::Nothing;
        }
        if syntax.docstrings
            && let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(|quotes| rest.starts_with(quotes))
        {
            let alone = matches!(code.trim(), "" | "r" | "u" | "R") && !continues;
            rest = &rest[3..];
            if alone {
                code.clear();
                within = Within::Comment(quotes);
            } else {
                code.push_str(quotes);
                within = Within::Text(quotes);
            }
            continue;
        }
        let Some(c) = rest.chars().next() else { break };
        code.push(c);
        rest = &rest[c.len_utf8()..];
        let Some(close) = string_opened(c, rest, syntax) else { continue };
        if let Some(at) = find_unescaped(rest, close) {
            code.push_str(&rest[..at + close.len()]);
            rest = &rest[at + close.len()..];
        } else if syntax.long_quotes.contains(c) {
            within = Within::Text(close);
        }
    }
    within
}

/// The quote that ends the string which `c` begins, if it begins one.
fn string_opened(c: char, rest: &str, syntax: &Syntax) -> Option<&'static str> {
    match c {
        '"' => Some("\""),
        '`' if syntax.long_quotes.contains('`') => Some("`"),
        '\'' if syntax.single_quotes => Some("'"),
        // A character, unlike a lifetime, is closed at once.
        '\'' => {
            let mut chars = rest.chars();
            let first = chars.next()?;
            (first == '\\' || chars.next() == Some('\'')).then_some("'")
        }
        _ => None,
    }
}

fn find_unescaped(text: &str, close: &str) -> Option<usize> {
    text.match_indices(close).map(|(at, _)| at).find(|at| {
        let slashes = text[..*at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        slashes % 2 == 0
    })
}

/// Comments that a tool obeys, by how they begin after the comment's own marks.
static PRAGMAS: Words = Words::of(
    "noqa nolint nosec nosonar pylint: flake8: ruff: isort: fmt: yapf: mypy: pyright: type: pragma pragma: \
     eslint eslint-disable eslint-enable tslint: prettier-ignore biome-ignore oxlint-disable deno-lint-ignore \
     dprint-ignore jshint istanbul c8 v8 webpackchunkname: @vite-ignore @ts-ignore @ts-expect-error @ts-nocheck \
     @ts-check @jsx @flow @jest-environment @vitest-environment rubocop:disable rubocop:enable rubocop:todo \
     frozen_string_literal: encoding: coding: shellcheck clang-format nolintnextline nolintbegin nolintend \
     checkstyle: phpcs:ignore phpcs:disable @phpstan-ignore swiftlint:disable swiftformat:disable ktlint-disable \
     hadolint yamllint checkov:skip tfsec:ignore trivy:ignore gitleaks:allow cspell: cspell:ignore cspell:disable \
     renovate: zizmor: x-release-please-version x-release-please-start-version x-release-please-end syntax= escape= \
     /// <reference sourcemappingurl import +build typed: cython: distutils: @formatter:off @formatter:on \
     codespell:ignore yaml-language-server: $schema language=",
);

/// Beginnings of pragmas that go on with the name of a rule or a setting. All of them end with a colon or a dash.
static PRAGMA_STARTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let named = PRAGMAS.iter().filter(|pragma| pragma.ends_with(':') && pragma.len() > 4);
    let tools =
        ["eslint-", "stylelint-", "prettier-", "oxlint-", "biome-", "rubocop:", "swiftlint:", "checkov:"];
    named.chain(tools).collect()
});

fn is_pragma(comment: &str) -> bool {
    if comment.starts_with("#!") || comment.starts_with("//go:") || comment.starts_with("//export ") {
        return true;
    }
    // A pragma may follow other words of the same comment: `# why not  # noqa`.
    comment.split("  #").chain(comment.split("//")).any(|part| {
        let text = part.trim_start_matches(['#', '/', '*', '-', '!', ';', ' ', '\t', '<']);
        let first = text.split(|c: char| c.is_whitespace() || c == '(' || c == '[').next();
        let first = first.unwrap_or_default().to_lowercase();
        let key = first.trim_end_matches(',');
        PRAGMAS.contains(key)
            || (key.contains([':', '-']) && PRAGMA_STARTS.iter().any(|start| key.starts_with(start)))
            || key.split(':').next().is_some_and(|key| matches!(key, "noqa" | "nolint" | "nosec"))
            || (first == "-*-" && text.to_lowercase().contains("coding"))
    })
}

/// Whether all that changes in a notebook is text: every changed line is below a cell that says so.
fn notebook(hunk: &Hunk<'_>) -> Touch {
    let mut cell = None;
    for (sign, line) in hunk {
        if line.contains("\"cell_type\":") {
            cell = Some(line.contains("\"markdown\""));
        }
        if *sign == ' ' {
            continue;
        }
        match cell {
            Some(true) => {}
            Some(false) => return Touch::Code,
            None => return Touch::Unknown,
        }
    }
    Touch::Comments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_with_another_mark() {
        for path in ["a.rs", "a.go", "a.ts", "a.c", "a.py", "a.rb", "a.sh", "a.toml", "a.tf", "a.sql"] {
            let syntax = syntax(path).expect(path);
            let marks = syntax.line.iter().chain(syntax.block.iter().map(|(open, _)| open));
            for mark in marks {
                assert!(mark.starts_with(MARKS), "{path}: {mark}");
            }
            assert!(syntax.long_quotes.chars().all(|quote| MARKS.contains(&quote)), "{path}");
        }
    }
}
