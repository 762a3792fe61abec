//! Where a hunk starts: in code, inside a comment, or inside a text. Each possibility is tried, and the one
//! wins under which code reads as code and comments read as prose.

use super::super::phrases::{Phrases, phrases};
use super::super::words::Words;
use super::{Syntax, Within, strip_line};

/// A guess that is not ahead by this much is in doubt.
pub(super) const MARGIN: i32 = 2;

/// A place where a hunk may start, and how well its lines fit that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guess {
    pub(super) place: Within,
    pub(super) score: i32,
}

/// Every possible place, the likeliest first; before others that fit as well, plain code.
pub(super) fn likeliest(old: &[&str], new: &[&str], syntax: &Syntax) -> Vec<Guess> {
    let mut places = vec![Within::Nothing];
    // A block of prose without a mark of its own may as well be a text that the program shows.
    let marked = |close: &str| {
        let mut lines = old.iter().chain(new);
        lines.any(|line| line.contains(close) || (close == "*/" && is_starred(line)))
    };
    places.extend(
        syntax.block.iter().filter(|(_, close)| marked(close)).map(|(_, close)| Within::Comment(close)),
    );
    if syntax.docstrings {
        places.extend(["\"\"\"", "'''"].map(Within::Comment));
    }
    if syntax.long_quotes.contains('`') {
        places.push(Within::Text("`"));
    }
    let guess = |place| {
        // Few hunks start inside of anything.
        let usual = i32::from(place == Within::Nothing);
        Guess { place, score: usual + fit(old, syntax, place) + fit(new, syntax, place) }
    };
    let mut guesses: Vec<Guess> = places.into_iter().map(guess).collect();
    guesses.sort_by_key(|guess| -guess.score);
    guesses
}

/// How well lines fit, if they start in this place.
fn fit(lines: &[&str], syntax: &Syntax, place: Within) -> i32 {
    let mut within = place;
    let mut score = 0;
    let (mut code, mut comment, mut before) = (String::new(), String::new(), String::new());
    let backticks = syntax.long_quotes.contains('`');
    for line in lines {
        code.clear();
        comment.clear();
        let started = within;
        let continues = before.trim_end().ends_with(['=', '(', '[', '{', ',', '+', '\\']);
        within = strip_line(line, syntax, within, continues, &mut code, &mut comment);
        let in_comment = matches!(started, Within::Comment(_)) || matches!(within, Within::Comment(_));
        let remark = syntax.line.iter().any(|mark| line.trim_start().starts_with(mark));
        score += match (started, in_comment) {
            // A text may hold anything, and mostly holds no code of the same language.
            (Within::Text(_), _) => match looks(&code) {
                Looks::Prose => 1,
                Looks::Code => -1,
                Looks::Either => 0,
            },
            // Comments of one line stand between code.
            (_, true) if remark => 0,
            (_, false) if remark => 2,
            (_, true) => match looks(&comment) {
                Looks::Prose => 2,
                Looks::Code => -2,
                Looks::Either => 0,
            },
            (_, false) => match looks(&code) {
                Looks::Prose => -3,
                Looks::Code => 2,
                Looks::Either => i32::from(!comment.trim().is_empty()),
            },
        };
        // The inner lines of a comment in the usual layout.
        let trimmed = line.trim();
        if syntax.block.iter().any(|(_, close)| *close == "*/") && is_starred(line) {
            score += if in_comment { 1 } else { -2 };
        }
        // A text ends where it looks like an end, and begins after something that takes it.
        let ends = || trimmed == "`" || ["`;", "`)", "`,"].iter().any(|end| trimmed.starts_with(end));
        let begins = || ["= `", "(`", "return `", ", `", ": `"].iter().any(|begin| trimmed.contains(begin));
        let odd = match started {
            Within::Nothing => backticks && ends(),
            Within::Text(_) => backticks && begins(),
            Within::Comment(_) => false,
        };
        score -= 4 * i32::from(odd);
        // What ends a comment ends nothing else.
        let ends = |(_, close): &(&str, &str)| trimmed.starts_with(close) || code.trim_end().ends_with(close);
        if started == Within::Nothing && !in_comment && syntax.block.iter().any(ends) {
            score -= 4;
        }
        // A comment that opens inside of one: the first was none.
        if in_comment && started != Within::Nothing {
            let opens = syntax.block.iter().any(|(open, _)| comment.trim_start().starts_with(open));
            score -= 3 * i32::from(opens);
        }
        if !code.trim().is_empty() {
            std::mem::swap(&mut before, &mut code);
        }
    }
    score
}

/// Whether a line is an inner one of a comment in the usual layout.
fn is_starred(line: &str) -> bool {
    let line = line.trim();
    line == "*" || line.starts_with("* ")
}

/// What a line reads as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    Prose,
    Code,
    Either,
}

fn looks(line: &str) -> Looks {
    static FIRST: Words = Words::of(
        "def class return import fn func function pub raise assert await yield package use let const var static \
         public private protected export elif else struct enum impl typedef #include #define #if #ifdef #endif",
    );
    static HEADS: Words = Words::of("if for while with try except match switch async case when unless");
    static MARKS: Phrases = phrases!(&[
        " = ", ":=", "==", "!=", "->", "=>", "&&", "||", "();", "self.", "){", ") {", "+=", "::new"
    ]);
    let line = line.trim();
    if line.is_empty() {
        return Looks::Either;
    }
    if line.ends_with([';', '{', '}']) || MARKS.any(line) {
        return Looks::Code;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let first = words.first().copied().unwrap_or_default();
    let head = HEADS.contains(first) && line.ends_with([':', '{']);
    let from_import = first == "from" && words.get(2) == Some(&"import");
    if head || from_import || (first.starts_with('@') && words.len() == 1) {
        return Looks::Code;
    }
    let plain = |word: &&&str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        !word.is_empty() && word.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '-' | '’'))
    };
    let share = words.iter().filter(plain).count() * 100 / words.len();
    match (FIRST.contains(first), share) {
        (true, 70..) if words.len() >= 5 => Looks::Either,
        (true, _) => Looks::Code,
        (false, 65..) if words.len() >= 4 => Looks::Prose,
        (false, _) if line.ends_with([')', ',', '(', '[']) && words.len() <= 3 => Looks::Code,
        (false, _) => Looks::Either,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_prose_or_as_code() {
        for line in [
            "Sends what is left, and waits for the other side to close.",
            "* Returns the number of entries that were removed",
            ":param name: the name under which it is found",
            "for each request that came in while it was locked",
        ] {
            assert_eq!(looks(line), Looks::Prose, "{line}");
        }
        for line in [
            "let left = queue.len();",
            "if not found and retry:",
            "from queue import Empty",
            "def push(self, item):",
            "return left",
            "queue.push(item)",
            "}",
        ] {
            assert_eq!(looks(line), Looks::Code, "{line}");
        }
        for line in ["", "*", "import paths are kept as they were written", "42"] {
            assert_eq!(looks(line), Looks::Either, "{line}");
        }
    }
}
