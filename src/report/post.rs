//! What to do with a pull request's comment: write one, edit one, or leave it. Pure.
//!
//! A comment is ours when tollgate's own identity wrote it and it begins with the marker: the marker alone
//! can be planted by anybody, and the identity alone writes other comments, too.

use super::comment::Marker;
use crate::budget::CommentMode;

/// A comment that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct There {
    /// Its number.
    pub id: u64,
    /// The id it is hidden by.
    pub node_id: String,
    /// Whether tollgate's own identity wrote it.
    pub ours: bool,
    /// Its text.
    pub body: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Leave(Why),
    /// Edit this one.
    Edit {
        /// Its number.
        id: u64,
    },
    /// Write a new one, and hide these first.
    Create {
        /// Ids by which older ones are hidden.
        hide: Vec<String>,
    },
}

/// Why nothing is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Comments are switched off.
    Off,
    /// It says so already.
    Same,
    /// A newer run has spoken.
    Newer,
    /// There is none, and there is nothing to say yet.
    Quiet,
}

/// The place of a workflow run in time: its id, and which attempt.
#[must_use]
pub fn order(run: &str) -> Option<(u64, u32)> {
    let (id, attempt) = run.split_once('.')?;
    Some((id.parse().ok()?, attempt.parse().ok()?))
}

/// Decides. `text` is the whole comment with its marker; `speak` says whether a comment may be begun.
#[must_use]
pub fn step(mode: CommentMode, there: &[There], text: &str, speak: bool) -> Step {
    let Some(marker) = Marker::read(text).filter(|_| mode != CommentMode::Off) else {
        return Step::Leave(Why::Off);
    };
    let now = order(&marker.run);
    let ours = there.iter().filter(|comment| comment.ours);
    let own: Vec<(&There, Marker)> = ours
        .filter_map(|comment| Some((comment, Marker::read(&comment.body)?)))
        .filter(|(_, found)| found.key == marker.key)
        .collect();
    if own.iter().any(|(_, found)| order(&found.run) > now) {
        return Step::Leave(Why::Newer);
    }
    // Of two that were begun at the same time, all runs go on with the older one.
    let mut mine = own.iter().filter(|(_, found)| mode == CommentMode::Update || found.run == marker.run);
    let target = mine.by_ref().min_by_key(|(there, _)| there.id);
    match target {
        Some((_, found)) if found.hash == marker.hash && found.run == marker.run => Step::Leave(Why::Same),
        Some((there, _)) => Step::Edit { id: there.id },
        None if !speak => Step::Leave(Why::Quiet),
        None if mode == CommentMode::HideAndNew => {
            Step::Create { hide: own.iter().map(|(there, _)| there.node_id.clone()).collect() }
        }
        None => Step::Create { hide: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CommentMode::{HideAndNew, New, Off, Update};

    fn text(key: &str, run: &str, body: &str) -> String {
        format!("{}\n{body}", Marker::of(body, key, run))
    }

    fn there(id: u64, ours: bool, body: String) -> There {
        There { id, node_id: format!("N{id}"), ours, body }
    }

    fn edit(id: u64) -> Step {
        Step::Edit { id }
    }

    fn create(hide: &[&str]) -> Step {
        Step::Create { hide: hide.iter().map(|id| (*id).to_owned()).collect() }
    }

    #[test]
    fn one_comment_is_edited_in_place() {
        let old = text("default", "7.1", "a");
        let planted = there(1, false, old.clone());
        let foreign_words = there(2, true, "Looks good.".to_owned());
        let other_key = there(3, true, text("docs", "9.1", "a"));
        let mut all = vec![planted, foreign_words, other_key];
        let new = text("default", "8.1", "b");
        assert_eq!(step(Update, &all, &new, true), create(&[]), "a planted marker is not ours");
        assert_eq!(step(Update, &all, &new, false), Step::Leave(Why::Quiet));
        all.push(there(5, true, old.clone()));
        all.push(there(4, true, old));
        assert_eq!(step(Update, &all, &new, true), edit(4));
        assert_eq!(step(Update, &all, &new, false), edit(4), "one that is there is kept up to date");
        assert_eq!(step(Off, &all, &new, true), Step::Leave(Why::Off));
    }

    #[test]
    fn an_older_run_does_not_overwrite_a_newer_one() {
        for (before, now, expected) in [
            ("7.1", "8.1", edit(4)),
            ("10.1", "9.2", Step::Leave(Why::Newer)),
            ("9.2", "9.1", Step::Leave(Why::Newer)),
            ("9.1", "9.2", edit(4)),
            ("9.2", "9.2", edit(4)),
        ] {
            let all = [there(4, true, text("k", before, "a"))];
            assert_eq!(step(Update, &all, &text("k", now, "b"), true), expected, "{before} {now}");
        }
    }

    #[test]
    fn what_says_the_same_is_not_written_again() {
        let all = [there(4, true, text("k", "7.1", "a"))];
        assert_eq!(step(Update, &all, &text("k", "7.1", "a"), true), Step::Leave(Why::Same));
        assert_eq!(
            step(Update, &all, &text("k", "8.1", "a"), true),
            edit(4),
            "or an older run would win later"
        );
    }

    #[test]
    fn other_modes_write_a_new_one_for_each_workflow_run() {
        let all = [there(4, true, text("k", "7.1", "a")), there(6, true, text("k", "8.1", "a"))];
        let now = text("k", "9.1", "b");
        assert_eq!(step(New, &all, &now, true), create(&[]));
        assert_eq!(step(HideAndNew, &all, &now, true), create(&["N4", "N6"]));
        assert_eq!(step(HideAndNew, &all, &text("k", "8.1", "b"), true), edit(6));
        assert_eq!(step(New, &all, &text("k", "7.1", "b"), true), Step::Leave(Why::Newer));
    }
}
