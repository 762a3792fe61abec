//! Markdown kept within a limit: whole lines go, and what was open is closed.

/// How much there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many characters: GitHub takes 65,536 in a comment.
    Chars(usize),
    /// So many bytes: GitHub takes 1,048,576 in a job summary, and drops all of a longer one.
    Bytes(usize),
}

/// The room in a comment.
pub const COMMENT: Room = Room::Chars(65_536);
/// The room in a job summary.
pub const SUMMARY: Room = Room::Bytes(1_048_576);

impl Room {
    fn most(self) -> usize {
        match self {
            Room::Chars(most) | Room::Bytes(most) => most,
        }
    }

    fn of(self, text: &str) -> usize {
        match self {
            Room::Chars(_) => text.chars().count(),
            Room::Bytes(_) => text.len(),
        }
    }

    /// As much of the text's beginning as `most` allows, ending on a character.
    fn head(self, text: &str, most: usize) -> &str {
        let end = match self {
            Room::Chars(_) => text.char_indices().nth(most).map_or(text.len(), |(at, _)| at),
            Room::Bytes(_) => {
                (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
            }
        };
        &text[..end]
    }
}

/// Cuts Markdown so that it fits, closing the fence and the folds that were open there and adding
/// `notice` as a paragraph. What fits is left as it is. Where not even the notice fits, less remains:
/// never more than the room.
#[must_use]
pub fn cut(markdown: &str, room: Room, notice: &str) -> String {
    if room.of(markdown) <= room.most() {
        return markdown.to_owned();
    }
    let mut open = Open::default();
    let mut kept = String::new();
    let mut used = 0;
    let mut best: Option<(usize, String)> = None;
    for line in markdown.split_inclusive('\n') {
        let before = open.clone();
        open.read(line);
        let cost = room.of(line);
        let end = open.ending(notice);
        if used + cost + room.of(&end) + 1 > room.most() {
            // Within a fence a line is only text: part of it is better than none. But the beginning of a
            // longer run of marks could be what closes the fence.
            if before.fence.is_some_and(|(mark, _)| !line.starts_with(mark)) {
                let left = room.most().saturating_sub(used + room.of(&before.ending(notice)) + 1);
                kept.push_str(room.head(line, left));
                best = Some((kept.len(), before.ending(notice)));
            }
            break;
        }
        kept.push_str(line);
        used += cost;
        best = Some((kept.len(), end));
    }
    match best {
        Some((length, end)) => {
            kept.truncate(length);
            let gap = if kept.ends_with('\n') { "" } else { "\n" };
            let whole = format!("{kept}{gap}{end}");
            if room.of(&whole) <= room.most() { whole } else { String::new() }
        }
        None if room.of(notice) <= room.most() => notice.to_owned(),
        None => String::new(),
    }
}

/// What is open at some line of the Markdown that this module's neighbours write.
#[derive(Clone, Debug, Default)]
struct Open {
    /// The fence: its character and its length.
    fence: Option<(char, usize)>,
    /// Folds.
    folds: usize,
}

impl Open {
    fn read(&mut self, line: &str) {
        let line = line.trim_end();
        let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'));
        let run = mark.map_or(0, |mark| line.chars().take_while(|c| *c == mark).count());
        match (self.fence, mark) {
            (Some((fence, length)), Some(mark))
                if mark == fence && run >= length && run == line.chars().count() =>
            {
                self.fence = None;
            }
            (None, Some(mark)) if run >= 3 => self.fence = Some((mark, run)),
            (None, None) if line.starts_with("<details") && !line.contains("</details>") => self.folds += 1,
            (None, None) if line.starts_with("</details>") => self.folds = self.folds.saturating_sub(1),
            _ => {}
        }
    }

    /// What closes everything, and the notice.
    fn ending(&self, notice: &str) -> String {
        let mut out = String::new();
        if let Some((mark, length)) = self.fence {
            out.extend(std::iter::repeat_n(mark, length));
            out.push('\n');
        }
        for _ in 0..self.folds {
            out.push_str("\n</details>\n");
        }
        out.push('\n');
        out.push_str(notice);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTICE: &str = "_Cut._";

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(cut("a\nb", Room::Chars(3), NOTICE), "a\nb");
    }

    #[test]
    fn whole_lines_go_and_what_was_open_is_closed() {
        let text = "head\n\n<details><summary>more</summary>\n\n```text\none\ntwo two two two two two two two\n```\n\n</details>\n";
        let expected =
            "head\n\n<details><summary>more</summary>\n\n```text\none\ntw\n```\n\n</details>\n\n_Cut._";
        assert_eq!(cut(text, Room::Chars(expected.len()), NOTICE), expected);
        let table = "| a |\n|---|\n| 1 |\n| 2 |\n| 3 |\n| 4 |\n";
        assert_eq!(cut(table, Room::Chars(28), NOTICE), "| a |\n|---|\n| 1 |\n\n_Cut._");
    }

    #[test]
    fn rooms_count_what_they_say() {
        let text = "█".repeat(10);
        assert_eq!(cut(&text, Room::Chars(10), NOTICE), text);
        assert_eq!(cut(&text, Room::Bytes(10), NOTICE), NOTICE);
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("<details><summary>x</summary>".to_owned()),
            Just("</details>".to_owned()),
            "`{3,6}(text)?",
            "~{3,4}",
            "[a-zé█ |`]{0,60}",
            Just(String::new()),
        ]
    }

    /// What is left open, told by other means than [`Open`]: by its regular structure.
    fn left_open(text: &str) -> (bool, i64) {
        let (mut fence, mut folds) = (String::new(), 0);
        for line in text.lines().map(str::trim_end) {
            let run: String =
                line.chars().take_while(|c| line.starts_with(*c) && "`~".contains(*c)).collect();
            if !fence.is_empty() {
                if run == line && run.len() >= fence.len() && run.starts_with(&fence) {
                    fence.clear();
                }
            } else if run.len() >= 3 {
                fence = run;
            } else if line.starts_with("<details") {
                folds += 1;
            } else if line.starts_with("</details>") {
                folds = (folds - 1).max(0);
            }
        }
        (!fence.is_empty(), folds)
    }

    proptest! {
        #[test]
        fn never_more_than_the_room_and_always_closed(
            lines in proptest::collection::vec(line(), 0..40),
            most in 0_usize..400,
            bytes: bool,
        ) {
            let text = lines.join("\n");
            let room = if bytes { Room::Bytes(most) } else { Room::Chars(most) };
            let out = cut(&text, room, NOTICE);
            prop_assert!(room.of(&out) <= most);
            if out != text {
                prop_assert_eq!(left_open(&out), (false, 0), "{}", out);
            }
        }

        #[test]
        fn little_is_lost(words in proptest::collection::vec("[a-z]{1,8}", 40..60), most in 60_usize..300) {
            let text = words.join("\n");
            let out = cut(&text, Room::Chars(most), NOTICE);
            prop_assert!(out.len() + 9 + 2 >= most.min(text.len()), "{} of {most}", out.len());
        }
    }
}
