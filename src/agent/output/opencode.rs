//! opencode's `run --format json` into what a person wants to read while it works.
//!
//! One JSON object a line (as opencode 1.18 writes them), of the main session only.

use serde::Deserialize;
use serde_json::Value;

use super::transcript::{Said, first_line, shown_input};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Text {
        part: Text,
    },
    ToolUse {
        part: Tool,
    },
    Error {
        #[serde(default)]
        error: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Tool {
    #[serde(default)]
    tool: String,
    #[serde(default)]
    state: ToolState,
}

#[derive(Default, Deserialize)]
struct ToolState {
    #[serde(default)]
    input: Value,
    #[serde(default)]
    error: Option<String>,
}

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    said: Said,
}

impl Transcript {
    pub(super) fn hear(&mut self, line: &str, show: &mut dyn FnMut(&str)) {
        if line.trim().is_empty() {
            return;
        }
        match serde_json::from_str(line) {
            Ok(Event::Text { part }) => self.said.text(part.text, show),
            Ok(Event::ToolUse { part }) => {
                show(&format!("→ {}{}", first_line(&part.tool), shown_input(&part.state.input)));
                if let Some(error) = &part.state.error {
                    show(&format!("  ✗ {}", first_line(error)));
                }
            }
            Ok(Event::Error { error }) => {
                let message = error["data"]["message"].as_str().or(error["name"].as_str());
                self.said.fail(message.unwrap_or("no reason was given").to_owned(), show);
            }
            Ok(Event::Other) => {}
            Err(_) => show(line),
        }
    }

    pub(super) fn into_said(self) -> (String, Option<String>) {
        self.said.into_parts()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::transcript::heard;

    #[test]
    fn a_run_reads_like_a_story() {
        let (shown, said) = heard(
            Format::OpencodeJson,
            &[
                r#"{"type":"step_start","part":{"type":"step-start"}}"#,
                r#"{"type":"text","part":{"type":"text","text":"Looking."}}"#,
                r#"{"type":"tool_use","part":{"type":"tool","tool":"bash","state":{"status":"completed","input":{"command":"ls\nls"},"output":"a"}}}"#,
                r#"{"type":"tool_use","part":{"type":"tool","tool":"read","state":{"status":"error","input":{"filePath":"/x"},"error":"not there"}}}"#,
                r#"{"type":"step_finish","part":{"type":"step-finish","reason":"tool-calls"}}"#,
                r#"{"type":"text","part":{"type":"text","text":"Done."}}"#,
            ],
        );
        assert_eq!(shown, ["Looking.", "→ bash: ls …", "→ read: /x", "  ✗ not there", "Done."]);
        assert_eq!(said, ("Done.".into(), None));
    }

    #[test]
    fn an_error_keeps_the_last_words() {
        let (shown, said) = heard(
            Format::OpencodeJson,
            &[
                r#"{"type":"text","part":{"type":"text","text":"Half done."}}"#,
                r#"{"type":"error","error":{"name":"APIError","data":{"message":"refused"}}}"#,
                "plain",
            ],
        );
        assert_eq!(shown, ["Half done.", "✗ the agent ended with an error: refused", "plain"]);
        assert_eq!(said, ("Half done.".into(), Some("refused".into())));
    }
}
