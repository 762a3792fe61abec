//! Phrases and stems that a text is searched for, all of them in one pass.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Phrases to find.
pub(super) struct Phrases(LazyLock<AhoCorasick>);

impl Phrases {
    /// Those of `make`. They are few and short.
    #[expect(clippy::expect_used, reason = "it fails for gigabytes of phrases only")]
    pub(super) fn find(phrases: &[&str]) -> AhoCorasick {
        AhoCorasick::new(phrases).expect("few phrases")
    }

    /// Searches with what `make` returns.
    pub(super) const fn new(make: fn() -> AhoCorasick) -> Self {
        Self(LazyLock::new(make))
    }

    /// Where each of them is, by its number; they may overlap.
    pub(super) fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
        self.0.find_overlapping_iter(text).map(|found| (found.start(), found.pattern().as_usize()))
    }

    /// Whether any of them is there.
    pub(super) fn any(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// A static [`Phrases`] of a list.
macro_rules! phrases {
    ($list:expr) => {
        $crate::classify::phrases::Phrases::new(|| $crate::classify::phrases::Phrases::find($list))
    };
}
pub(super) use phrases;
