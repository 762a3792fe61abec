//! mini-swe-agent's text for people, of which only the model's own turns and the end are looked for (as
//! mini-swe-agent 2.4 prints them). Everything is shown as it is.

/// How one of the model's turns begins.
const TURN: &str = "mini-swe-agent (step ";
/// What the agent says last, where it gave up rather than finished: the names of its own errors.
const GAVE_UP: [&str; 4] = ["RepeatedFormatError", "LimitsExceeded", "UserInterruption", "TimeExceeded"];
/// The most that is kept of one turn, in bytes.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// Whose words are being printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Other,
    /// The model's; `false` once its commands have begun.
    Model(bool),
    /// What it has handed in.
    Exit,
}

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    part: Part,
    saying: String,
    last_text: Option<String>,
    result: Option<String>,
}

impl Transcript {
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        show(line);
        let line = line.trim_end();
        let next = match line {
            "User:" | "Tool:" | "System:" => Some(Part::Other),
            "Exit:" => Some(Part::Exit),
            _ if line.starts_with(TURN) => Some(Part::Model(true)),
            _ if line.starts_with("Saved trajectory to ") => Some(Part::Other),
            _ => None,
        };
        if let Some(next) = next {
            self.end();
            self.part = next;
            return;
        }
        match self.part {
            Part::Other | Part::Model(false) => {}
            Part::Model(true) if line == "```" => self.part = Part::Model(false),
            Part::Model(true) | Part::Exit => {
                let rule = !line.is_empty() && line.chars().all(|c| c == '─');
                if !rule && self.saying.len() < TURN_BYTES_MAX {
                    self.saying.push_str(line);
                    self.saying.push('\n');
                }
            }
        }
    }

    /// A part is whole.
    fn end(&mut self) {
        let text = std::mem::take(&mut self.saying).trim().to_owned();
        match self.part {
            Part::Model(_) if !text.is_empty() => self.last_text = Some(text),
            Part::Exit if !text.is_empty() && !GAVE_UP.contains(&text.as_str()) => self.result = Some(text),
            _ => {}
        }
    }

    pub(super) fn into_said(mut self) -> (String, Option<String>) {
        self.end();
        (self.result.or(self.last_text).unwrap_or_default(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::transcript::heard;

    const RULE: &str = "────────────────────";

    #[test]
    fn what_was_handed_in_is_the_result() {
        let lines = [
            "mini-swe-agent (step 1, $0.00):",
            "Looking.",
            "",
            "```",
            "echo hi",
            "```",
            "",
            "Tool:",
            "<returncode>",
            "0",
            RULE,
            "",
            "mini-swe-agent (step 2, $0.01):",
            "Handing in.",
            "```",
            "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
            "```",
            "",
            "Exit:",
            "All done.",
            "",
            "Saved trajectory to '/x.json'",
        ];
        let (shown, said) = heard(Format::Mini, &lines);
        assert_eq!(shown, lines);
        assert_eq!(said, ("All done.".into(), None));
    }

    #[test]
    fn where_it_gave_up_the_models_last_words_are() {
        let lines = [
            "mini-swe-agent (step 1, $0.00):",
            "Half done.",
            RULE,
            "",
            "User:",
            "Tool call error:",
            "",
            "Exit:",
            "RepeatedFormatError",
        ];
        assert_eq!(heard(Format::Mini, &lines).1, ("Half done.".into(), None));
    }
}
