//! What a description alone says of the stakes, where there is no change to look at.
//!
//! The classifier reads the words as an ask by somebody who may write. What it cannot know is whether the
//! work is bounded: it judges a change at hand, and here there is none. So a description that names what
//! exists is judged as an ordinary change to that, and one that asks for something new as unbounded.

use crate::budget::Rule;
use crate::classify::{Class, classify};
use crate::event::{Change, Event, Kind, Person};
use crate::task::{Stakes, Task};

/// Decisions that later work rests on.
const DECISIONS: &str =
    "architecture architect decide decision design strategy trade-off trade-offs tradeoffs approach";
/// Work on what is there already.
const BOUNDED: &str = "test tests testing coverage fixture fixtures benchmark benchmarks fix repair rename remove \
                       delete revert bump upgrade move inline extract";

/// What a description was judged to be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The task.
    pub task: Task,
    /// The stakes.
    pub stakes: Stakes,
    /// Why this task.
    pub why_task: String,
    /// Why these stakes.
    pub why_stakes: String,
}

/// Judges a description.
#[must_use]
pub fn judge(description: &str, rules: &[Rule]) -> Judged {
    let asked = classify(&event(description, false), rules);
    let words: Vec<String> = description
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty())
        .collect();
    let find = |list: &str| words.iter().find(|word| list.split_whitespace().any(|known| known == *word));
    if let Some(word) = find(DECISIONS).filter(|_| asked.task != Task::Docs) {
        let why = format!("a decision that later work rests on (“{word}”): dear to take back");
        return judged(&asked, Stakes::High, why);
    }
    let names_code = description.contains('`') || words_with_paths(description);
    let bounded = asked.task != Task::Implementation || names_code || find(BOUNDED).is_some();
    if !bounded {
        let why = "something new, in words only: nothing that exists bounds it, and what the words leave open the \
                   model decides";
        // What the classifier calls mechanical stays that.
        return match asked.stakes {
            Stakes::Low => judged(&asked, Stakes::Low, why_stakes(&asked)),
            Stakes::Medium | Stakes::High => judged(&asked, Stakes::High, why.to_owned()),
        };
    }
    let at_hand = classify(&event(description, true), rules);
    let stakes = if at_hand.task == asked.task { at_hand.stakes } else { asked.stakes };
    let why = match (asked.task, find(BOUNDED), stakes) {
        (Task::Implementation, Some(word), Stakes::Medium) => {
            format!("work on what exists (“{word}”), which bounds it; its mistakes show in review")
        }
        _ if at_hand.task == asked.task => why_stakes(&at_hand),
        _ => why_stakes(&asked),
    };
    judged(&asked, stakes, why)
}

fn judged(class: &Class, stakes: Stakes, why_stakes: String) -> Judged {
    let why_task = match reason(class, "task ") {
        why if why.starts_with("nobody asked") => {
            "the words ask for no change that could be told apart, so it is a judgement".to_owned()
        }
        why => why,
    };
    Judged { task: class.task, stakes, why_task, why_stakes }
}

fn why_stakes(class: &Class) -> String {
    reason(class, "stakes ")
}

/// The classifier's reason of a kind, without the words that say which kind it is.
fn reason(class: &Class, kind: &str) -> String {
    let found = class.reasons.iter().find_map(|reason| reason.strip_prefix(kind)?.split_once(": "));
    found.map_or_else(
        || class.reasons.first().cloned().unwrap_or_default(),
        |(_, why)| {
            // The classifier knows comments only.
            why.replacen("the comment", "the description", 1)
        },
    )
}

fn words_with_paths(text: &str) -> bool {
    text.split_whitespace().any(|word| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        word.rsplit_once('.').is_some_and(|(stem, extension)| {
            !stem.is_empty()
                && (1..=5).contains(&extension.len())
                && extension.chars().all(char::is_alphanumeric)
        }) || (word.contains('/') && word.len() > 3)
    })
}

/// The description as a comment by somebody who may write; on a change of that title, or on none.
fn event(description: &str, at_hand: bool) -> Event {
    let person = Person { login: String::new(), bot: false, association: None };
    let mut event = Event::bare(Kind::IssueComment, "plan");
    event.comment = Some((description.to_owned(), person.clone()));
    event.change =
        at_hand.then(|| Change { title: description.to_owned(), author: person, ..Change::default() });
    event
}
