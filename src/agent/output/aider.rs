//! aider's text for people, of which only the end of each answer is looked for: the line that says what it
//! took (as aider 0.86 writes it). Everything is shown as it is.

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    /// Whether its greeting, which ends with an empty line, is over.
    greeted: bool,
    saying: String,
    last_text: Option<String>,
}

/// The most that is kept of one answer, in bytes: what is said last is what is looked for.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

impl Transcript {
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        show(line);
        if !self.greeted {
            self.greeted = line.trim().is_empty();
            return;
        }
        if line.starts_with("Tokens: ") && line.contains(" sent, ") {
            let text = std::mem::take(&mut self.saying);
            if !text.trim().is_empty() {
                self.last_text = Some(text.trim().to_owned());
            }
        } else if self.saying.len() < ANSWER_BYTES_MAX {
            self.saying.push_str(line);
            self.saying.push('\n');
        }
    }

    pub(super) fn into_said(self) -> (String, Option<String>) {
        (self.last_text.unwrap_or(self.saying), None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::transcript::heard;

    #[test]
    fn the_last_answer_is_what_comes_before_its_tokens() {
        let lines = [
            "Aider v0.86.2",
            "Model: anthropic/claude-sonnet-5-5 with diff edit format",
            "Git repo: .git with 1 files",
            "",
            "I change it.",
            "Tokens: 772 sent, 3 received.",
            "Applied edit to a.rs",
            "All done.",
            "Nothing is left.",
            "Tokens: 1.2k sent, 30 received. Cost: $0.01 message, $0.02 session.",
            "",
        ];
        let (shown, said) = heard(Format::Aider, &lines);
        assert_eq!(shown, lines);
        assert_eq!(said, ("Applied edit to a.rs\nAll done.\nNothing is left.".into(), None));
    }

    #[test]
    fn without_an_answer_what_was_said_is_kept() {
        let lines = ["Aider v0.86.2", "", "The API provider is not able to authenticate you."];
        let said = heard(Format::Aider, &lines).1;
        assert_eq!(said, ("The API provider is not able to authenticate you.\n".into(), None));
    }
}
