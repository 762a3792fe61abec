//! The comment on a pull request: what a reviewer needs in five seconds, the rest under a fold.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{Run, cut, markdown};
use crate::id;

/// What stands where a comment was cut.
pub(super) const NOTICE: &str = "_The rest did not fit into a comment; the job summary has all of it._";
/// The longest part of a marker, in characters.
const PART_CHARS_MAX: usize = 128;

/// The hidden first line by which the comment is found again and an unchanged one is recognised.
///
/// Anybody can write such a line: it only counts in a comment that tollgate's own identity wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Which of several comments on one pull request it is.
    pub key: String,
    /// The run that wrote it: a run that ends late does not overwrite a newer one's.
    pub run: String,
    /// A digest of what follows it.
    pub hash: String,
}

impl Marker {
    /// The marker of a text.
    #[must_use]
    pub fn of(body: &str, key: &str, run_id: &str) -> Self {
        let digest = Sha256::digest(body.as_bytes());
        Self { key: key.to_owned(), run: run_id.to_owned(), hash: id::hex(&digest[..8]) }
    }

    /// The marker on the first line of a comment, if that is one.
    #[must_use]
    pub fn read(comment: &str) -> Option<Self> {
        let line = comment.lines().next()?.strip_prefix("<!-- tollgate:v1 ")?.strip_suffix(" -->")?;
        let mut words = line.split(' ');
        let mut word = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let marker = Self { key: word("key")?, run: word("run")?, hash: word("hash")? };
        words.next().is_none().then_some(marker)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| -> String {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "._/".contains(c) { c } else { '_' };
            text.chars().take(PART_CHARS_MAX).map(plain).collect()
        };
        let (key, run, hash) = (part(&self.key), part(&self.run), part(&self.hash));
        write!(f, "<!-- tollgate:v1 key={key} run={run} hash={hash} -->")
    }
}

/// The whole comment, at most as long as GitHub takes.
///
/// `key` tells several comments on one pull request apart, `run_id` is the run's (`1234.1`).
#[must_use]
pub fn render(run: &Run, key: &str, run_id: &str) -> String {
    let body = body(run);
    let marker = Marker::of(&body, key, run_id);
    cut::cut(&format!("{marker}\n{body}"), cut::COMMENT, NOTICE)
}

/// What people see of it.
#[must_use]
pub fn body(run: &Run) -> String {
    let mut out = markdown::head(run);
    out.push_str(&markdown::usage(run));
    out.push_str(&markdown::budgets(run, run.public));
    out.push_str(&markdown::around(run));
    out.push_str(&markdown::details(run));
    if run.result_in_comment {
        out.push_str(&markdown::result(run));
    }
    out.push_str(&markdown::footer(run));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back() {
        let marker = Marker { key: "default".into(), run: "1234.1".into(), hash: "00ff".into() };
        let line = marker.to_string();
        assert_eq!(line, "<!-- tollgate:v1 key=default run=1234.1 hash=00ff -->");
        assert_eq!(Marker::read(&format!("{line}\n### Agent cost")), Some(marker));
    }

    #[test]
    fn a_marker_cannot_be_left_early() {
        let marker = Marker { key: "a --> <img>".into(), run: "1".into(), hash: "2".into() };
        assert_eq!(marker.to_string(), "<!-- tollgate:v1 key=a______img_ run=1 hash=2 -->");
    }

    #[test]
    fn other_lines_are_no_markers() {
        for line in [
            "",
            "### x",
            "<!-- tollgate:v2 key=a run=b hash=c -->",
            "<!-- tollgate:v1 key=a run=b -->",
            " <!-- tollgate:v1 key=a run=b hash=c -->",
            "<!-- tollgate:v1 key=a run=b hash=c d=e -->",
        ] {
            assert_eq!(Marker::read(line), None, "{line}");
        }
    }
}
