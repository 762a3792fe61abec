//! Bytes into lines, whatever the chunks they come in.
//!
//! A carriage return ends a line too: log viewers treat it as one, so what follows it could otherwise be
//! a command at the start of a line that we never saw.

/// A line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes of the line that were beyond the limit and are gone.
    pub(super) cut: u64,
}

/// Splits a stream into lines of at most `bytes_max` bytes; what is longer is cut and counted.
#[derive(Debug)]
pub(super) struct Lines {
    bytes_max: usize,
    held: Vec<u8>,
    cut: u64,
    /// A line feed that comes next belongs to the carriage return before it.
    after_return: bool,
}

impl Lines {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Vec::new(), cut: 0, after_return: false }
    }

    pub(super) fn feed(&mut self, chunk: &[u8], mut emit: impl FnMut(Line<'_>)) {
        let mut rest = chunk;
        if self.after_return && !rest.is_empty() {
            self.after_return = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, tail) = rest.split_at(end);
            self.end_line(line, &mut emit);
            rest = match tail {
                [b'\r', b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.after_return = true;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
        }
        self.hold(rest);
    }

    /// The last line, where the stream does not end with a line end.
    pub(super) fn finish(&mut self, mut emit: impl FnMut(Line<'_>)) {
        if !self.held.is_empty() || self.cut > 0 {
            self.end_line(&[], &mut emit);
        }
    }

    fn end_line(&mut self, line: &[u8], emit: &mut impl FnMut(Line<'_>)) {
        if self.held.is_empty() && line.len() <= self.bytes_max {
            emit(Line { bytes: line, cut: 0 });
            return;
        }
        self.hold(line);
        emit(Line { bytes: &self.held, cut: self.cut });
        self.held.clear();
        self.cut = 0;
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = self.bytes_max - self.held.len();
        let taken = bytes.len().min(room);
        self.held.extend_from_slice(&bytes[..taken]);
        self.cut += (bytes.len() - taken) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]], bytes_max: usize) -> Vec<(String, u64)> {
        let mut lines = Lines::new(bytes_max);
        let mut found = Vec::new();
        let mut keep =
            |line: Line<'_>| found.push((String::from_utf8_lossy(line.bytes).into_owned(), line.cut));
        for chunk in chunks {
            lines.feed(chunk, &mut keep);
        }
        lines.finish(&mut keep);
        found
    }

    #[test]
    fn every_kind_of_line_end_is_one() {
        for (text, expected) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a\nb\n", vec!["a", "b"]),
            ("a\r\nb\r\n", vec!["a", "b"]),
            ("10%\r20%\r\n", vec!["10%", "20%"]),
            ("a\n\nb", vec!["a", "", "b"]),
            ("a\r\r\nb", vec!["a", "", "b"]),
        ] {
            let found: Vec<String> =
                split(&[text.as_bytes()], 100).into_iter().map(|(line, _)| line).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_and_counted() {
        assert_eq!(
            split(&[b"abcdef\nabc\nabcd", b"ef"], 4),
            [("abcd".into(), 2), ("abc".into(), 0), ("abcd".into(), 2)]
        );
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
            text in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b':')], 0..60),
            cuts in proptest::collection::vec(0_usize..60, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&chunks, 8), split(&[&text], 8));
        }
    }
}
