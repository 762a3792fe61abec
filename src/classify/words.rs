//! The words that requests are made of.

use std::cmp::Ordering;
use std::sync::OnceLock;

use super::phrases::{Phrases, phrases};

/// A set of words, written with spaces between.
pub(super) struct Words {
    text: &'static str,
    known: OnceLock<Known>,
}

/// A set of words, made for being asked for words that it does not have.
struct Known {
    /// By length and then by letters: most comparisons are of two numbers.
    sorted: Vec<&'static str>,
    /// The lengths of the words that begin with each letter, one bit a length: most words that are asked for
    /// need no comparison at all.
    lengths: [u32; 32],
}

impl Known {
    fn of(words: impl Iterator<Item = &'static str>) -> Self {
        let mut sorted: Vec<_> = words.collect();
        sorted.sort_unstable_by(|a, b| by_length(a, b));
        let mut lengths = [0; 32];
        for word in &sorted {
            let (letter, length) = letter_and_length(word);
            lengths[letter] |= length;
        }
        Self { sorted, lengths }
    }

    fn contains(&self, word: &str) -> bool {
        let (letter, length) = letter_and_length(word);
        self.lengths[letter] & length != 0
            && self.sorted.binary_search_by(|known| by_length(known, word)).is_ok()
    }
}

/// A place for the first letter among 32, which no two letters of the alphabet share, and a bit for the length.
fn letter_and_length(word: &str) -> (usize, u32) {
    let letter = word.as_bytes().first().map_or(0, |first| first % 32);
    (usize::from(letter), 1 << word.len().min(31))
}

impl Words {
    /// The words of `text`.
    pub(super) const fn of(text: &'static str) -> Self {
        Self { text, known: OnceLock::new() }
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.text.split_ascii_whitespace()
    }

    /// Whether `word` is one of them.
    pub(super) fn contains(&self, word: &str) -> bool {
        self.known.get_or_init(|| Known::of(self.iter())).contains(word)
    }
}

fn by_length(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Verbs that ask for a judgement.
pub(super) static JUDGE: Words = Words::of(
    "review re-review rereview check double-check explain summarise summarize list tell look analyse \
     analyze assess audit evaluate inspect investigate verify compare approve confirm critique \
     identify find judge rate diagnose describe walk point flag suggest propose recommend outline \
     debug comment read see think triage validate examine discuss answer estimate show spot study \
      sanity-check weigh understand note leave",
);

/// Verbs that ask for a change.
pub(super) static CHANGE: Words = Words::of(
    "fix implement add make change apply address resolve refactor rename remove delete drop replace \
     update write create build move extract port migrate bump upgrade downgrade revert rebase convert \
     handle return use support optimise optimize format reformat lint run push commit finish complete \
     continue cover extend rewrite correct adjust tweak clean cleanup improve simplify split merge \
     generate regenerate introduce ensure enable disable set switch bring get polish reword rephrase \
     document translate proofread spellcheck clarify mention expand incorporate modify edit solve \
     repair patch test mock wire hook expose deprecate inline deduplicate unify restore sort guard \
     throw catch retry cache validate-input reorganise reorganize shorten draft put do work backport \
     cherry-pick undo squash tidy draw sketch silence suppress pin unpin rework redo configure wrap \
     append insert amend overhaul redesign speed scaffold vendor stub swap turn reduce allow pick follow fill \
     open close shrink increase decrease raise lower limit restrict permit prevent align flip invert \
     initialise initialize register route serialise serialize parse escape encode decode normalise normalize \
     memoize debounce throttle batch paginate stream lock unlock free release publish deploy install \
     uninstall provision scale inject bind unbind export import load preload lazy-load render hide lift \
     hoist nest flatten wire instrument trace measure annotate type cast coerce round trim pad strip shift \
     swallow propagate bubble cap bound sync align reconcile override subclass compile transpile bundle \
     minify gate toggle skip unskip whitelist allowlist denylist upstream doc make-up",
);

/// Verbs whose work is prose, whatever they are about.
pub(super) static DOCS_VERBS: Words = Words::of("document doc proofread spellcheck");

/// Verbs about wording: prose, unless the words are ones that a program shows.
pub(super) static WORDING_VERBS: Words = Words::of("reword rephrase clarify mention translate");

/// Verbs that make something; of a judgement, they ask for the judgement.
pub(super) static MAKING: Words =
    Words::of("write make create add put generate do draft get run complete finish");

/// Verbs that act on what a review said.
pub(super) static RESPONDING: Words =
    Words::of("address apply resolve incorporate handle fix implement work finish update follow take deal");

/// Things that are a judgement.
pub(super) static JUDGEMENTS: Words = Words::of(
    "review reviews summary overview list explanation assessment opinion opinions verdict analysis \
     report feedback thoughts critique evaluation recommendation suggestion suggestions findings \
     audit",
);

/// Things written for people to read.
pub(super) static DOCS: Words = Words::of(
    "docs doc documentation readme readme.md changelog changelog.md docstring docstrings jsdoc \
     javadoc javadocs rustdoc godoc comment comments typo typos spelling grammar wording prose guide \
     guides tutorial tutorials page pages manual manpage faq howto how-to glossary heading headings \
     paragraph paragraphs sentence sentences section sections link links diagram diagrams licence \
     license contributing docs-span cookbook copyright kdoc phpdoc tsdoc jsdocs doxygen scaladoc docblock \
     docblocks pydoc adr adrs rfc rfcs runbook runbooks playbook postmortem quickstart walkthrough handbook \
     announcement blogpost whitepaper synopsis abstract footnote footnotes caption captions",
);

/// Mistakes in wording, which lie in prose or in what a program shows.
pub(super) static WORDING: Words =
    Words::of("typo typos spelling wording grammar misspelling capitalisation punctuation");

/// Things that programs are made of.
pub(super) static CODE: Words = Words::of(
    "code codebase function functions method methods test tests testing bug bugs error errors panic \
     panics parser handler handlers api apis endpoint endpoints class classes implementation ci build \
     builds workflow workflows lint lints linter compile crash crashes regression type types feature \
     features flag flags option options default defaults config configuration dependency dependencies \
     query queries schema null race leak leaks module modules helper helpers logic script scripts \
     variable variables identifier identifiers field fields struct enum trait interface exception \
     exceptions timeout timeouts retry retries cache caching validation server client command \
     commands cli output string strings message messages label labels button warning warnings log \
     logs logging generator template templates dockerfile pipeline database table column index \
     migration package version code-span coverage failure failures conflict conflicts benchmark \
     renderer site css stylesheet theme layout favicon box checker widget \
     panel modal dialog component components editing editor deletion moderation counter",
);

/// Words that end the thing a verb is about.
pub(super) static BOUNDARIES: Words = Words::of(
    "in into on to for from with of at under about so that which because where when until as by like \
     instead using via per after before since covering saying is are was isn't doesn't don't match \
     matches around without if while such throughout across within inside based explaining describing \
     accordingly",
);

/// Words before a request that carry none of its meaning.
pub(super) static FILLERS: Words = Words::of(
    "please pls plz kindly now just also then and but so ok okay hey hi hello go ahead can could \
     would will you we should must need needs have to i i'd want like let's lets let us try sure be \
     help me feel free thanks next first second finally instead maybe great cool nice the bot agent \
     quickly simply only still once",
);

/// Words that open a question.
pub(super) static QUESTIONS: Words = Words::of(
    "why what what's whats how how's is isn't are aren't does doesn't did was were where when which \
     who has any thoughts opinions opinion wdyt shall am feedback whether",
);

/// Words that turn a request into its opposite.
pub(super) static NEGATIONS: Words = Words::of("don't dont never not avoid stop without no cannot");

/// Parts of an account's or a label's name that mark an agent.
pub(super) static AGENTS: Words = Words::of(
    "agent bot ai assistant claude codex copilot gemini cursor devin jules opencode aider openhands \
     swe llm gpt sweep tollgate coderabbitai autopilot",
);

/// Work that anybody sees through at a glance.
pub(super) static MECHANICAL: Words = Words::of(
    "typo typos spelling formatting format formatter reformat rustfmt gofmt clang-format autopep8 \
     whitespace indentation lint lints linter label labels \
     link links bump lockfile grammar punctuation wording capitalisation comment prettier rebase",
);

/// Signs that a request shapes the whole rather than a part.
pub(super) static ARCHITECTURE: Words = Words::of(
    "architecture redesign re-design rearchitect re-architect overhaul rewrite redesigning codebase \
     monorepo",
);

/// Signs of a long text.
pub(super) static LONG: Phrases = phrases!(&[
    "guide",
    "tutorial",
    "comprehensive",
    "several sections",
    "from scratch",
    "whole",
    "entire",
    "all pages",
    "in depth",
    "in detail",
    "architecture",
    "handbook",
]);

/// Words before "in", "into" or "to" that make of what follows a source, and no place to write to.
pub(super) static AS_SAID: Words = Words::of(
    "described mentioned documented listed specified shown outlined defined stated promised explained given \
     suggested proposed as",
);

/// Words that open a comparison or a reason, which names what a change is measured by and not what is changed.
pub(super) static REFERENCES: Words =
    Words::of("with from like by per after before since than match matches based accordingly using via");

/// Greetings and thanks, which ask for nothing.
pub(super) static CHATTER: Words = Words::of(
    "thanks thank thx ty great nice cool awesome perfect good lgtm hi hello hey ok okay ping pong never nevermind \
     sorry welcome congrats done fixed merged agreed +1 wow lol fyi ack noted yes no works working looks",
);

/// Verbs of somebody who says what they would do, rather than of work: "would you merge this?"
pub(super) static VERDICTS: Words =
    Words::of("merge approve ship prefer recommend keep consider expect say call choose trust accept sign");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_words_and_no_others() {
        const LONG: &str = "a-word-of-more-than-thirty-two-letters";
        static SET: Words = Words::of("fix fit re-view ünder /// a-word-of-more-than-thirty-two-letters +1");
        assert!(SET.iter().all(|word| SET.contains(word)));
        for other in ["", "f", "fi", "fir", "fixx", "Fix", "under", "//", "+", "+2", &LONG[1..], &LONG[..32]]
        {
            assert!(!SET.contains(other), "{other}");
        }
    }
}
