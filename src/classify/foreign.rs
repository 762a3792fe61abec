//! Requests in other languages than English, by word stems.
//!
//! Asked only where [`super::request`] finds no English request. Where a text both judges and changes, the
//! order tells: a verb comes first in European languages and in Chinese, last in Japanese, Korean and Hindi, and
//! what comes after "and" is asked for as well.

mod stems;

use super::phrases::{Phrases, phrases};
use crate::task::Task;
use stems::{AND, CHANGE, DOCS, JUDGE, REMARKS};

static CHANGE_STEMS: Phrases = phrases!(CHANGE);
static JUDGE_STEMS: Phrases = phrases!(JUDGE);
static DOCS_STEMS: Phrases = phrases!(DOCS);
static REMARK_STEMS: Phrases = phrases!(REMARKS);

/// The task that `sentences` ask for, and the stem that says so.
pub(super) fn read(sentences: &[String]) -> Option<(Task, String)> {
    let mut judged = None;
    for sentence in sentences {
        match one(sentence) {
            Some((Task::Review, stem)) => judged = judged.or(Some((Task::Review, stem))),
            Some(change) => return Some(change),
            None => {}
        }
    }
    judged
}

fn one(sentence: &str) -> Option<(Task, String)> {
    let verb_last = sentence
        .chars()
        .any(|c| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7af}' | '\u{900}'..='\u{97f}'));
    let find = |stems: &'static [&'static str], all: &Phrases| {
        let found = places(sentence, stems, all);
        if verb_last { found.max() } else { found.min() }
    };
    let (change, judge) = (find(CHANGE, &CHANGE_STEMS), find(JUDGE, &JUDGE_STEMS));
    let review = |stem: &str| Some((Task::Review, format!("{}…", stem.trim())));
    let (at, stem) = match (change, judge) {
        (None, None) => return None,
        (None, Some((_, stem))) => return review(stem),
        (Some(change), None) => change,
        (Some(change), Some((judge_at, stem))) => {
            let judges = if verb_last {
                judge_at >= change.0
            } else {
                let between = sentence.get(judge_at..change.0).unwrap_or_default();
                judge_at <= change.0 && !AND.iter().any(|and| between.contains(and))
            };
            // "Settle the review comments": the review is what is settled.
            if judges && !REMARK_STEMS.any(sentence) {
                return review(stem);
            }
            change
        }
    };
    let wide = verb_last || sentence.chars().any(|c| matches!(c, '\u{4e00}'..='\u{9fff}'));
    let remarks = REMARK_STEMS.any(sentence);
    let prose = !remarks && names_prose(sentence);
    let by_verb = stem.starts_with("dokumentier") || (!wide && sentence[at..].starts_with("documente"));
    let task = if prose || by_verb { Task::Docs } else { Task::Implementation };
    Some((task, format!("{}…", stem.trim())))
}

/// Whether a sentence names something written for people.
pub(super) fn names_prose(sentence: &str) -> bool {
    places(sentence, DOCS, &DOCS_STEMS).next().is_some() || docs_path(sentence)
}

/// Where stems begin words; those of scripts without spaces, anywhere.
fn places<'a>(
    sentence: &'a str,
    stems: &'static [&'static str],
    all: &'a Phrases,
) -> impl Iterator<Item = (usize, &'static str)> + 'a {
    let found = all.places(sentence).map(move |(at, number)| (at, stems[number]));
    found.filter(|(at, stem)| {
        let wide = stem.chars().next().is_some_and(|c| c >= '\u{2e80}');
        wide || !sentence[..*at].ends_with(char::is_alphanumeric)
    })
}

fn docs_path(sentence: &str) -> bool {
    sentence.split_whitespace().any(|word| {
        word.contains('.')
            && super::paths::sort(word.trim_end_matches(['.', ','])) == super::paths::Sort::Prose
    })
}
